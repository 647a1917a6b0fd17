"""The page on the response cache says of reasons, headers and commands what the code says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.views.decorators.cache import cache_control

from django_wsgiperf import conf
from django_wsgiperf.cache import compression, decorators, purging, runtime
from django_wsgiperf.cache.policy import Forward, Reason
from django_wsgiperf.cache.policy.meanings import MEANINGS
from django_wsgiperf.cache.warming.client import Answer
from django_wsgiperf.cache.warming.outcome import Outcome, read
from django_wsgiperf.wsgi import get_wsgi_application
from tests.benchmarks.serving.environ import ready_made

pytestmark = pytest.mark.usefixtures("connections_left_alone")

PAGE = (Path(__file__).parents[2] / "docs" / "response-cache.md").read_text(encoding="utf-8")
STATUSES = re.findall(r"^\| `(wsgiperf; .+?)` \|", PAGE, re.M)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_every_reason_is_in_the_table_as_the_command_tells_it(reason: Reason) -> None:
    what, do = MEANINGS[reason]
    assert f"| `{reason}` | {what} | {do} |" in PAGE.splitlines()


@pytest.mark.parametrize("status", STATUSES)
def test_every_cache_status_that_is_shown_can_be_sent(status: str) -> None:
    told = read(Answer(200, "OK", {"cache-status": status}, b"", 0))
    assert told.outcome is not Outcome.UNTOLD
    details = re.findall(r"detail=([\w-]+)", status)
    forwards = re.findall(r"fwd=([\w-]+)", status)
    assert set(details) <= {*Reason, "stale-if-error"}
    assert set(forwards) <= set(Forward)


def test_there_are_statuses_to_test() -> None:
    assert len(STATUSES) >= 8


def test_every_key_that_is_named_exists() -> None:
    keys = {option.key for section in conf.SECTIONS for option in conf.options(section)}
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "MIDDLEWARE", "ALLOWED_HOSTS", "TIME_ZONE", "WSGIPERF"}
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", PAGE))
    assert named - known <= keys


def test_everything_that_is_imported_on_the_page_exists() -> None:
    for module, source in (("decorators", decorators), ("purging", purging)):
        (names,) = re.findall(rf"^from django_wsgiperf\.cache\.{module} import (.+)$", PAGE, re.M)
        for name in names.split(", "):
            assert getattr(source, name)


def test_the_order_of_codings_is_that_of_the_setting_and_of_what_is_installed() -> None:
    default = conf.load("CACHE", environ={}, settings={}).values.compress
    assert default == ("br", "zstd", "gzip")
    assert compression.available() == default


def catalogue(request: HttpRequest) -> HttpResponse:
    """As in `Our lifetime and the browser's`."""
    view = cache_control(public=True, max_age=0)(lambda request: HttpResponse("catalogue"))
    return decorators.cache_response(ttl=3600, tags=["books"])(view)(request)


def book(request: HttpRequest) -> HttpResponse:
    """As in `Say what may be kept`: noted by the view itself."""
    request.wsgiperf.cache.ttl = 600  # type: ignore[attr-defined]
    request.wsgiperf.cache.tag("books", "book:7")  # type: ignore[attr-defined]
    return HttpResponse("book")


urlpatterns = [path("catalogue/", catalogue), path("book/", book)]


@pytest.fixture
def get() -> Iterator[Callable[..., tuple[str, dict[str, str]]]]:
    """Asks the site of the examples: status and fields."""
    with override_settings(ROOT_URLCONF=__name__, WSGIPERF={"METRICS": {"ENABLED": False}}):
        runtime.reset()
        application = get_wsgi_application()

        def ask(target: str, **environ: str) -> tuple[str, dict[str, str]]:
            said: list[Any] = []

            def start_response(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> None:
                said.extend((status, fields))

            b"".join(application({**ready_made(target), **environ}, start_response))
            return said[0], {name.lower(): value for name, value in said[1]}

        yield ask
        runtime.reset()


def test_browsers_ask_each_time_and_get_304_while_the_page_is_kept_here(get: Callable[..., Any]) -> None:
    assert "stored" in get("/catalogue/")[1]["cache-status"]
    status, fields = get("/catalogue/")
    assert fields["cache-status"] == "wsgiperf; hit"
    assert "max-age=0" in fields["cache-control"]
    again, fields = get("/catalogue/", HTTP_IF_NONE_MATCH=fields["etag"])
    assert (status, again) == ("200 OK", "304 Not Modified")
    assert "hit" in fields["cache-status"]


def test_a_view_may_say_it_without_a_decorator(get: Callable[..., Any]) -> None:
    get("/book/")
    assert get("/book/")[1]["cache-status"] == "wsgiperf; hit"
    purging.purge(tags=["book:7"])
    _, fields = get("/book/")
    assert "stored" in fields["cache-status"]
    assert "cache-control" not in fields, "browsers are told nothing that the view did not say"
