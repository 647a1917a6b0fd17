"""What the door has at hand for a server's leader: hits, and never anything that has to be waited for."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from django_wsgiperf.cache import compression
from django_wsgiperf.metrics import pipeline, query

from . import doors
from .doors import Site, environ, page

ENOUGH = 1_000_000


@pytest.fixture
def site() -> Iterator[Site]:
    with doors.site("wsgi") as made:
        made.view("/", lambda request: page("text"))
        yield made


def recall(site: Site, target: str = "/", method: str = "GET", **fields: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return site.application.recall(environ(target, method, fields=named), ENOUGH)


def body_of(found: Any) -> bytes:
    body: bytes = found[0].body
    return body


def test_first_hit_takes_a_thread(site: Site) -> None:
    assert recall(site) is None, "nothing is started yet"
    site.get("/")
    assert recall(site) is None, "what the first hit imports is not here yet"
    assert site.get("/").is_hit
    page, status, headers, name = recall(site)
    assert (page.body, status, name) == (b"text", "200 OK", None)
    assert dict(headers)["Cache-Status"] == "wsgiperf; hit"
    assert (site.renders("/"), site.engine.counters.hits) == (1, 2)


def test_child_process_starts_anew(site: Site) -> None:
    site.get("/"), site.get("/")
    site.engine.after_fork_in_child()
    assert recall(site) is None
    assert site.get("/").is_hit
    assert body_of(recall(site)) == b"text"


def test_what_is_no_plain_hit_is_not_at_hand(site: Site) -> None:
    site.get("/"), site.get("/")
    for target in ("/", "/other"):
        assert recall(site, target, "POST") is None
        assert recall(site, target, If_Match='"1"') is None
        assert recall(site, target, Authorization="Basic YTpi") is None
        assert recall(site, target, Host="evil.example") is None
        assert recall(site, target, Host="evil.example", If_None_Match="*") is None
        assert recall(site, target, Cookie="messages=1") is None
    assert recall(site, "/other") is None
    assert recall(site, "/other", If_None_Match="*") is None
    assert recall(site) is not None
    site.clock.advance(61)
    assert recall(site) is None, "it is stale"
    assert recall(site, If_None_Match="*") is None, "so is what is asked about"


def test_conditions_parts_and_wishes_are_at_hand(site: Site) -> None:
    site.get("/"), site.get("/")
    etag = site.get("/").fields["etag"]

    def of(method: str = "GET", **fields: str) -> tuple[str, bytes]:
        found = recall(site, "/", method, **fields)
        return found[1], body_of(found)

    assert of("HEAD") == ("200 OK", b"")
    assert dict(recall(site, "/", "HEAD")[2])["Content-Length"] == "4"
    assert of(If_None_Match=etag) == ("304 Not Modified", b"")
    assert of(If_None_Match='"another"') == ("200 OK", b"text")
    assert of(If_Modified_Since="Mon, 23 Nov 2026 12:00:00 GMT") == ("304 Not Modified", b"")
    assert of(Range="bytes=1-2") == ("206 Partial Content", b"ex")
    assert of(Range="bytes=9-") == ("416 Range Not Satisfiable", b"")
    assert of(Range="bytes=1-2", If_Range='"another"') == ("200 OK", b"text")
    assert of(Cache_Control="max-age=60") == ("200 OK", b"text")
    assert site.renders("/") == 1
    assert site.engine.counters.misses == 1


def test_wishes_that_want_another_page_are_heard() -> None:
    with doors.site("wsgi", {"REQUEST_DIRECTIVES": True}) as site:
        site.view("/", lambda request: page("text"))
        site.get("/"), site.get("/")
        assert body_of(recall(site, Cache_Control="max-age=60")) == b"text"
        assert recall(site, Cache_Control="no-cache") is None
        assert recall(site, Cache_Control="min-fresh=100") is None


def test_coding_that_a_condition_names_is_not_made(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    text = os.urandom(3000).hex()
    site.view("/", lambda request: page(text))
    site.get("/"), site.get("/")
    site.get("/", Accept_Encoding="gzip")
    etag = site.get("/", Accept_Encoding="gzip").fields["etag"]
    assert recall(site, If_None_Match=etag)[1] == "304 Not Modified"
    site.engine.tags.purge(everything=True)
    site.get("/"), site.get("/")
    monkeypatch.setattr(compression, "compress", lambda *args: pytest.fail("it would take too long"))
    assert recall(site, If_None_Match=etag) is None


def test_key_that_was_found_in_vain_is_not_made_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.get("/"), site.get("/")
    asked = environ("/other")
    assert site.application.recall(asked, ENOUGH) is None
    monkeypatch.setattr(site.engine, "plain", lambda environ: pytest.fail("it is known"))
    site.view("/other", lambda request: page("other"))
    list(site.application(asked, lambda status, headers, exc_info=None: None))
    monkeypatch.undo()
    assert body_of(recall(site, "/other")) == b"other"
    assert not [key for key in asked if key.endswith("primary")]


def test_page_that_came_meanwhile_is_used(site: Site) -> None:
    site.get("/"), site.get("/")
    site.view("/other", lambda request: page("other"))
    asked = environ("/other")
    assert site.application.recall(asked, ENOUGH) is None
    site.get("/other")
    assert list(site.application(asked, lambda status, headers, exc_info=None: None)) == [b"other"]
    assert site.renders("/other") == 1


def test_nothing_is_compressed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    text = os.urandom(3000).hex()
    site.view("/", lambda request: page(text))
    site.get("/"), site.get("/")
    assert body_of(recall(site)) == text.encode()
    with monkeypatch.context() as patch:
        patch.setattr(compression, "compress", lambda *args: pytest.fail("it would take too long"))
        assert recall(site, Accept_Encoding="gzip") is None
        assert body_of(recall(site, Accept_Encoding="identity")) == text.encode()
    assert site.get("/", Accept_Encoding="gzip").fields["content-encoding"] == "gzip"
    page_, _, headers, _ = recall(site, Accept_Encoding="gzip")
    assert dict(headers)["Content-Encoding"] == "gzip"
    assert len(page_.body) < len(text)


def test_coding_that_makes_nothing_smaller_is_at_hand_without(site: Site) -> None:
    noise = os.urandom(3000)
    answer = page("", Content_Type="text/plain")
    answer.content = noise
    site.view("/", lambda request: answer)
    site.get("/"), site.get("/", Accept_Encoding="gzip")
    site.get("/", Accept_Encoding="gzip")
    assert body_of(recall(site, Accept_Encoding="gzip")) == noise


def test_longer_than_wanted_is_not_at_hand(site: Site) -> None:
    site.get("/"), site.get("/")
    assert site.application.recall(environ("/"), 4) is not None
    hits = site.engine.counters.hits
    assert site.application.recall(environ("/"), 3) is None
    assert site.engine.counters.hits == hits


def test_one_list_of_fields_for_a_second(site: Site) -> None:
    site.get("/"), site.get("/")
    first = recall(site)[2]
    assert recall(site)[2] is first
    site.get("/")
    assert recall(site)[2] is first, "a hit in a thread has a list of its own"
    site.clock.advance(1)
    assert dict(recall(site)[2])["Age"] == "1"
    assert dict(first)["Age"] == "0"


def test_purge_holds_at_once(site: Site) -> None:
    site.get("/"), site.get("/")
    site.engine.tags.purge(everything=True)
    assert recall(site) is None


def test_variants_are_told_apart(site: Site) -> None:
    site.view("/", lambda request: page(request.headers["Accept-Language"], Vary="Accept-Language"))
    for language in ("de", "en"):
        for _ in range(2):
            site.get("/", Accept_Language=language)
        assert body_of(recall(site, Accept_Language=language)) == language.encode()
    assert recall(site, Accept_Language="fr") is None


def test_hits_are_told_to_the_metrics_and_have_names() -> None:
    timing = "django_wsgiperf.middleware.RequestTimingMiddleware"
    with doors.site(
        "wsgi", MIDDLEWARE=[timing], WSGIPERF={"METRICS": {"STORE": "memory", "EXCLUDE": ["/ping"]}}
    ) as site:
        for path in ("/", "/ping"):
            site.view(path, lambda request: page("12345"))
            site.get(path), site.get(path)
        site.application._recalls = True
        asked = environ("/")
        names = [site.application.recall(asked, ENOUGH)[3], recall(site, X_Request_ID="from-the-proxy")[3]]
        assert recall(site, "/ping")[3] is None
        assert names[0]
        assert names[1] == "from-the-proxy"
        assert asked["wsgiperf.report"]() == {
            "request_id": names[0], "trace_id": "", "route": "/<path>", "page_cache": "hit",
        }  # fmt: skip
        asked = environ("/", "HEAD")
        name = site.application.recall(asked, ENOUGH)[3]
        assert asked["wsgiperf.report"]()["request_id"] == name
        assert pipeline.flush()
        (row,) = query.routes("15m")
        assert row.totals.page_cache == {"miss": 1, "hit": 4}


def test_where_requests_themselves_sum_nothing_is_at_hand() -> None:
    with doors.site("wsgi", WSGIPERF={"METRICS": {"STORE": "memory"}}) as site:
        assert pipeline.worker().mode == "tests"
        site.view("/", lambda request: page("text"))
        assert [site.get("/").cache for _ in range(3)][1:] == ["hit", "hit"]
        assert recall(site) is None


def test_many_threads_and_a_purge_give_each_the_right_page(site: Site) -> None:
    """The leader looks while threads keep pages and purge them: what is at hand is never older than the last purge."""
    versions = itertools.count()
    current = [0]
    site.view("/", lambda request: page(current[0]))
    site.get("/"), site.get("/")
    ended = threading.Event()
    wrong: list[tuple[int, bytes]] = []

    def lead() -> None:
        while not ended.is_set():
            oldest = current[0] - 1
            found = recall(site)
            if found is not None and int(body_of(found)) < oldest:
                wrong.append((oldest, body_of(found)))

    leader = threading.Thread(target=lead)
    leader.start()
    for _ in range(300):
        current[0] = next(versions)
        site.engine.tags.purge(everything=True)
        site.get("/")
    ended.set()
    leader.join(30)
    assert not wrong
