"""What the cache tells of itself: why an address is or is not kept, which pages are the largest, what hits report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from django_wsgiperf.cache import runtime
from django_wsgiperf.metrics import pipeline, providers

from . import doors
from .doors import Site, environ, page
from .fakes import eventually


@pytest.fixture
def site() -> Iterator[Site]:
    with doors.site("wsgi", {"EXCLUDE": ["/account/"]}) as made:
        yield made


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those of requests that have ended, in place of their sums."""
    ended: list[Any] = []

    def keep(record: Any) -> None:
        pipeline.forget(record)
        ended.append(record)

    monkeypatch.setattr(pipeline, "submit", keep)
    return ended


def explain(site: Site, url: str, **headers: str) -> dict[str, Any]:
    """As JSON, which is how it is asked for."""
    told: dict[str, Any] = json.loads(json.dumps(site.engine.explain(url, headers)))
    return told


def test_page_that_is_not_there(site: Site) -> None:
    told = explain(site, "/books/")
    assert (told["stored"], told["would"], told["host_allowed"], told["excluded"]) == (False, "forward", True, False)
    assert told["url"] == "http://shop.example/books/"
    assert explain(site, "http://evil.example/")["host_allowed"] is False
    assert explain(site, "/account/orders")["excluded"] is True


def test_path_alone_is_meant_where_it_is_kept() -> None:
    https = {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}
    with doors.site("wsgi", {}, ALLOWED_HOSTS=["shop.example", "other.example"], **https) as site:
        for path in ("/a", "/b", "/c", "/elsewhere"):
            site.view(path, lambda request: page("12345"))
        assert explain(site, "/a")["url"] == "http://shop.example/a", "nobody has come yet"
        site.get("/b", Host="other.example")
        site.get("/a", Host="shop.example:8000")
        site.get("/c", Host="shop.example", X_Forwarded_Proto="https")
        told = [explain(site, path) for path in ("/a", "/b", "/c")]
        assert [each["url"] for each in told] == [
            "http://shop.example:8000/a",
            "http://other.example/b",
            "https://shop.example/c",
        ]
        assert all(each["stored"] for each in told)
        assert explain(site, "/elsewhere")["url"] == "http://shop.example:8000/elsewhere", "as visitors write it"


def test_page_that_is_there_and_how_long_yet(site: Site) -> None:
    site.view("/", lambda request: page("12345", "max-age=60, stale-while-revalidate=30"))
    site.get("/"), site.get("/")
    site.clock.advance(15)
    told = explain(site, "/")
    assert (told["stored"], told["would"]) == (True, "hit")
    entry = told["entry"]
    assert (entry["status"], entry["body_bytes"], entry["age_s"], entry["ttl_s"]) == (200, 5, 15, 45)
    assert (entry["hits"], entry["swr_s"], entry["route"]) == (1, 30, "/<path>")
    site.clock.advance(60)
    assert explain(site, "/")["would"] == "stale hit, refreshed in the background"
    site.clock.advance(60)
    assert explain(site, "/")["would"] != "hit"


def test_request_decides_what_it_would_get(site: Site) -> None:
    site.view("/", lambda request: page(request.headers.get("X-Kind", ""), Vary="X-Kind"))
    site.get("/", X_Kind="a")
    assert explain(site, "/", **{"X-Kind": "a"})["would"] == "hit"
    told = explain(site, "/", **{"X-Kind": "b"})
    assert (told["stored"], told["varies_by"], len(told["variants"])) == (False, [["x-kind"]], 1)
    told = explain(site, "/", Cookie="messages=x", **{"X-Kind": "a"})
    assert told["request"] == {"may_use_stored": False, "may_be_stored": False, "reason": "bypass-cookie"}
    assert told["would"] == "forward"


def test_purged_page_and_page_that_could_not_be_shared(site: Site) -> None:
    site.view("/", lambda request: page())
    site.view("/private", lambda request: page(cache_control="private"))
    site.get("/"), site.get("/private")
    site.engine.tags.purge(everything=True)
    assert explain(site, "/")["freshness"]["purged"] == "gone"
    assert explain(site, "/")["would"] == "forward"
    assert explain(site, "/private")["last_answer_could_not_be_shared"] is True


def test_last_reason_against_an_address_is_told(site: Site) -> None:
    site.view("/", lambda request: page())
    site.view("/private", lambda request: page(cache_control="private"))
    site.view("/cookie", lambda request: page(**{"Set-Cookie": "seen=1"}))
    for path in ("/", "/private", "/cookie"):
        site.get(path)
    told = {path: explain(site, path)["last_refusal"] for path in ("/", "/private", "/cookie", "/other")}
    assert told == {"/": None, "/private": "private", "/cookie": "set-cookie", "/other": None}
    assert "last_refusals" not in site.engine.numbers()
    site.view("/private", lambda request: page(cache_control="no-store"))
    site.get("/private")
    assert json.loads(json.dumps(explain(site, "/private")))["last_refusal"] == "no-store"


def test_reasons_of_addresses_are_bounded(site: Site) -> None:
    site.view("/private", lambda request: page(cache_control="private"))
    for number in range(5_000):
        site.engine.counters.refuse("private", str(number).encode())
    site.get("/private")
    assert explain(site, "/private")["last_refusal"] == "private"
    assert len(site.engine.counters.last_refusals) < 4_200


def test_cookies_of_a_variant_are_not_told(site: Site) -> None:
    site.view("/", lambda request: page(Vary="Cookie"))
    site.get("/", Cookie="token=secret")
    assert "secret" not in json.dumps(explain(site, "/", Cookie="token=secret"))
    assert "secret" not in json.dumps(site.engine.largest(10))


def test_largest_pages_come_first(site: Site) -> None:
    for size in (10, 5000, 300):
        site.view(f"/{size}", "x" * size)
        site.get(f"/{size}")
    assert [told["body_bytes"] for told in site.engine.largest(2)] == [5000, 300]


def test_codings_count_among_the_memory_of_a_page(site: Site) -> None:
    site.view("/", lambda request: page(os.urandom(3000).hex()))
    site.get("/")
    before = site.engine.memory.numbers().bytes
    site.get("/", Accept_Encoding="gzip")
    (told,) = site.engine.largest(1)
    assert told["codings"]["gzip"] > 1000
    assert site.engine.memory.numbers().bytes >= before + told["codings"]["gzip"]


def test_hits_are_reported_under_the_route_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[Any, ...]] = []
    monkeypatch.setattr(pipeline, "page_cache_hit", lambda *told: reported.append(told))
    metrics = {"STORE": "memory", "EXCLUDE": ["/ping"]}
    with doors.site("wsgi", WSGIPERF={"METRICS": metrics, "CACHE": {"JITTER": 0.0, "EARLY_REFRESH": 0.0}}) as site:
        site.view("/", lambda request: page("12345", "max-age=60, stale-while-revalidate=60"))
        site.view("/ping", lambda request: page())
        site.get("/"), site.get("/ping"), site.get("/ping"), site.get("/ping", "HEAD")
        assert reported == []
        asked = environ("/") | {"wsgiperf.queue_ns": 17}
        list(site.application(asked, lambda status, headers, exc_info=None: None))
        site.get("/", "HEAD")
        site.clock.advance(61)
        site.get("/")
    assert [(*told[:4], told[5], told[6]) for told in reported] == [
        ("/<path>", "GET", 200, 5, "hit", 17),
        ("/<path>", "HEAD", 200, 0, "hit", -1),
        ("/<path>", "GET", 200, 5, "stale", -1),
    ]
    assert all(told[4] > 0 for told in reported)
    assert asked["wsgiperf.report"]() == {"route": "/<path>", "page_cache": "hit"}


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_requests_that_reach_django_tell_what_the_cache_did(door: str, records: list[Any]) -> None:
    options = {"JITTER": 0.0, "EARLY_REFRESH": 0.0}
    timing = "django_wsgiperf.middleware.RequestTimingMiddleware"
    cache = ["django_wsgiperf.middleware.ResponseCacheMiddleware"] if door == "middleware" else []
    with doors.site(
        "wsgi" if door == "wsgi" else "plain",
        MIDDLEWARE=[timing, *cache],
        WSGIPERF={"METRICS": {"STORE": "memory"}, "CACHE": options},
    ) as site:
        site.view("/", lambda request: page())
        site.get("/"), site.get("/"), site.post("/")
    told = [(record.page_cache, record.route) for record in records]
    expected = [("miss", "/<path>"), ("bypass", "/<path>")]
    if door == "middleware":
        expected.insert(1, ("hit", "/<path>"))
    assert told == expected


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_hits_have_the_names_that_the_request_timing_gives() -> None:
    timing = "django_wsgiperf.middleware.RequestTimingMiddleware"
    metrics = {"STORE": "memory", "EXCLUDE": ["/ping"]}
    options = {"JITTER": 0.0, "EARLY_REFRESH": 0.0}
    with doors.site("wsgi", MIDDLEWARE=[timing], WSGIPERF={"METRICS": metrics, "CACHE": options}) as site:
        for path in ("/", "/ping"):
            site.view(path, lambda request: page("12345", ETag='"1"'))
            assert site.get(path).cache == "fwd=uri-miss; stored"
        first, second = site.get("/"), site.get("/")
        assert first.is_hit
        assert len({first.fields["x-request-id"], second.fields["x-request-id"]}) == 2
        assert site.get("/", X_Request_ID="mine").fields["x-request-id"] == "mine"
        assert site.get("/", X_Request_ID="not; mine").fields["x-request-id"] != "not; mine"
        for answer in (site.get("/", "HEAD"), site.get("/", If_None_Match='"1"'), site.get("/", Range="bytes=1-2")):
            assert answer.fields["x-request-id"], answer.status
        assert "x-request-id" not in site.get("/ping").fields
        for more in ({}, {"HTTP_RANGE": "bytes=0-1"}):
            asked = environ("/") | {"HTTP_X_REQUEST_ID": "mine", "HTTP_TRACEPARENT": TRACE} | more
            list(site.application(asked, lambda status, headers, exc_info=None: None))
            assert asked["wsgiperf.report"]() == {
                "request_id": "mine",
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                "route": "/<path>",
                "page_cache": "hit",
            }
    with doors.site("wsgi", WSGIPERF={"METRICS": metrics, "CACHE": options}) as site:
        site.view("/", lambda request: page())
        assert "x-request-id" not in site.get("/").fields
        assert "x-request-id" not in site.get("/").fields, "nobody gives them"


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_what_was_made_of_an_answer_is_told_as_it_was(door: str, records: list[Any]) -> None:
    timing = "django_wsgiperf.middleware.RequestTimingMiddleware"
    cache = ["django_wsgiperf.middleware.ResponseCacheMiddleware"] if door == "middleware" else []
    status = 200

    def view(request: HttpRequest) -> HttpResponse:
        if "If-None-Match" in request.headers and status == 200:
            return page("", "max-age=60, stale-if-error=600", 304, ETag='"1"')
        return page("12345", "max-age=60, stale-if-error=600", status, ETag='"1"')

    with doors.site(
        "wsgi" if door == "wsgi" else "plain",
        MIDDLEWARE=[timing, *cache],
        WSGIPERF={"METRICS": {"STORE": "memory"}, "CACHE": {"JITTER": 0.0, "EARLY_REFRESH": 0.0}},
    ) as site:
        site.view("/", view)
        site.get("/")
        site.clock.advance(61)
        assert "fwd-status=304" in site.get("/").cache
        site.clock.advance(61)
        status = 503
        covered = site.get("/", X_Request_ID="mine")
        assert (covered.status, covered.fields["x-request-id"]) == (200, "mine")
        named = site.get("/").fields["x-request-id"]
    assert [record.page_cache for record in records] == ["miss", "revalidated", "stale", "stale"]
    assert records[-1].request_id == named, "the one that the view saw"


def test_pages_made_anew_in_the_background_are_no_clients_misses(records: list[Any]) -> None:
    with doors.site(
        "wsgi",
        MIDDLEWARE=["django_wsgiperf.middleware.RequestTimingMiddleware"],
        WSGIPERF={"METRICS": {"STORE": "memory"}, "CACHE": {"JITTER": 0.0, "EARLY_REFRESH": 0.0}},
    ) as site:
        site.view("/", lambda request: page("12345", "max-age=60, stale-while-revalidate=60"))
        site.get("/")
        site.clock.advance(61)
        assert site.get("/").cache == "hit; detail=stale"
        eventually(lambda: len(records) > 1)
    assert [record.page_cache for record in records] == ["miss", ""]


def test_metrics_can_ask_for_the_numbers(site: Site) -> None:
    site.view("/", lambda request: page())
    site.get("/")
    assert providers.ask(providers.PAGE_CACHE)["stored"] == 1
    assert runtime.numbers()["misses"] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_goes_on_with_what_was_stored_and_counts_anew(site: Site) -> None:
    site.view("/", lambda request: page("text"))
    site.get("/"), site.get("/")
    child = os.fork()
    if child == 0:
        ok = site.get("/").is_hit and site.engine.counters.hits == 1 and site.engine.counters.misses == 0
        ok = ok and not site.get("/else").is_hit
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert site.engine.counters.hits == 1


def test_soft_purge_is_told_as_requests_would_find_it(site: Site) -> None:
    site.view("/swr", lambda request: page(cache_control="max-age=60, stale-while-revalidate=30"))
    site.view("/", lambda request: page(cache_control="max-age=60", ETag='"1"'))
    for path in ("/", "/swr"):
        site.get(path)
    site.engine.tags.purge(everything=True, soft=True)
    assert explain(site, "/swr")["would"] == "stale hit, refreshed in the background"
    assert explain(site, "/swr", Cookie="messages=x")["would"] == "forward", "it is not looked for"
    assert explain(site, "/")["would"] == "ask the application"
    site.clock.advance(1_000_000)
    assert explain(site, "/swr")["would"] == "forward", "it is past every use"
