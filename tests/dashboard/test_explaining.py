"""What the cache screen says of one address, from what a real cache tells of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from django_wsgiperf.dashboard import explaining
from tests.cache import doors
from tests.cache.doors import Site, page

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Iterator[Site]:
    with doors.site("wsgi", {"EXCLUDE": ["/account/"], "KEEP_S": 0}) as made:
        yield made


def said(site: Site, url: str) -> dict[str, str]:
    """As it comes from another process, by JSON."""
    rows = explaining.rows(json.loads(json.dumps(site.engine.explain(url))))
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def test_kept_page_says_what_a_request_gets_and_for_how_long(site: Site) -> None:
    site.view("/", lambda request: page("12345", "max-age=60, stale-while-revalidate=30"))
    site.get("/"), site.get("/")
    site.clock.advance(15)
    told = said(site, "/")
    assert told.pop("Made in")
    assert told == {
        "Address": "http://shop.example/",
        "Kept": "yes",
        "A request gets": "hit",
        "Age": "15 s",
        "Fresh for": "45 s",
        "Stale, while a new one is made": "30 s",
        "Answer": "200, 5 B",
        "Hits": "1",
        "Route": "/<path>",
    }
    site.clock.advance(50)
    assert said(site, "/")["Because"].startswith("stale: what is stored is past its lifetime")


def test_purged_page_says_so(site: Site) -> None:
    site.view("/", lambda request: page("12345", "max-age=60, stale-while-revalidate=30"))
    site.get("/")
    site.engine.tags.purge(everything=True, soft=True)
    assert said(site, "/")["Because"] == "what is stored was purged"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://evil.example/", "host: Django does not serve this host; add it to ALLOWED_HOSTS, if it is yours"),
        ("/account/orders", "excluded: the path is below the admin or one of EXCLUDE"),
        ("/never", "Nobody has asked for it yet, or its answer was not kept."),
        ("/cookie", "set-cookie: the response sets a cookie, which is one visitor's; set cookies on other pages; "),
        ("/kinds", "Kept for other requests only, which differ in what it varies by."),
    ],
)
def test_page_that_is_not_kept_says_why(site: Site, url: str, why: str) -> None:
    site.view("/cookie", lambda request: page("", **{"Set-Cookie": "a=b"}))
    site.view("/kinds", lambda request: page("", Vary="X-Kind"))
    site.get("/cookie"), site.get("/kinds", X_Kind="a")
    told = said(site, url)
    assert told["Kept"] == "no"
    assert told["Because"].startswith(why)
    assert ("Variants" in told) == (url == "/kinds")


@pytest.mark.parametrize(
    "told", [{}, {"error": "no URL"}, {"stored": True}, {"stored": True, "entry": 3}, {"variants": 7}]
)
def test_what_is_broken_or_missing_breaks_nothing(told: dict[str, object]) -> None:
    assert bool(explaining.rows(told)) == bool(told)
