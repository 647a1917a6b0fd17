"""Answers from what is stored, the same through every door: hits, conditions, ranges, variants, lifetimes."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.views.decorators.http import condition

from django_wsgiperf.cache import runtime
from django_wsgiperf.wsgi import is_wrapped, wrap

from . import doors
from .doors import Site, page
from .fakes import eventually


def test_second_request_is_answered_without_the_view(site: Site) -> None:
    site.view("/books/", lambda request: page("<p>Books</p>"))
    first, second = site.get("/books/"), site.get("/books/")
    assert (first.status, first.text, first.cache) == (200, "<p>Books</p>", "fwd=uri-miss; stored")
    assert (second.status, second.text, second.cache) == (200, "<p>Books</p>", "hit")
    assert site.renders("/books/") == 1
    added = {"age", "date", "cache-status"}
    assert {name: value for name, value in second.fields.items() if name not in added} == {
        name: value for name, value in first.fields.items() if name not in added
    }


def test_age_tells_how_old_a_hit_is_and_its_end_is_the_end_of_hits(site: Site) -> None:
    site.view("/", lambda request: page(site.renders("/")))
    site.get("/")
    site.clock.advance(59)
    assert (site.get("/").text, site.get("/").fields["age"]) == ("1", "59")
    site.clock.advance(1)
    assert site.get("/").text == "2"


def test_head_is_answered_from_a_stored_get(site: Site) -> None:
    site.view("/", lambda request: page("12345"))
    site.get("/")
    head = site.get("/", "HEAD")
    assert (head.status, head.body, head.is_hit) == (200, b"", True)
    assert head.fields["content-length"] == "5"
    assert site.renders("/") == 1


def test_head_alone_stores_nothing(site: Site) -> None:
    site.view("/", lambda request: page())
    assert site.get("/", "HEAD").cache == "fwd=uri-miss; detail=method"
    assert site.get("/").cache == "fwd=uri-miss; stored"


def test_own_etag_lets_clients_ask_whether_a_page_holds(site: Site) -> None:
    site.view("/", lambda request: page("text"))
    etag = site.get("/").fields["etag"]
    assert not etag.startswith("W/")
    unchanged = site.get("/", If_None_Match=etag)
    assert (unchanged.status, unchanged.body, unchanged.is_hit) == (304, b"", True)
    assert unchanged.fields["etag"] == etag
    assert "content-length" not in unchanged.fields
    assert site.get("/", If_None_Match='"other"').status == 200
    assert site.renders("/") == 1


def test_if_modified_since_is_answered_from_what_is_stored(site: Site) -> None:
    site.view("/", lambda request: page("text", Last_Modified="Mon, 23 Nov 2026 10:00:00 GMT"))
    site.get("/")
    assert site.get("/", If_Modified_Since="Mon, 23 Nov 2026 10:00:00 GMT").status == 304
    assert site.get("/", If_Modified_Since="Mon, 23 Nov 2026 09:59:59 GMT").status == 200
    assert site.renders("/") == 1


def test_conditional_request_fills_the_cache_and_gets_its_304(site: Site) -> None:
    asked: list[str | None] = []

    def view(request: HttpRequest) -> HttpResponse:
        asked.append(request.headers.get("If-None-Match"))
        return page("text", ETag='"1"')

    site.view("/", view)
    first = site.get("/", If_None_Match='"1"')
    assert (first.status, first.body, first.cache) == (304, b"", "fwd=uri-miss; stored")
    assert asked == [None]
    assert (site.get("/").text, site.renders("/")) == ("text", 1)


def test_cookies_of_a_page_that_is_not_kept_come_with_its_304(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        response = page("mine", ETag='"1"')
        response.headers["Set-Cookie"] = "own=1"
        response.set_cookie("visit", "now")
        response.delete_cookie("basket")
        return response

    site.view("/", view)
    answer = site.get("/", If_None_Match='"1"')
    assert (answer.status, answer.cache) == (304, "fwd=uri-miss; detail=set-cookie")
    cookies = [value.strip().partition(";")[0] for name, value in answer.headers if name.lower() == "set-cookie"]
    assert cookies == ["own=1", "visit=now", 'basket=""']


def test_single_ranges_of_what_is_stored(site: Site) -> None:
    site.view("/", lambda request: page("0123456789"))
    site.get("/")
    part = site.get("/", Range="bytes=2-4")
    assert (part.status, part.text, part.fields["content-range"]) == (206, "234", "bytes 2-4/10")
    assert part.fields["content-length"] == "3"
    assert site.get("/", Range="bytes=-3").text == "789"
    assert site.get("/", Range="bytes=0-1,4-5").status == 200
    beyond = site.get("/", Range="bytes=10-")
    assert (beyond.status, beyond.fields["content-range"], beyond.body) == (416, "bytes */10", b"")
    assert site.renders("/") == 1


def test_range_of_another_version_gets_all_of_it(site: Site) -> None:
    site.view("/", lambda request: page("0123456789"))
    etag = site.get("/").fields["etag"]
    assert site.get("/", Range="bytes=0-0", If_Range=etag).status == 206
    assert site.get("/", Range="bytes=0-0", If_Range='"older"').status == 200


@pytest.mark.parametrize(
    ("asked", "status", "text", "told"),
    [("bytes=0-1", 206, "01", "bytes 0-1/10"), ("bytes=99-", 416, "", "bytes */10")],
)
def test_range_of_a_page_that_is_not_stored_is_the_applications_to_answer(
    site: Site, asked: str, status: int, text: str, told: str
) -> None:
    """To the one who asked for it: else whoever asks for what is past the end takes the page from everybody."""

    def view(request: HttpRequest) -> HttpResponse:
        if "HTTP_RANGE" in request.META:
            return page(text, status=status, Content_Range=told)
        return page("0123456789")

    site.view("/", view)
    part = site.get("/", Range=asked)
    assert (part.status, part.text, part.cache) == (status, text, "fwd=uri-miss; detail=partial")
    assert site.get("/").text == "0123456789"


def test_page_that_is_not_kept_has_no_date_of_change_but_its_own(site: Site) -> None:
    """RFC 9110, 13.1.3: a client whose clock is ahead is not told that nothing has changed."""
    ahead = "Fri, 01 Jan 2027 00:00:00 GMT"
    site.view("/", lambda request: page("new", cache_control=None))
    assert site.get("/", If_Modified_Since=ahead).text == "new"
    site.view("/dated", lambda request: page("new", cache_control=None, Last_Modified="Wed, 01 Jul 2026 00:00:00 GMT"))
    assert site.get("/dated", If_Modified_Since=ahead).status == 304


def test_range_is_answered_from_a_page_made_for_it(site: Site) -> None:
    site.view("/", lambda request: page("0123456789"))
    part = site.get("/", Range="bytes=0-1")
    assert (part.status, part.text, part.cache) == (206, "01", "fwd=uri-miss; stored")
    assert site.get("/").is_hit


@pytest.mark.parametrize("vary", ["X_Kind", "X_Kind, x-kind"])
def test_nominated_field_may_be_spelled_as_views_know_it(site: Site, vary: str) -> None:
    site.view("/", lambda request: page(request.META.get("HTTP_X_KIND", "none"), Vary=vary))
    part = {"Range": "bytes=0-9"}
    asked = [("a", {}), ("b", {}), ("a", {}), ("b", part), ("c", part), ("d", part), ("c", {})]
    assert [site.get("/", X_Kind=kind, **more).text for kind, more in asked] == [kind for kind, _ in asked]
    assert site.renders("/") == 4


def test_variants_by_a_nominated_field(site: Site) -> None:
    site.view("/", lambda request: page(request.META.get("HTTP_X_KIND", "none"), Vary="X-Kind"))
    assert [site.get("/", X_Kind=kind).text for kind in ("a", "b", "a", "b")] == ["a", "b", "a", "b"]
    assert site.get("/").text == "none"
    assert site.get("/", X_Kind="c").cache == "fwd=vary-miss; stored"
    assert site.renders("/") == 4


def test_responses_that_vary_by_different_fields_do_not_evict_each_other(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if "HTTP_X_BETA" in request.META:
            return page("beta", Vary="X-Beta")
        return page(request.META.get("HTTP_X_KIND", "none"), Vary="X-Beta, X-Kind")

    site.view("/", view)
    for _ in range(2):
        assert site.get("/", X_Kind="a").text == "a"
        assert site.get("/", X_Beta="1").text == "beta"
    assert site.renders("/") == 2


def test_variants_of_one_address_are_bounded(door: str) -> None:
    with doors.site(door, {"MAX_VARIANTS": 3}) as site:
        site.view("/", lambda request: page(request.META["HTTP_X_KIND"], Vary="X-Kind"))
        for number in range(10):
            site.get("/", X_Kind=str(number))
        kept = [
            number
            for number in range(10)
            if site.engine.shelf.find_for(
                site.engine.site.keys.of_request(site.engine.site.request(doors.environ("/"))),
                site.engine.site.request(doors.environ("/", fields={"X-Kind": str(number)})),
            )
        ]
        assert kept == [7, 8, 9]


def test_a_response_without_vary_takes_the_place_of_variants(site: Site) -> None:
    varies = ["X-Kind"]
    site.view("/", lambda request: page(site.renders("/"), **({"Vary": varies[0]} if varies else {})))
    site.get("/", X_Kind="a")
    varies.clear()
    assert site.get("/", X_Kind="b").text == "2"
    assert site.get("/", X_Kind="a").text == "2"


def test_ignored_parameters_do_not_tell_pages_apart(site: Site) -> None:
    site.view("/", lambda request: page(request.GET.get("q", "")))
    assert site.get("/?q=1&utm_source=mail").text == "1"
    assert site.get("/?q=1").is_hit
    assert site.get("/?gclid=5&q=1").is_hit
    assert not site.get("/?q=2").is_hit


def test_order_of_parameters_matters_unless_the_site_says_otherwise(door: str) -> None:
    for sort, hit in ((False, False), (True, True)):
        with doors.site(door, {"SORT_QUERY": sort}) as site:
            site.view("/", lambda request: page())
            site.get("/?a=1&b=2")
            assert site.get("/?b=2&a=1").is_hit is hit


def test_no_vary_search_of_a_response_is_heeded(site: Site) -> None:
    site.view("/", lambda request: page(request.GET.get("q", "none"), No_Vary_Search='params=("session")'))
    assert site.get("/?q=1&session=5").text == "1"
    assert site.get("/?q=1&session=6").is_hit
    assert site.get("/?q=1").is_hit
    assert site.get("/?q=2").text == "2"


def test_paths_beyond_ascii_are_told_apart(site: Site) -> None:
    for path in ("/b\xfccher/", "/b\xe4cher/"):
        site.view(path, path)
    # As PEP 3333 has it: each byte a character.
    for path in ("/b\xfccher/", "/b\xe4cher/"):
        target = path if site.door == "async" else path.encode().decode("latin-1")
        assert site.get(target).text == path
        assert site.get(target).is_hit


def test_streaming_response_passes_through_untouched(site: Site) -> None:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        if site.door != "async":
            return StreamingHttpResponse(iter([b"a", b"b"]), headers={"Cache-Control": "max-age=60"})

        async def pieces() -> Any:
            yield b"a"
            yield b"b"

        return StreamingHttpResponse(pieces(), headers={"Cache-Control": "max-age=60"})

    site.view("/", view)
    for _ in range(2):
        answer = site.get("/")
        assert (answer.text, answer.cache.split("; ")[-1]) == ("ab", "detail=streaming")
        assert "content-length" not in answer.fields


def test_body_larger_than_the_limit_is_passed_on_whole(door: str) -> None:
    with doors.site(door, {"MAX_BODY_BYTES": 10}) as site:
        site.view("/small", lambda request: page("x" * 10))
        site.view("/large", lambda request: page("x" * 11))
        for _ in range(2):
            assert site.get("/large").text == "x" * 11
        assert site.renders("/large") == 2
        site.get("/small")
        assert site.get("/small").is_hit


@pytest.mark.parametrize("status", [301, 404, 410, 503])
def test_any_final_status_with_an_explicit_lifetime_is_kept(site: Site, status: int) -> None:
    site.view("/", lambda request: page("gone", status=status))
    site.get("/")
    again = site.get("/")
    assert (again.status, again.is_hit, again.text) == (status, True, "gone")


def test_what_says_nothing_of_caching_is_not_kept(site: Site) -> None:
    site.view("/", lambda request: page(cache_control=None))
    assert [site.get("/").cache for _ in range(2)] == ["fwd=uri-miss; detail=no-freshness"] * 2
    assert site.engine.numbers()["refusals"] == {"no-freshness": 2}


def test_lifetime_of_this_cache_may_differ_from_the_browsers(site: Site) -> None:
    site.view("/", lambda request: page(cache_control="no-store", WSGIPerf_Cache_Control="max-age=60"))
    site.get("/")
    hit = site.get("/")
    assert (hit.is_hit, hit.fields["cache-control"]) == (True, "no-store")


def test_compressed_once_with_an_etag_of_its_own(site: Site) -> None:
    text = "<p>words</p>" * 200
    site.view("/", lambda request: page(text))
    first = site.get("/", Accept_Encoding="gzip")
    assert (first.text, first.fields["vary"]) == (text, "Accept-Encoding")
    packed = site.get("/", Accept_Encoding="gzip")
    assert packed.fields["content-encoding"] == "gzip"
    assert packed.fields["content-length"] == str(len(packed.body))
    assert gzip.decompress(packed.body).decode() == text
    plain = site.get("/")
    assert (plain.text, plain.fields["vary"]) == (text, "Accept-Encoding")
    assert plain.fields["etag"] != packed.fields["etag"]
    assert site.get("/", Accept_Encoding="gzip", If_None_Match=packed.fields["etag"]).status == 304
    assert site.renders("/") == 1


def test_client_keeps_the_representation_that_it_has(site: Site) -> None:
    site.view("/", lambda request: page("<p>words</p>" * 200))
    # Made for this one, and not compressed yet.
    first = site.get("/", Accept_Encoding="gzip")
    assert "content-encoding" not in first.fields
    unchanged = site.get("/", Accept_Encoding="gzip", If_None_Match=f'"other", {first.fields["etag"]}')
    assert (unchanged.status, unchanged.fields["etag"]) == (304, first.fields["etag"])
    packed = site.get("/", Accept_Encoding="gzip")
    unchanged = site.get("/", Accept_Encoding="br, gzip", If_None_Match=f"W/{packed.fields['etag']}")
    assert (unchanged.status, unchanged.fields["etag"]) == (304, packed.fields["etag"])
    assert site.get("/", Accept_Encoding="gzip", If_None_Match='"other"').fields["content-encoding"] == "gzip"


def test_weak_etag_is_that_of_all_codings(site: Site) -> None:
    site.view("/", lambda request: page("<p>words</p>" * 200, ETag='W/"1"'))
    site.get("/")
    assert site.get("/", Accept_Encoding="gzip").fields["etag"] == 'W/"1"'
    assert site.get("/", Accept_Encoding="gzip", If_None_Match='W/"1"').status == 304


def test_no_transform_is_not_compressed(site: Site) -> None:
    site.view("/", lambda request: page("x" * 5000, "max-age=60, no-transform"))
    site.get("/")
    answer = site.get("/", Accept_Encoding="gzip")
    assert answer.is_hit
    assert "content-encoding" not in answer.fields
    assert "vary" not in answer.fields


def test_digests_are_sent_with_the_bytes_that_they_are_of(site: Site) -> None:
    """RFC 9530, 2 and 3: of the content as it is sent, and of the representation that it is a part of."""
    digests = {"Content_Digest": "sha-256=:a:", "Repr_Digest": "sha-256=:b:", "Content_MD5": "c", "Digest": "d"}
    site.view("/", lambda request: page("text " * 1000, **digests))

    def sent(**headers: str) -> set[str]:
        fields = site.get("/", **headers).fields
        return {name for name in ("content-digest", "repr-digest", "content-md5", "digest") if name in fields}

    whole = {"content-digest", "repr-digest", "content-md5", "digest"}
    assert [sent(), sent()] == [whole, whole]
    assert [sent(Accept_Encoding="gzip"), sent(Accept_Encoding="gzip")] == [set(), set()]
    assert sent(Range="bytes=0-1") == {"repr-digest", "digest"}
    assert sent(If_None_Match="*") == {"repr-digest", "digest"}


def test_client_may_change_what_it_got_encoded(site: Site) -> None:
    """The application knows its own ETag alone, and would refuse (412) a change by the one that was made here."""
    version = ["1"]

    @condition(etag_func=lambda request: f'"{version[0]}"')
    def view(request: HttpRequest) -> HttpResponse:
        return page("text " * 1000, cache_control="max-age=60" if request.method == "GET" else None)

    site.view("/", view)
    site.get("/")
    etag = site.get("/", Accept_Encoding="gzip").fields["etag"]
    assert etag == '"1-gzip"'
    assert site.get("/", "PUT", If_Match=etag).status == 200
    assert site.get("/", If_Match=f'"0", {etag}').status == 200
    version[0] = "2"
    assert site.get("/", "PUT", If_Match=etag).status == 412
    assert site.get("/", "PUT", If_Match='W/"2-gzip"').status == 412


def test_request_directives_count_only_where_the_site_says_so(door: str) -> None:
    with doors.site(door) as site:
        site.view("/", lambda request: page())
        site.get("/")
        assert site.get("/", Cache_Control="no-cache").is_hit
    with doors.site(door, {"REQUEST_DIRECTIVES": True}) as site:
        site.view("/", lambda request: page())
        missing = site.get("/", Cache_Control="only-if-cached")
        assert (missing.status, site.renders("/")) == (504, 0)
        site.get("/")
        assert site.get("/", Cache_Control="only-if-cached").is_hit
        assert not site.get("/", Cache_Control="no-cache").is_hit
        assert site.renders("/") == 2


def test_client_may_want_the_page_as_it_was_made_or_an_old_one_for_an_error(door: str) -> None:
    """RFC 9111, 5.2.1.6, and RFC 5861, 4."""
    with doors.site(door, {"REQUEST_DIRECTIVES": True, "EARLY_REFRESH": 0.0}) as site:
        site.view("/", lambda request: page("text " * 1000, ETag='"1"'))
        site.get("/")
        assert site.get("/", Accept_Encoding="gzip").fields["content-encoding"] == "gzip"
        as_made = site.get("/", Accept_Encoding="gzip", Cache_Control="no-transform")
        assert as_made.is_hit
        assert "content-encoding" not in as_made.fields
        site.view("/", lambda request: page("no", None, status=503))
        site.clock.advance(65)
        assert site.get("/").status == 503
        assert site.get("/", Cache_Control="stale-if-error=5").status == 503
        assert site.get("/", Cache_Control="stale-if-error=60").cache.endswith("detail=stale-if-error")


def test_cache_status_can_be_turned_off_or_tell_all(door: str) -> None:
    with doors.site(door, {"CACHE_STATUS": "off"}) as site:
        site.view("/", lambda request: page())
        assert [site.get("/").cache for _ in range(2)] == ["", ""]
    with doors.site(door, {"CACHE_STATUS": "full"}) as site:
        site.view("/", lambda request: page())
        site.get("/")
        site.clock.advance(15)
        assert site.get("/").cache.startswith('hit; ttl=45; key="')


def test_cache_status_of_caches_before_stays(site: Site) -> None:
    site.view("/", lambda request: page(Cache_Status="Upstream; hit"))
    assert site.get("/").fields["cache-status"].startswith("Upstream; hit, wsgiperf; fwd=uri-miss")


def test_turned_off_it_is_not_there() -> None:
    with override_settings(WSGIPERF={"CACHE": {"ENABLED": False}}):
        assert runtime.engine() is None
        assert runtime.numbers() == {}
        assert not is_wrapped(wrap(lambda environ, start_response: []))


def test_numbers_tell_what_was_done(site: Site) -> None:
    site.view("/", lambda request: page("12345"))
    site.view("/private", lambda request: page(cache_control="private"))
    for path in ("/", "/", "/", "/private"):
        site.get(path)
    site.post("/")
    numbers = site.engine.numbers()
    assert (numbers["hits"], numbers["misses"], numbers["bypasses"]) == (2, 2, 1)
    assert (numbers["stored"], numbers["hit_bytes"]) == (1, 10)
    assert numbers["refusals"] == {"private": 1}
    assert numbers["memory"]["entries"] >= 1


def test_early_refresh_happens_before_the_end(door: str) -> None:
    with doors.site(door, {"EARLY_REFRESH": 100.0}) as site:
        ticks = iter([0.0, 10.0, *[10.0] * 50])
        site.engine.monotonic = lambda: next(ticks)
        site.view("/", lambda request: page(site.renders("/")))
        site.get("/")
        # By chance, which is against it once in a million times.
        site.clock.advance(59.999)
        assert site.get("/").text == "1"
        eventually(lambda: site.renders("/") == 2)
        eventually(lambda: site.engine.counters.refreshes == 1)
        assert site.get("/").text == "2"
