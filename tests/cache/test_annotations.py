"""What views say of their pages to this cache alone: decorators and request.wsgiperf.cache."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control, cache_page

from django_wsgiperf.cache.annotations import page_cache_of
from django_wsgiperf.cache.decorators import cache_response, never_cache_response
from django_wsgiperf.cache.messages import NO_ANNOTATION

from . import doors
from .doors import Site, page
from .fakes import eventually
from .test_engine_safety import session_cookie


def test_lifetime_is_for_this_cache_alone(site: Site) -> None:
    site.view("/", cache_response(ttl=60)(lambda request: HttpResponse("text")))
    site.get("/")
    hit = site.get("/")
    assert hit.is_hit
    assert "cache-control" not in hit.fields
    site.clock.advance(60)
    assert not site.get("/").is_hit


def test_lifetime_goes_before_that_for_browsers(site: Site) -> None:
    site.view("/", cache_response(ttl=3600)(lambda request: page(cache_control="max-age=1")))
    site.get("/")
    site.clock.advance(1800)
    hit = site.get("/")
    assert (hit.is_hit, hit.fields["cache-control"]) == (True, "max-age=1")


@pytest.mark.parametrize("forbidden", ["private", "no-store"])
def test_what_forbids_sharing_is_obeyed(site: Site, forbidden: str) -> None:
    site.view("/", cache_response(ttl=60)(lambda request: page(cache_control=forbidden)))
    assert [site.get("/").cache for _ in range(2)] == [f"fwd=uri-miss; detail={forbidden}"] * 2


def test_error_of_a_view_has_not_the_lifetime_of_its_pages(site: Site) -> None:
    site.view("/", cache_response(ttl=60)(lambda request: page("no", None, status=503)))
    assert "detail=no-freshness" in site.get("/").cache


def test_windows_are_those_of_the_decorator(site: Site) -> None:
    site.view("/", cache_response(ttl=60, swr=60)(lambda request: HttpResponse(str(site.renders("/")))))
    site.get("/")
    site.clock.advance(61)
    assert site.get("/").cache == "hit; detail=stale"
    eventually(lambda: site.engine.counters.refreshes == 1)
    assert site.get("/").text == "2"


@pytest.mark.parametrize("locale", [True, False])
def test_a_page_may_depend_on_accept_language_as_it_is_sent(door: str, locale: bool) -> None:
    middleware = [*doors.MIDDLEWARE] if locale else [*doors.PLAIN_MIDDLEWARE]

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.headers["Accept-Language"])

    with doors.site(door, MIDDLEWARE=middleware, LANGUAGES=[("en", "English"), ("de", "German")]) as site:
        site.view("/usual", cache_response(ttl=60)(view))
        site.view("/raw", cache_response(ttl=60, swr=60, raw_language=True)(view))
        values = ("de-AT, de;q=0.5", "de-CH, de;q=0.5", "de")
        for _ in range(3):
            for value in values:
                raw = site.get("/raw", Accept_Language=value)
                assert (raw.text, raw.fields["vary"]) == (value, "Accept-Language")
                site.get("/usual", Accept_Language=value)
        assert (site.renders("/raw"), site.renders("/usual")) == (3, 1)
        assert site.get("/raw", Accept_Language="de-AT,de;q=0.5").is_hit, "blanks mean nothing"
        site.clock.advance(61)
        assert [site.get("/raw", Accept_Language=value).cache for value in values] == ["hit; detail=stale"] * 3
        eventually(lambda: site.engine.counters.refreshes == 3)
        assert [site.get("/raw", Accept_Language=value).text for value in values] == list(values)


def test_never_is_never(site: Site) -> None:
    site.view("/", never_cache_response(lambda request: page()))
    assert [site.get("/").cache for _ in range(2)] == ["fwd=uri-miss; detail=never"] * 2


def test_a_view_can_decide_while_it_runs(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        notes = page_cache_of(request)
        notes.ttl = 60
        notes.tag("book:1", "book:2")
        if request.GET.get("draft"):
            request.wsgiperf.cache.never()  # type: ignore[attr-defined]
        return HttpResponse("text")

    site.view("/", view)
    for target, hit in (("/", True), ("/?draft=1", False)):
        site.get(target)
        assert site.get(target).is_hit is hit
    site.engine.tags.purge(["book:2"])
    assert not site.get("/").is_hit


def test_methods_of_classes_and_wrapped_requests_can_be_decorated(site: Site) -> None:
    class Book(View):
        @method_decorator(cache_response(ttl=60))
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("text")

    class Wrapped:
        """As Django REST framework has it."""

        def __init__(self, request: HttpRequest) -> None:
            self._request = request

    inner = cache_response(ttl=60)(lambda request: HttpResponse("text"))
    site.view("/class", Book.as_view())
    site.view("/wrapped", lambda request: inner(Wrapped(request)))
    for path in ("/class", "/wrapped"):
        site.get(path)
        assert site.get(path).is_hit


def test_asynchronous_views_can_be_decorated(site: Site) -> None:
    from asgiref.sync import async_to_sync

    @cache_response(ttl=60, vary_cookies=["currency"])
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("text")

    site.view("/", async_to_sync(view))
    assert site.get("/").fields["vary"] == "Cookie"
    assert site.get("/").is_hit


def test_page_depends_on_the_named_cookies_only(site: Site) -> None:
    @cache_response(ttl=60, vary_cookies=["currency"])
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.COOKIES.get("currency", "EUR"))

    site.view("/", view)
    assert site.get("/", Cookie="currency=USD; theme=dark; sessionid=alice").text == "USD"
    assert site.get("/", Cookie="theme=light; currency=USD").is_hit
    assert site.get("/", Cookie="theme=light").text == "EUR"
    assert site.get("/").is_hit
    assert site.get("/").fields["vary"] == "Cookie"
    assert site.renders("/") == 2


def test_named_cookies_do_not_open_the_session(door: str) -> None:
    with doors.site(door, MIDDLEWARE=doors.MIDDLEWARE) as site:

        @cache_response(ttl=60, vary_cookies=["currency"])
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(request.session.get("name", "nobody"))

        site.view("/", view)
        assert site.get("/", Cookie=session_cookie(name="Alice")).text == "Alice"
        assert site.get("/").text == "nobody"
        assert site.get("/", Cookie=session_cookie(name="Bob")).text == "Bob"


def test_stale_page_of_a_cookie_is_made_anew_with_that_cookie_alone(site: Site) -> None:
    @cache_response(ttl=60, swr=60, vary_cookies=["currency"])
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{request.COOKIES.get('currency')}{site.renders('/')}")

    site.view("/", view)
    site.get("/", Cookie="currency=USD; sessionid=alice")
    site.clock.advance(61)
    assert site.get("/", Cookie="sessionid=bob; currency=USD").text == "USD1"
    eventually(lambda: site.engine.counters.refreshes == 1)
    assert doors.pages.last("/").COOKIES == {"currency": "USD"}
    assert site.get("/", Cookie="currency=USD").text == "USD2"


def test_djangos_own_decorators_keep_their_meaning(site: Site) -> None:
    site.view("/kept", cache_control(max_age=60, public=True)(lambda request: HttpResponse("text")))
    site.view("/private", cache_control(max_age=60, private=True)(lambda request: HttpResponse("text")))
    site.view("/timed", cache_page(30, key_prefix=site.door)(lambda request: HttpResponse("text")))
    for path, hit in (("/kept", True), ("/private", False), ("/timed", True)):
        site.get(path)
        assert site.get(path).is_hit is hit
    site.clock.advance(31)
    assert not site.get("/timed").is_hit


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ttl": "60"}, TypeError, "ttl is a number of seconds, not '60'"),
        ({"ttl": -1}, ValueError, "ttl is a number of seconds from 0 on, not -1"),
        ({"swr": float("nan")}, ValueError, "swr is a number of seconds from 0 on"),
        ({"ttl": True}, TypeError, "ttl is a number of seconds, not True"),
        ({"tags": "book"}, TypeError, r"write \['book'\]"),
        ({"tags": [7]}, TypeError, "a tag is a text, not 7"),
        ({"tags": ["x" * 257]}, ValueError, "a tag has 1 to 256 characters, not 257"),
        ({"tags": ["\x013p:/"]}, ValueError, "are the cache's own"),
        ({"vary_cookies": "currency"}, TypeError, r"write \['currency'\]"),
    ],
)
def test_wrong_arguments_are_refused_when_the_view_is_defined(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cache_response(**arguments)


def test_notes_can_be_made_where_nobody_reads_them() -> None:
    request = HttpRequest()
    request.wsgiperf.cache.ttl = 60  # type: ignore[attr-defined]
    request.wsgiperf.cache.tag("book:1")  # type: ignore[attr-defined]
    assert page_cache_of(request).tags == ("book:1",)


@pytest.mark.parametrize("name", ["ttl", "swr", "sie", "keep"])
@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        *((seconds, TypeError) for seconds in ("60", timedelta(minutes=1), Decimal(60), True)),
        *((float(text), ValueError) for text in ("nan", "inf")),
    ],
)
def test_span_that_is_none_is_refused_in_the_view(name: str, seconds: Any, error: type[Exception]) -> None:
    notes = page_cache_of(HttpRequest())
    with pytest.raises(error, match=f"{name} is a number of seconds, not "):
        setattr(notes, name, seconds)
    setattr(notes, name, 60)
    setattr(notes, name, None)
    assert notes.annotation() == NO_ANNOTATION


def test_view_whose_page_is_over_before_it_begins(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        page_cache_of(request).ttl = -0.5
        return HttpResponse("text")

    site.view("/", view)
    assert [site.get("/").cache for _ in range(2)] == ["fwd=uri-miss; detail=expired"] * 2


@pytest.mark.parametrize("decorator", [never_cache_response, cache_response(ttl=60)])
def test_method_that_is_decorated_like_a_function_is_no_view(decorator: Any) -> None:
    """What never_cache_response says would otherwise be said of nothing, and the page kept."""

    class Quote(View):
        @decorator
        def get(self, request: HttpRequest) -> HttpResponse:
            return page("text")

    with pytest.raises(TypeError, match="write @method_decorator"):
        Quote.as_view()(RequestFactory().get("/"))
