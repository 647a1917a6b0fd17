"""Names of requests: bounded in number, the same for all addresses of a route, and never an address."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpRequest
from django.test import override_settings
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.metrics import routes

from .conftest import TIMING, Measured, measuring
from .site import plain

HERE = "tests.metrics.requests.test_routes"
urlpatterns = [*i18n_patterns(path("books/<int:pk>/", plain)), path("en-route/", plain)]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("/", "/"),
        ("/books/1/", "/books/<int:pk>/"),
        ("/old/a-book/2020/", "/old/<slug>/<arg>/"),
        ("/shop/fiction/", "/shop/<name>/page<page>/"),
        ("/shop/fiction/page3/", "/shop/<name>/page<page>/"),
        ("/no/such/page", "(not found)"),
        ("/missing/", "/missing/"),
        ("/names-itself/", "graphql:Basket"),
    ],
)
def test_names(measured: Measured, asked: str, name: str) -> None:
    assert measured.record(asked).route == name


def test_redirects_and_bad_requests_of_middleware(db: None) -> None:
    common = "django.middleware.common.CommonMiddleware"
    with measuring(middleware=(TIMING, common)) as measured:
        assert measured.record("/plain").route == "(redirect)"
        assert measured.record("/plain/", HTTP_HOST="evil.example").route == "(bad request)"


def test_languages_are_one_route(db: None) -> None:
    locale = "django.middleware.locale.LocaleMiddleware"
    with measuring(middleware=(TIMING, locale), ROOT_URLCONF=HERE) as measured:
        names = {measured.record(asked).route for asked in ("/en/books/1/", "/de/books/1/", "/pt-br/books/2/")}
        assert names == {"/<lang>/books/<int:pk>/"}
        assert measured.record("/en-route/").route == "/en-route/"


def test_a_first_segment_that_is_a_language_stays_without_i18n_patterns() -> None:
    assert routes.template_of("en/books/", "tests.metrics.requests.site") == "/en/books/"


def by_header(request: HttpRequest) -> str | None:
    if request.headers.get("X-Name") == "fails":
        raise ValueError
    return request.headers.get("X-Name")


def test_namer_of_the_project(db: None, caplog: pytest.LogCaptureFixture) -> None:
    with measuring(metrics={"ROUTE_NAMER": f"{HERE}.by_header"}) as measured:
        assert measured.record("/plain/", HTTP_X_NAME="mine").route == "mine"
        assert measured.record("/plain/").route == "/plain/"
        assert measured.record("/plain/", HTTP_X_NAME="fails").route == "/plain/"
        assert "ROUTE_NAMER by_header failed" in caplog.text
        assert measured.record("/names-itself/", HTTP_X_NAME="mine").route == "graphql:Basket"
        assert measured.record("/plain/", HTTP_X_NAME="x" * 1000).route == "x" * routes.MAX_LENGTH


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (None, "/"),
        ("", "/"),
        (r"^$", "/"),
        (r"^articles/(?P<year>[0-9]{4})/$", "/articles/<year>/"),
        (r"^a\.b/(?P<x>(one|two)\)?)/([^)]*)$", "/a.b/<x>/<arg>"),
        (r"^(?:en|de)/(?P<p>\w+)\Z", "/en|de/<p>"),
        (r"^file/(?!secret)\d+\b", "/file/<char>"),
        ("wiki/^(?P<path>(?:[-/]|\\w)+)$", "/wiki/<path>"),
        ("price(net)/<int:pk>+tax/", "/price(net)/<int:pk>+tax/"),
        (r"^open/(never-closed", "/open/<arg>"),
    ],
)
def test_patterns_in_plain_words(pattern: str | None, name: str) -> None:
    assert routes.template_of(pattern) == name


@given(st.text(max_size=300))
def test_any_pattern_gives_a_bounded_printable_name(pattern: str) -> None:
    with override_settings(ROOT_URLCONF="tests.metrics.requests.site"):
        name = routes.template_of(pattern)
    assert name.startswith("/")
    assert len(name) <= routes.MAX_LENGTH
    assert not any(sign < " " or sign == "\x7f" for sign in name)


def test_memory_of_names_is_bounded() -> None:
    for number in range(5000):
        request: Any = SimpleNamespace(resolver_match=SimpleNamespace(route=f"r{number}/"))
        assert routes.name_of(request, 200) == f"/r{number}/"
    assert len(routes._known) <= 4096


def test_method_of_a_request_is_one_of_ten() -> None:
    request = HttpRequest()
    assert routes.method_of(request) == "_OTHER"
    request.method = "PATCH"
    assert routes.method_of(request) == "PATCH"
