"""Redis killed, frozen, full, read-only and restarted while clients ask: pages keep coming, and all is well after."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from django.http import HttpRequest, HttpResponse

from django_wsgiperf.cache.decorators import cache_response
from django_wsgiperf.cache.purging import purge

from . import doors, private_redis
from .doors import Site
from .fakes import Worker, eventually
from .private_redis import PrivateRedis

LOST = "the shared page cache cannot be used"
REGAINED = "the shared page cache is back"
WRITES_LOST = "the shared page cache takes nothing new"
WRITES_REGAINED = "the shared page cache takes pages again"
PATHS = [f"/book/{number}" for number in range(8)]


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    with private_redis.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(module_server: PrivateRedis) -> Iterator[PrivateRedis]:
    """Empty, and well afterwards."""
    module_server.command("FLUSHALL")
    yield module_server
    if module_server.private.has_ended():
        module_server.launch()
    module_server.thaw()
    for name, value in (("maxmemory", "0"), ("min-replicas-to-write", "0")):
        module_server.command("CONFIG", "SET", name, value)


@contextlib.contextmanager
def under_load(server: PrivateRedis, caplog: pytest.LogCaptureFixture) -> Iterator[Site]:
    """A site that four clients ask all the time, for pages that expire at once or are purged."""
    caplog.set_level(logging.INFO, logger="django_wsgiperf.cache")
    options = {"STORE": "pages", "STORE_TIMEOUT_S": 0.1, "MAX_STALE_S": 0.1, "LEASE_S": 1.0, "HIT_FOR_MISS_S": 0.1}
    with doors.site("wsgi", options, CACHES=server.caches()) as site:

        @cache_response(ttl=3600, tags=["books"])
        def book(request: HttpRequest) -> HttpResponse:
            return HttpResponse(f"{request.path} 12345")

        for path in PATHS:
            site.view(path, book)
        stopping = threading.Event()

        def ask() -> int:
            count = 0
            while not stopping.wait(0.001):
                for path in PATHS:
                    answer = site.get(path)
                    assert (answer.status, answer.text) == (200, f"{path} 12345")
                    count += 1
                # So that the store is asked again and again.
                site.engine.memory.clear()
            return count

        workers = [Worker(ask) for _ in range(4)]
        try:
            yield site
        finally:
            stopping.set()
            counts = [worker.result(60) for worker in workers]
        assert all(counts)


def says(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records)


def until(site: Site, condition: Callable[[], bool]) -> None:
    eventually(condition, 60)


def is_well(site: Site) -> bool:
    store = site.engine.store
    assert store is not None
    before = site.engine.counters.store_hits
    eventually(lambda: site.engine.counters.store_hits > before or not store.is_reachable, 60)
    return store.is_reachable and site.engine.tags.unconfirmed_s() < 5


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_pages_keep_coming_while_redis_is_away(
    server: PrivateRedis, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    with under_load(server, caplog) as site:
        until(site, lambda: site.engine.counters.store_hits > 20)
        server.kill() if fault == "killed" else server.freeze()
        until(site, lambda: says(caplog, LOST) == 1)
        # A purge of the meantime is passed on when it can be.
        assert not purge(tags=["books"]).everywhere
        renders = site.renders(PATHS[0])
        until(site, lambda: site.renders(PATHS[0]) > renders + 3)
        server.launch() if fault == "killed" else server.thaw()
        until(site, lambda: says(caplog, REGAINED) >= 1 and is_well(site))
        until(site, lambda: site.engine.tags.numbers()["pending"] == 0)
    assert (says(caplog, LOST), says(caplog, REGAINED)) == (1, 1)


def test_pages_purged_while_redis_is_away_are_made_anew_once_and_not_each_time(server: PrivateRedis) -> None:
    options = {"STORE": "pages", "STORE_TIMEOUT_S": 0.1, "MAX_STALE_S": 0.1}
    with doors.site("wsgi", options, CACHES=server.caches()) as site:
        site.view("/", cache_response(ttl=60, tags=["books"])(lambda request: HttpResponse(str(site.renders("/")))))
        assert site.get("/").text == "1"
        server.kill()
        for text in "23":
            assert not purge(tags=["books"]).everywhere
            assert [site.get("/").text for _ in range(5)] == [text] * 5
        server.launch()
        eventually(lambda: site.engine.tags.numbers()["pending"] == 0)
        eventually(lambda: site.get("/").text == "4")
        assert site.get("/").is_hit


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_stale_pages_are_used_and_made_anew_while_redis_is_away(server: PrivateRedis, fault: str) -> None:
    options = {"STORE": "pages", "STORE_TIMEOUT_S": 0.1, "MAX_STALE_S": 0.1}
    with doors.site("wsgi", options, CACHES=server.caches()) as site:
        failing = threading.Event()

        def view(request: HttpRequest) -> HttpResponse:
            if failing.is_set():
                raise RuntimeError("the database is away, too")
            return HttpResponse(str(site.renders("/")))

        site.view("/", cache_response(ttl=60, swr=60, sie=3600)(view))
        site.get("/")
        server.kill() if fault == "killed" else server.freeze()
        site.clock.advance(61)
        answer = site.get("/")
        assert (answer.text, answer.cache) == ("1", "hit; detail=stale")
        eventually(lambda: site.get("/").text == "2")
        site.clock.advance(121)
        failing.set()
        answer = site.get("/")
        assert (answer.status, answer.text) == (200, "2")
        assert "stale-if-error" in answer.cache


def test_full_redis_is_only_read(server: PrivateRedis, caplog: pytest.LogCaptureFixture) -> None:
    with under_load(server, caplog) as site:
        until(site, lambda: site.engine.counters.store_hits > 20)
        server.command("CONFIG", "SET", "maxmemory", "1")
        purge(tags=["books"])
        until(site, lambda: says(caplog, WRITES_LOST) == 1)
        assert site.engine.store is not None
        assert site.engine.store.is_reachable
        server.command("CONFIG", "SET", "maxmemory", "0")
        until(site, lambda: says(caplog, WRITES_REGAINED) == 1)
        until(site, lambda: is_well(site))


def test_redis_that_takes_no_writes_is_only_read(server: PrivateRedis, caplog: pytest.LogCaptureFixture) -> None:
    with under_load(server, caplog) as site:
        until(site, lambda: site.engine.counters.store_hits > 20)
        server.command("CONFIG", "SET", "min-replicas-to-write", "1")
        purge(tags=["books"])
        until(site, lambda: says(caplog, WRITES_LOST) == 1)
        server.command("CONFIG", "SET", "min-replicas-to-write", "0")
        until(site, lambda: says(caplog, WRITES_REGAINED) == 1)
        until(site, lambda: is_well(site))


def test_restarted_redis_has_forgotten_all_and_nothing_old_is_used(
    server: PrivateRedis, caplog: pytest.LogCaptureFixture
) -> None:
    with under_load(server, caplog) as site:
        until(site, lambda: site.engine.counters.store_hits > 20)
        renders = site.renders(PATHS[0])
        server.kill()
        server.launch()
        until(site, lambda: site.renders(PATHS[0]) > renders)
        until(site, lambda: is_well(site))


def test_damaged_and_foreign_values_are_misses(server: PrivateRedis) -> None:
    with doors.site("wsgi", {"STORE": "pages", "STORE_TIMEOUT_S": 5.0}, CACHES=server.caches()) as site:
        site.view("/", lambda request: doors.page(Vary="X-Kind"))
        site.view("/plain", lambda request: doors.page())
        for target in ("/", "/plain"):
            site.get(target)
        with server.client() as client:
            keys = [key for key in client.scan_iter() if client.type(key) == b"string"]
            assert len(keys) == 3
            for value in (b"", b"17", b"\x80\x04K\x01.", b"WPC\x02" + b"x" * 200, b"WPV\x02[[]]", b"WPV\x02[17]"):
                for key in keys:
                    client.set(key, value)
                site.engine.memory.clear()
                for target in ("/", "/plain"):
                    answer = site.get(target)
                    assert (answer.status, answer.is_hit) == (200, False)
