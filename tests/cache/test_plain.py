"""The short way of plain misses decides as a visit does, and keeps the promises that a visit makes to others."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token

from django_wsgiperf.cache import wsgi
from django_wsgiperf.cache.annotations import page_cache_of
from django_wsgiperf.cache.held import Held
from django_wsgiperf.cache.plain import Plain
from django_wsgiperf.cache.policy.heads import Heads
from django_wsgiperf.cache.purging import purge

from . import doors
from .doors import page


def csrf(request: HttpRequest) -> HttpResponse:
    return page(f"{len(get_token(request))}")


def annotated(request: HttpRequest) -> HttpResponse:
    page_cache_of(request).ttl = 60
    page_cache_of(request).tag("a")
    return page(cache_control=None)


def never(request: HttpRequest) -> HttpResponse:
    page_cache_of(request).never()
    return page()


def raising(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("on purpose")


def cookie(request: HttpRequest) -> HttpResponse:
    response = page()
    response.set_cookie("a", "b")
    return response


def encoded(request: HttpRequest) -> HttpResponse:
    response = page("word " * 1_000, Vary="Accept-Encoding")
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = gzip.compress(response.content, mtime=0)
        response["Content-Encoding"] = "gzip"
    return response


VIEWS: dict[str, Callable[[HttpRequest], Any]] = {
    "kept": lambda request: page(),
    "kept for compression": lambda request: page("word " * 1_000, Content_Type="text/plain"),
    "varies": lambda request: page(Vary="Accept-Encoding, X-Kind"),
    "varies by cookie": lambda request: page(Vary="Cookie"),
    "says nothing": lambda request: page(cache_control=None),
    "expires": lambda request: page(cache_control=None, Expires="Thu, 01 Jan 2099 00:00:00 GMT"),
    "expired": lambda request: page(cache_control="max-age=0"),
    "private": lambda request: page(cache_control="private, max-age=60"),
    "no-store": lambda request: page(cache_control="no-store"),
    "no-cache": lambda request: page(cache_control="no-cache"),
    "targeted": lambda request: page(cache_control="no-store", Wsgiperf_Cache_Control="max-age=60"),
    "targeted at nothing": lambda request: page(cache_control="max-age=60", Wsgiperf_Cache_Control="private"),
    "star": lambda request: page(Vary="*"),
    "nonce": lambda request: page(Content_Security_Policy="script-src 'nonce-abc'"),
    "not found": lambda request: page(status=404),
    "not found, says nothing": lambda request: page(status=404, cache_control=None),
    "unavailable": lambda request: page(status=503, cache_control=None),
    "unavailable for a while": lambda request: page(status=503),
    "partial": lambda request: page(status=206),
    "too long": lambda request: page(Content_Length="1000"),
    "large": lambda request: page("x" * 2**21),
    "no content": lambda request: page("", status=204),
    "groups": lambda request: page(Cache_Groups='"a", "b"'),
    "streams": lambda request: StreamingHttpResponse(iter([b"a", b"b"]), headers={"Cache-Control": "max-age=60"}),
    "streams, says nothing": lambda request: StreamingHttpResponse(iter([b"a", b"b"])),
    "file": lambda request: FileResponse(BytesIO(b"file"), headers={"Cache-Control": "max-age=60"}),
    "token": csrf,
    "annotated": annotated,
    "encoded": encoded,
    "expires, too": lambda request: page(Expires="Thu, 01 Jan 2026 00:00:00 GMT"),
    "modified": lambda request: page(Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT"),
    "tagged": lambda request: page(ETag='"a"'),
    "dated": lambda request: page(Date="Thu, 01 Jan 2026 00:00:00 GMT"),
    "aged": lambda request: page(Age="10"),
    "searched": lambda request: page(No_Vary_Search="params"),
    "sets apart": lambda request: page(cache_control='private="x-kind", max-age=60', X_Kind="a"),
    "hop by hop": lambda request: page(X_Request_ID="1", Server_Timing="a", Proxy_Connection="close"),
    "no-transform": lambda request: page("word " * 1_000, "no-transform, max-age=60", Content_Type="text/plain"),
    "never": never,
    "raises": raising,
    "sets a cookie": cookie,
}
ALIKE = {"kept", "kept for compression", "varies", "varies by cookie", "targeted", "groups", "annotated", "encoded"}
"""Those of which others with the same head are kept by what is known of it."""
ASKED: dict[str, dict[str, str]] = {
    "plainly": {},
    "with a cookie": {"Cookie": "theme=dark"},
    "with a session": {"Cookie": "sessionid=abc; theme=dark"},
    "compressed": {"Accept_Encoding": "gzip"},
}


def told(
    view: Callable[[HttpRequest], Any], path: str, fields: dict[str, str], *, others: int = 0, keep_s: float = 0.0
) -> list[Any]:
    """All that shows of requests to a new site: the answers, what was counted, and what is kept. The first are for
    other pages with the same head."""
    with doors.site("wsgi", {"EXCLUDE": ["/excluded/"], "COMPRESS": ["gzip"], "JITTER": 0.0, "KEEP_S": keep_s}) as site:
        paths = [f"/other/{number}" for number in range(others)] + [path] * 3
        for each in dict.fromkeys(paths):
            site.view(each, view)
        answers = [site.get(each, **fields) for each in paths]
        numbers = site.engine.numbers()
        kept = [
            (key, replace(value.entry, render_s=0.0), value.offered, charge)
            for key, value, charge in site.engine.memory
            if isinstance(value, Held)
        ]
        assert site.engine.making == {}
        return [
            [(answer.status, answer.headers, answer.body) for answer in answers],
            [site.renders(path), numbers, kept],
        ]


@pytest.mark.parametrize("path", ["/page", "/excluded/page", "/page?a=1&utm_source=x"])
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", VIEWS)
def test_short_way_comes_to_what_a_visit_comes_to(
    name: str, asked: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[bool] = []
    begin = wsgi.begin

    def short(*arguments: Any) -> Plain | None:
        plain = begin(*arguments)
        ways.append(plain is not None)
        return plain

    monkeypatch.setattr(wsgi, "begin", short)
    shortly = told(VIEWS[name], path, ASKED[asked])
    assert ways[0], "the short way was not taken"
    monkeypatch.setattr(wsgi, "begin", lambda *_: None)
    monkeypatch.setattr(Heads, "known", lambda *_: None)
    assert shortly == told(VIEWS[name], path, ASKED[asked])


@pytest.mark.parametrize("keep_s", [0.0, 60.0])
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", VIEWS)
def test_pages_whose_head_is_known_are_kept_as_by_a_visit_and_by_the_rules(
    name: str, asked: str, keep_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[bool] = []
    kept = Plain.keep_known

    def keeping(*arguments: Any) -> Any:
        head = kept(*arguments)
        known.append(head is not None)
        return head

    monkeypatch.setattr(Plain, "keep_known", keeping)
    shortly = told(VIEWS[name], "/page?a=1&utm_source=x", ASKED[asked], others=3, keep_s=keep_s)
    if name in ALIKE and (name, asked) != ("varies by cookie", "with a session"):
        assert any(known), "no head was known"
    monkeypatch.setattr(wsgi, "begin", lambda *_: None)
    by_visits = told(VIEWS[name], "/page?a=1&utm_source=x", ASKED[asked], others=3, keep_s=keep_s)
    monkeypatch.setattr(Heads, "known", lambda *_: None)
    by_the_rules = told(VIEWS[name], "/page?a=1&utm_source=x", ASKED[asked], others=3, keep_s=keep_s)
    assert shortly == by_visits == by_the_rules


def test_what_a_purge_meets_while_it_is_made_is_not_used_after_it() -> None:
    with doors.site("wsgi") as site:

        def view(request: HttpRequest) -> HttpResponse:
            site.engine.tags.purge(everything=site.renders("/") == 1)
            return page(site.renders("/"))

        site.view("/", view)
        assert [site.get("/").text for _ in range(3)] == ["1", "2", "2"]


def test_post_meanwhile_ends_a_page_that_is_being_made() -> None:
    with doors.site("wsgi") as site:

        def view(request: HttpRequest) -> HttpResponse:
            if request.method == "GET" and site.renders("/") == 1:
                site.post("/")
            return page(site.renders("/"))

        site.view("/", view)
        assert [site.get("/").text for _ in range(3)] == ["2", "3", "3"]


def test_page_that_lands_between_the_look_and_the_flight_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with doors.site("wsgi") as site:
        site.view("/", lambda request: page(site.renders("/")))
        board = site.engine.flights.board_unmarked

        def late(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(site.engine.flights, "board_unmarked", board)
            assert site.get("/").text == "1"
            return board(*arguments, **options)

        monkeypatch.setattr(site.engine.flights, "board_unmarked", late)
        answer = site.get("/")
        assert (answer.text, answer.is_hit, site.renders("/")) == ("1", True, 1)
        assert site.engine.flights.numbers().waiting == 0


def test_environ_is_read_as_it_came() -> None:
    with doors.site("wsgi") as site:

        def view(request: HttpRequest) -> HttpResponse:
            seen = request.META["HTTP_X_KIND"]
            request.META["HTTP_X_KIND"] = "other"
            return page(seen, Vary="X-Kind")

        site.view("/", view)
        assert site.get("/", X_Kind="own").text == "own"
        assert site.get("/", X_Kind="other").text == "other"
        assert site.get("/", X_Kind="own").is_hit


@pytest.mark.parametrize("language", ["", "de"])
@pytest.mark.parametrize("path", ["/page", "/page?a=1&utm_source=x", "/" + "long" * 30, "/page?long=" + "long" * 30])
@pytest.mark.parametrize("written", ["{}", "http://shop.example{}", "http://shop.example{}&utm_source=y"])
def test_page_whose_head_is_known_is_purged_by_its_address(written: str, path: str, language: str) -> None:
    options: dict[str, Any] = {}
    if language:
        options = {"MIDDLEWARE": ["django.middleware.locale.LocaleMiddleware"], "USE_I18N": True}
    with doors.site("wsgi", **options) as site:
        for other in ("/other/1", "/other/2", "/other/3"):
            site.view(other, lambda request: page())
            site.get(other, Accept_Language=language or "en")
        assert len(site.engine.heads) == 1, "it is known"
        site.view(path.partition("?")[0], lambda request: page())
        site.get(path, Accept_Language=language or "en")
        assert site.get(path, Accept_Language=language or "en").is_hit
        if "?" in path or "&" not in written:
            purge(url=written.format(path))
            assert not site.get(path, Accept_Language=language or "en").is_hit
            assert site.get("/other/1", Accept_Language=language or "en").is_hit
        purge(url="/other/1")
        assert not site.get("/other/1", Accept_Language=language or "en").is_hit
