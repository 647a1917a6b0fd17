"""What becomes of pages past their time: validated, used while a new one is made, used when the application fails."""

from __future__ import annotations

import threading

import pytest
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified

from . import doors
from .doors import Site, page
from .fakes import eventually

TEXT = "x" * 40


def refreshed(site: Site, count: int = 1) -> None:
    """Wait until so many pages were made in the background."""
    eventually(lambda: site.engine.counters.refreshes >= count)


def test_stale_page_is_validated_and_its_head_renewed(site: Site) -> None:
    asked: list[str | None] = []

    def view(request: HttpRequest) -> HttpResponse:
        asked.append(request.headers.get("If-None-Match"))
        if asked[-1] == '"1"':
            return HttpResponseNotModified(headers={"ETag": '"1"', "Cache-Control": "max-age=5", "X-Made": "later"})
        return page(TEXT, ETag='"1"', X_Made="first")

    site.view("/", view)
    site.get("/")
    site.clock.advance(61)
    again = site.get("/")
    assert (again.status, again.text, again.cache) == (200, TEXT, "fwd=stale; fwd-status=304; stored")
    assert again.fields["x-made"] == "later"
    assert asked == [None, '"1"']
    site.clock.advance(4)
    assert (site.get("/").fields["age"], site.get("/").text) == ("4", TEXT)
    assert site.engine.counters.revalidated == 1


def test_bare_304_is_believed_without_asking_again(site: Site) -> None:
    """Its ETag is what RFC 9110, 15.4.5 asks of it, and what HttpResponseNotModified() does not have."""

    def view(request: HttpRequest) -> HttpResponse:
        if request.headers.get("If-None-Match") == '"1"':
            return HttpResponseNotModified()
        return page(TEXT, ETag='"1"')

    site.view("/", view)
    site.get("/")
    site.clock.advance(61)
    again = site.get("/")
    assert (again.status, again.text, again.cache) == (200, TEXT, "fwd=stale; fwd-status=304; stored")
    assert (again.fields["etag"], site.get("/").is_hit, site.renders("/")) == ('"1"', True, 2)


def test_client_whose_copy_is_confirmed_gets_a_304(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if request.headers.get("If-None-Match"):
            return HttpResponseNotModified(headers={"ETag": '"1"'})
        return page(TEXT, ETag='"1"')

    site.view("/", view)
    site.get("/")
    site.clock.advance(61)
    assert site.get("/", If_None_Match='"1"').status == 304


def test_stale_page_is_replaced_where_the_application_has_a_new_one(site: Site) -> None:
    site.view("/", lambda request: page(site.renders("/"), ETag=f'"{site.renders("/")}"'))
    site.get("/")
    site.clock.advance(61)
    assert site.get("/", If_None_Match='"1"').text == "2"
    assert site.get("/").text == "2"


def test_confirmation_of_something_else_is_asked_again_without_conditions(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if request.headers.get("If-None-Match"):
            return HttpResponseNotModified(headers={"ETag": '"other"'})
        return page(site.renders("/"), ETag='"1"')

    site.view("/", view)
    site.get("/")
    site.clock.advance(61)
    assert (site.get("/").text, site.renders("/")) == ("3", 3)


def test_own_etag_means_nothing_to_the_application(site: Site) -> None:
    asked: list[str | None] = []
    site.view("/", lambda request: asked.append(request.headers.get("If-None-Match")) or page())
    site.get("/")
    site.clock.advance(61)
    site.get("/")
    assert asked == [None, None]


def test_page_that_may_no_longer_be_shared_is_not_used_again(site: Site) -> None:
    site.view("/", lambda request: page(site.renders("/"), "max-age=60" if site.renders("/") == 1 else "private"))
    site.get("/")
    site.clock.advance(61)
    assert site.get("/").text == "2"
    site.clock.advance(-30)
    assert site.get("/").text == "3"


def test_page_for_certain_credentials_is_not_made_anew_for_nobody(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        text = f"{request.META.get('HTTP_AUTHORIZATION')} {site.renders('/')}"
        return page(text, "public, max-age=60, stale-while-revalidate=60", Vary="Authorization")

    site.view("/", view)
    site.get("/", Authorization="a")
    site.clock.advance(61)
    assert [site.get("/", Authorization="a").text for _ in range(2)] == ["a 2", "a 2"]
    assert site.engine.numbers()["refresher"]["threads"] == 0


def test_answer_to_one_visitor_alone_ends_nothing(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        number = site.renders("/")
        if number == 1:
            return page("1", "max-age=60, stale-if-error=600")
        if number == 2:
            return page("part", status=206)
        response = page(number, status=200 if number == 3 else 503)
        if number == 3:
            response.set_cookie("visitor", "3")
        return response

    site.view("/", view)
    site.get("/")
    site.clock.advance(61)
    assert site.get("/", Range="bytes=0-0").status == 206
    assert site.get("/").text == "3"
    # What was stored is still there for those who would get an error.
    assert (site.get("/").status, site.get("/").text) == (200, "1")


def test_head_renews_or_ends_what_is_stored(site: Site) -> None:
    tag = ["1"]
    site.view("/", lambda request: page(TEXT, ETag=f'"{tag[0]}"'))
    site.get("/")
    site.clock.advance(61)
    assert site.get("/", "HEAD").status == 200
    assert site.get("/").is_hit
    site.clock.advance(61)
    tag[0] = "2"
    site.get("/", "HEAD")
    site.clock.advance(-30)
    assert not site.get("/").is_hit


def test_stale_page_is_used_while_a_new_one_is_made(site: Site) -> None:
    gate = threading.Event()

    def view(request: HttpRequest) -> HttpResponse:
        if site.renders("/") == 2:
            assert gate.wait(20)
        return page(site.renders("/"), "max-age=60, stale-while-revalidate=60")

    site.view("/", view)
    site.get("/")
    site.clock.advance(61)
    answers = [site.get("/") for _ in range(5)]
    gate.set()
    assert [(answer.text, answer.cache) for answer in answers] == [("1", "hit; detail=stale")] * 5
    refreshed(site)
    assert (site.get("/").text, site.get("/").cache) == ("2", "hit")
    assert site.renders("/") == 2
    assert site.engine.counters.stale_hits == 5


def test_page_made_in_the_background_is_nobodys(site: Site) -> None:
    site.view("/", lambda request: page(cache_control="max-age=60, stale-while-revalidate=60", Vary="X-Kind"))
    site.get("/", X_Kind="a", Cookie="_ga=1")
    site.clock.advance(61)
    site.get("/", X_Kind="a", Cookie="_ga=2; theme=dark", User_Agent="Alice's", X_Forwarded_For="192.0.2.9")
    refreshed(site)
    request = doors.pages.last("/")
    assert request.headers["X-Kind"] == "a"
    assert request.META["wsgiperf.refresh"] is True
    named = {"Host", "X-Kind", "User-Agent", "Accept"}
    assert {name for name, value in request.headers.items() if value} == named
    assert request.META["REMOTE_ADDR"] == "0.0.0.0"
    assert (request.COOKIES, request.get_host()) == ({}, doors.HOST)


def test_page_made_in_the_background_is_for_its_own_variant(site: Site) -> None:
    site.view(
        "/",
        lambda request: page(
            f"{request.headers.get('X-Kind')}{site.renders('/')}",
            "max-age=60, stale-while-revalidate=60",
            Vary="X-Kind",
        ),
    )
    site.get("/", X_Kind="a")
    site.get("/", X_Kind="b")
    site.clock.advance(61)
    assert site.get("/", X_Kind="b").text == "b2"
    refreshed(site)
    assert site.get("/", X_Kind="b").text == "b3"
    assert site.get("/", X_Kind="a").text == "a1"


def test_page_made_in_the_background_takes_the_place_of_one_for_clients_that_say_little(site: Site) -> None:
    """Its own User-Agent and Accept are not those of a client that sent none."""
    vary = {"Cache_Control": "max-age=60, stale-while-revalidate=60", "Vary": "User-Agent, Accept"}
    site.view("/", lambda request: page(site.renders("/"), **vary))
    site.get("/")
    site.clock.advance(61)
    assert site.get("/").text == "1"
    eventually(lambda: site.engine.counters.refreshes == 1)
    assert (site.get("/").text, site.renders("/")) == ("2", 2)


def test_refresh_asks_whether_the_page_still_holds(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if request.headers.get("If-None-Match") == '"1"':
            return HttpResponseNotModified(headers={"ETag": '"1"', "Cache-Control": "max-age=60"})
        return page(TEXT, "max-age=60, stale-while-revalidate=60", ETag='"1"')

    site.view("/", view)
    site.get("/")
    site.clock.advance(61)
    site.get("/")
    refreshed(site)
    assert (site.get("/").cache, site.get("/").text) == ("hit", TEXT)
    # What the cache asks by itself is no client's request.
    assert (site.engine.counters.misses, site.engine.counters.revalidated) == (1, 0)


def test_refresh_that_fails_is_not_tried_by_every_request(site: Site) -> None:
    site.view(
        "/", lambda request: page("1", "max-age=60, stale-while-revalidate=60") if site.renders("/") == 1 else 1 / 0
    )
    site.get("/")
    site.clock.advance(61)
    assert site.get("/").text == "1"
    eventually(lambda: site.engine.counters.refresh_failures == 1)
    for _ in range(20):
        assert site.get("/").text == "1"
    assert site.renders("/") <= 4


def test_after_the_window_nothing_stale_is_used(site: Site) -> None:
    site.view("/", lambda request: page(site.renders("/"), "max-age=60, stale-while-revalidate=60"))
    site.get("/")
    site.clock.advance(121)
    assert site.get("/").text == "2"


@pytest.mark.parametrize("failing", ["raises", "answers 503"])
def test_stale_page_is_used_when_the_application_fails(site: Site, failing: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if site.renders("/") == 1:
            return page(TEXT, "max-age=60, stale-if-error=600")
        if failing == "raises":
            raise RuntimeError("a view that fails")
        return page("down", None, status=503)

    site.view("/", view)
    site.get("/")
    site.clock.advance(61)
    answer = site.get("/")
    status = 500 if failing == "raises" else 503
    assert (answer.status, answer.text) == (200, TEXT)
    assert answer.cache == f"fwd=stale; fwd-status={status}; detail=stale-if-error"
    assert site.engine.counters.errors_covered == 1
    site.clock.advance(600)
    assert site.get("/").status == status


def test_must_revalidate_forbids_stale_pages_even_for_errors(site: Site) -> None:
    site.view(
        "/",
        lambda request: (
            page(TEXT, "max-age=60, stale-if-error=600, must-revalidate")
            if site.renders("/") == 1
            else page("down", None, status=503)
        ),
    )
    site.get("/")
    site.clock.advance(61)
    assert site.get("/").status == 503


def test_error_page_of_a_view_that_raised_is_never_kept(door: str) -> None:
    # Whatever middleware says of all responses.
    with doors.site(
        door, MIDDLEWARE=["tests.cache.middlewares.everything_for_a_minute", *doors.PLAIN_MIDDLEWARE]
    ) as site:
        site.view("/", lambda request: 1 / 0)
        assert [site.get("/").cache.split("; ")[-1] for _ in range(2)] == ["detail=failed"] * 2
        assert site.renders("/") == 2


def test_unsafe_request_invalidates_its_address_and_those_it_names(site: Site) -> None:
    def change(request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            return page("done", None, status=303, Location="/list/?page=1", Content_Location="http://shop.example/old")
        return page(site.renders("/thing"))

    site.view("/thing", change)
    for path in ("/list/", "/old", "/else"):
        site.view(path, path)
    targets = ["/thing", "/list/?page=1", "/list/?page=2", "/old", "/else"]
    for target in targets:
        site.get(target)
    assert all(site.get(target).is_hit for target in targets)
    assert site.post("/thing").cache == "fwd=method; detail=method"
    assert [site.get(target).is_hit for target in targets] == [False, False, True, False, True]


def test_unsafe_request_that_fails_invalidates_nothing(site: Site) -> None:
    site.view("/", lambda request: page() if request.method == "GET" else page("no", None, status=400))
    site.get("/")
    site.post("/")
    assert site.get("/").is_hit


def test_unsafe_request_invalidates_groups(site: Site) -> None:
    site.view("/a", lambda request: page(Cache_Groups='"books"'))
    site.view("/b", lambda request: page())
    site.view("/change", lambda request: page("done", None, Cache_Group_Invalidation='"books"'))
    site.get("/a"), site.get("/b")
    site.post("/change")
    assert (site.get("/a").is_hit, site.get("/b").is_hit) == (False, True)


def test_every_group_counts_however_many_there_are(site: Site) -> None:
    """RFC 9875, 2 asks for 32 of them. Of one that is left out nobody could tell."""
    groups = [f'"book:{number}"' for number in range(200)]
    site.view("/a", lambda request: page(Cache_Groups=", ".join(groups)))
    site.view("/b", lambda request: page(Cache_Groups=groups[0]))
    site.view("/last", lambda request: page("done", None, Cache_Group_Invalidation=groups[-1]))
    site.view("/all", lambda request: page("done", None, Cache_Group_Invalidation=", ".join(reversed(groups))))
    site.get("/a"), site.get("/b")
    site.post("/last")
    assert (site.get("/a").is_hit, site.get("/b").is_hit) == (False, True)
    site.post("/all")
    assert (site.get("/a").is_hit, site.get("/b").is_hit) == (False, False)


def test_unsafe_request_where_nothing_is_stored_purges_nothing(site: Site) -> None:
    site.view("/like", lambda request: page("liked", None))
    for _ in range(5):
        site.post("/like")
    assert site.engine.tags.purges == 0


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_page_made_from_older_data_is_not_used_after_an_unsafe_request(door: str) -> None:
    with doors.site(door) as site:
        price = ["old"]
        reading, changed = threading.Event(), threading.Event()

        def view(request: HttpRequest) -> HttpResponse:
            if request.method == "POST":
                price[0] = "new"
                return page("done", None)
            seen = price[0]
            reading.set()
            assert changed.wait(20)
            return page(seen)

        site.view("/", view)
        reader = threading.Thread(target=site.get, args=("/",))
        reader.start()
        assert reading.wait(20)
        site.post("/")
        changed.set()
        reader.join(20)
        assert site.get("/").text == "new"
