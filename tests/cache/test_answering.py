"""What a process answers of its cache when others of the project ask: numbers, pages, explanations, purges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from django_wsgiperf import control
from django_wsgiperf.cache import runtime
from django_wsgiperf.cache.answering import answer
from django_wsgiperf.cache.decorators import cache_response
from django_wsgiperf.wsgi import get_wsgi_application
from tests.benchmarks.serving.environ import ready_made


def book(request: HttpRequest, pk: int) -> HttpResponse:
    return cache_response(60, tags=["books", f"book:{pk}"])(lambda request: HttpResponse("x" * pk))(request)


urlpatterns = [path("books/<int:pk>/", book, name="book")]


@pytest.fixture
def ask() -> Iterator[Any]:
    """Asks for pages of the site, as a client would."""
    with override_settings(ROOT_URLCONF=__name__, WSGIPERF={"METRICS": {"ENABLED": False}}):
        runtime.reset()
        application = get_wsgi_application()

        def get(target: str) -> dict[str, str]:
            said: list[Any] = []
            b"".join(application(ready_made(target), lambda status, headers, exc_info=None: said.extend(headers)))
            return {name.lower(): value for name, value in said}

        yield get
        runtime.reset()


def test_numbers_and_the_largest_pages(ask: Any) -> None:
    for pk in (5, 50, 7):
        ask(f"/books/{pk}/")
    ask("/books/5/")
    reply = answer({"numbers": True, "largest": 2})
    assert reply["enabled"]
    assert not reply["shared"]
    assert reply["numbers"]["hits"] == 1
    assert reply["numbers"]["misses"] == 3
    assert reply["numbers"]["memory"]["entries"] == 3
    assert [page["body_bytes"] for page in reply["largest"]] == [50, 7]
    assert "explain" not in reply


def test_an_address_is_explained(ask: Any) -> None:
    ask("/books/5/")
    url = "http://127.0.0.1:8000/books/5/"
    explained = answer({"explain": {"url": url}})["explain"]
    assert explained["stored"]
    assert explained["would"] == "hit"
    assert not answer({"explain": {"url": "http://127.0.0.1:8000/books/6/"}})["explain"]["stored"]


def test_an_order_is_counted_without_being_carried_out(ask: Any) -> None:
    for pk in (5, 6):
        ask(f"/books/{pk}/")
    wanted = {"tags": ["books", "book:5", "book:9"], "urls": ["/books/6/", "http://127.0.0.1:8000/books/5/"]}
    assert answer({"matching": wanted})["matching"] == {
        "books": 2,
        "book:5": 1,
        "book:9": 0,
        "/books/6/": 1,
        "http://127.0.0.1:8000/books/5/": 1,
        "all": 2,
    }
    assert answer({"matching": {"tags": ["book:5"]}})["matching"] == {"book:5": 1, "all": 1}
    assert answer({"matching": {"all": True}})["matching"] == {"all": 2}
    assert "hit" in ask("/books/5/")["cache-status"]


@pytest.mark.parametrize(
    ("order", "left"),
    [
        ({"tags": ["book:5"]}, ["/books/6/"]),
        ({"urls": ["/books/6/"]}, ["/books/5/"]),
        ({"urls": ["http://127.0.0.1:8000/books/5/"]}, ["/books/6/"]),
        ({"urls": ["http://elsewhere/books/5/"]}, ["/books/5/", "/books/6/"]),
        ({"tags": ["books"]}, []),
        ({"all": True}, []),
        ({}, ["/books/5/", "/books/6/"]),
    ],
)
def test_an_order_is_carried_out(ask: Any, order: dict[str, Any], left: list[str]) -> None:
    pages = ["/books/5/", "/books/6/"]
    for page in pages:
        ask(page)
    assert answer({"purge": order})["purge"] == {"everywhere": True}
    assert answer({"matching": {"all": True}})["matching"] == {"all": len(left)}
    assert [page for page in pages if "hit" in ask(page)["cache-status"]] == left


def test_a_soft_purge_leaves_pages_to_be_asked_about(ask: Any) -> None:
    ask("/books/5/")
    answer({"purge": {"tags": ["books"], "soft": True}})
    assert answer({"matching": {"all": True}})["matching"] == {"all": 1}
    assert "fwd=stale" in ask("/books/5/")["cache-status"]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"purge": {"urls": ["ftp://a.example/"]}}, "no scheme http or https"),
        ({"purge": {"tags": [""]}}, "a tag has"),
        ({"purge": {"tags": [5]}}, "a tag is a text"),
        ({"matching": {"urls": ["books"]}}, "no URL and no path"),
        ({"explain": {"url": "books"}}, "no URL and no path"),
    ],
)
def test_what_cannot_be_understood_does_nothing(ask: Any, message: dict[str, Any], why: str) -> None:
    ask("/books/5/")
    reply = answer(message)
    assert why in reply["error"]
    assert answer({"matching": {"all": True}})["matching"] == {"all": 1}


def test_where_the_cache_is_off_that_is_the_answer() -> None:
    with override_settings(WSGIPERF={"CACHE": {"ENABLED": False}}):
        assert answer({"numbers": True, "purge": {"all": True}}) == {"enabled": False}


def test_the_first_request_makes_the_process_take_part(ask: Any) -> None:
    ask("/books/5/")
    assert control.is_running()
    replies = [each.reply for each in control.ask("cache", {"numbers": True}, timeout_s=30.0)]
    assert any(reply is not None and reply["numbers"]["memory"]["entries"] == 1 for reply in replies)
