"""Redis killed, frozen, full, read-only and restarted under load: nothing is raised, the log has a line each way, and
afterwards everything is as before, with the purges of the meantime.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from django_wsgiperf.cache.lease import Lease, Leases
from django_wsgiperf.cache.store import GuardedStore, Store, StoreUnavailable
from django_wsgiperf.cache.stores import open_store
from django_wsgiperf.cache.tags import Tags, Verdict

from . import private_redis
from .fakes import Worker, eventually
from .private_redis import PrivateRedis
from .test_tags import Page

LOST = "the shared page cache cannot be used"
REGAINED = "the shared page cache is back"
WRITES_LOST = "the shared page cache takes nothing new"
WRITES_REGAINED = "the shared page cache takes pages again"


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    with private_redis.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(module_server: PrivateRedis) -> Iterator[PrivateRedis]:
    """Empty, and well afterwards."""
    yield module_server
    if module_server.private.has_ended():
        module_server.launch()
    module_server.thaw()
    module_server.command("FLUSHALL")


class Site:
    """What one process of a site does with its store: requests from several threads, until the `with` block ends."""

    def __init__(self) -> None:
        self.store = GuardedStore(open_store("pages"))
        self.tags = Tags(self.store, max_stale_s=0.1)
        self.leases = Leases(self.store, ttl_s=1)
        self.requests = 0
        self.hits = 0
        self.stored = 0
        self._stopping = threading.Event()
        self._counter = itertools.count()
        self._workers: list[Worker[None]] = []

    def __enter__(self) -> Site:
        self.tags.start()
        self._workers = [Worker(self._work) for _ in range(4)]
        eventually(lambda: self.hits > 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with contextlib.ExitStack() as stack:
            stack.callback(self.store.close)
            stack.callback(self.tags.stop)
            for worker in self._workers:
                worker.result()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._request(f"page-{next(self._counter) % 5}")
            self._stopping.wait(0.001)

    def _request(self, key: str) -> None:
        known = self.tags.sequence
        fetched = self.store.fetch([key], known)
        if fetched is not None and fetched[0][0] is not None and self.tags.catch_up(fetched[1], known):
            assert fetched[0][0] == f"WPC {key}".encode() * 200
            self.hits += 1
        else:
            lease = self.leases.take(key)
            if lease is not None:
                with lease:
                    # Short, so that pages are made all the time.
                    self.stored += self.store.set(key, f"WPC {key}".encode() * 200, 0.1)
        self.requests += 1

    def goes_on(self) -> None:
        """Requests keep being answered."""
        before = self.requests
        eventually(lambda: self.requests > before + 20)

    def is_well(self) -> None:
        """Pages are stored and found in the store."""
        hits, stored = self.hits, self.stored
        eventually(lambda: self.hits > hits + 20 and self.stored > stored + 2)


@pytest.fixture
def site(server: PrivateRedis) -> Iterator[Site]:
    with override_settings(CACHES=server.caches()), Site() as site:
        yield site


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the cache has logged for people who run sites."""
    caplog.set_level(logging.INFO, "django_wsgiperf.cache")

    def said() -> list[str]:
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        return [record.getMessage() for record in warnings if record.name == "django_wsgiperf.cache"]

    return said


def told(lines: list[str], *expected: str) -> None:
    """These lines, in this order, and no other."""
    assert len(lines) == len(expected), lines
    assert all(wanted in line for wanted, line in zip(expected, lines, strict=True)), lines


def test_redis_killed_and_started_again(server: PrivateRedis, site: Site, lines: Callable[[], list[str]]) -> None:
    server.kill()
    eventually(lines)
    site.goes_on()
    server.launch()
    eventually(lambda: len(lines()) > 1)
    site.is_well()
    told(lines(), LOST, REGAINED)
    avoided = site.store.numbers()["link"].avoided
    assert avoided > 0, "most requests did not even try"


def test_redis_frozen(server: PrivateRedis, site: Site, lines: Callable[[], list[str]]) -> None:
    server.freeze()
    eventually(lines)
    site.goes_on()
    server.thaw()
    eventually(lambda: len(lines()) > 1)
    site.is_well()
    told(lines(), LOST, REGAINED)
    assert "imeout" in lines()[0]


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.add("lease:page", b"first", 60),
        lambda store: store.add_and_fetch("lease:page", b"first", 60, ["page"], 0),
    ],
)
def test_lease_that_was_asked_for_in_vain_is_nobodys(server: PrivateRedis, ask: Callable[[Store], object]) -> None:
    """A frozen server gives it when it wakes, to somebody who has made the page without it by then."""
    with override_settings(CACHES=server.caches()):
        store = open_store("pages", timeout_s=0.05)
        store.fetch(["page"], 0)
        server.freeze()
        with pytest.raises(StoreUnavailable):
            ask(store)
        server.thaw()
        # Comes by a connection that was made later.
        server.command("PING")
        eventually(lambda: store.add("lease:page", b"second", 60))
        store.close()


def test_redis_restarted_at_once_is_hardly_noticed(
    server: PrivateRedis, site: Site, lines: Callable[[], list[str]]
) -> None:
    page = Page(site.tags.sequence)
    server.private.halt()
    server.launch()
    eventually(site.store._link.allows)
    site.is_well()
    # On a busy machine it takes long enough to be noticed.
    eventually(lambda: not site.store._link._is_outage)
    # The line that it is back comes after that.
    eventually(lambda: len(lines()) != 1)
    told(lines(), *((LOST, REGAINED) if lines() else ()))
    eventually(lambda: site.tags.judge(page) is Verdict.GONE)


def test_redis_full(server: PrivateRedis, site: Site, lines: Callable[[], list[str]]) -> None:
    server.command("SET", "kept", "x")
    server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        eventually(lines)
        site.goes_on()
        assert site.store.is_reachable
        assert site.store.fetch(["anything"], 0) is not None, "it is still read"
        assert not site.tags.purge(["book"]).everywhere
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    eventually(lambda: len(lines()) > 1)
    site.is_well()
    eventually(lambda: site.tags.numbers()["pending"] == 0)
    told(lines(), WRITES_LOST, WRITES_REGAINED)


def test_redis_that_evicts_pages_keeps_the_log_of_purges(
    server: PrivateRedis, site: Site, lines: Callable[[], list[str]]
) -> None:
    def told(name: str) -> int:
        found: int = server.command("INFO")[name]
        return found

    assert site.tags.purge(["book"]).everywhere
    page = Page(site.tags.sequence)
    evicted = told("evicted_keys")
    server.command("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    server.command("CONFIG", "SET", "maxmemory", told("used_memory") + 1_000_000)
    try:
        for number in range(3_000):
            assert site.store.set(f"other-{number}", b"WPC" + b"x" * 2_000, 600)
        assert told("evicted_keys") > evicted
        site.is_well()
        assert site.tags.judge(page) is Verdict.VALID, "the log was not lost"
        assert site.tags.purge(["book"]).everywhere
        assert site.tags.judge(page) is Verdict.GONE
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert lines() == []


def test_redis_made_a_replica_that_may_only_be_read(
    server: PrivateRedis, site: Site, lines: Callable[[], list[str]], tmp_path: Path
) -> None:
    with private_redis.running(tmp_path) as primary:
        port, password = primary.private.place.port, primary.private.place.password
        server.command("CONFIG", "SET", "masterauth", password)
        server.command("REPLICAOF", "127.0.0.1", port)
        try:
            eventually(lines)
            site.goes_on()
            assert not site.tags.purge(["book"]).everywhere
        finally:
            server.command("REPLICAOF", "NO", "ONE")
            server.command("CONFIG", "SET", "masterauth", "")
    eventually(lambda: len(lines()) > 1)
    site.is_well()
    eventually(lambda: site.tags.numbers()["pending"] == 0)
    # While it copies the primary's data it may be out of reach as well.
    said = " ".join(lines())
    assert WRITES_LOST in said
    assert WRITES_REGAINED in said
    assert len(lines()) in (2, 4)


def test_a_redis_that_was_never_there_costs_a_line_and_nothing_else(
    server: PrivateRedis, lines: Callable[[], list[str]]
) -> None:
    server.kill()
    with override_settings(CACHES=server.caches()):
        store = GuardedStore(open_store("pages"))
        tags = Tags(store, max_stale_s=0.05)
        tags.start()
        eventually(lines)
        page = Page(tags.sequence)
        assert tags.judge(page) is Verdict.VALID
        assert isinstance(Leases(store).take("page"), Lease)
        assert not store.set("page", b"WPC", 60)
        server.launch()
        # What was made before the log was read cannot be trusted.
        eventually(lambda: tags.judge(page) is Verdict.GONE)
        eventually(lambda: len(lines()) > 1)
        told(lines(), LOST, REGAINED)
        tags.stop()
        store.close()


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_a_purge_during_the_outage_reaches_the_others_after_it(
    server: PrivateRedis, site: Site, trouble: str, lines: Callable[[], list[str]]
) -> None:
    other = GuardedStore(open_store("pages"))
    others = Tags(other, max_stale_s=0.05)
    others.start()
    try:
        pages = [Page(others.sequence), Page(others.sequence, ("author",))]
        mine = Page(site.tags.sequence)
        {"kill": server.kill, "freeze": server.freeze}[trouble]()
        eventually(lines)
        assert not site.tags.purge(["book"]).everywhere
        assert site.tags.judge(mine) is Verdict.GONE
        if trouble == "kill":
            server.launch()
        else:
            server.thaw()
        eventually(lambda: site.tags.numbers()["pending"] == 0)
        eventually(lambda: others.judge(pages[0]) is Verdict.GONE)
        if trouble == "freeze":
            assert others.judge(pages[1]) is Verdict.VALID, "nothing was lost, and nothing else purged"
    finally:
        others.stop()
        other.close()


def test_a_severed_subscription_is_renewed(server: PrivateRedis, site: Site) -> None:
    def subscribers() -> int:
        return sum("sub=1" in line for line in server.command("CLIENT", "LIST").decode().splitlines())

    eventually(lambda: subscribers() == 1)
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    page = Page(site.tags.sequence)
    other = GuardedStore(open_store("pages"))
    others = Tags(other)
    others.refresh()
    others.purge(["book"])
    eventually(lambda: site.tags.judge(page) is Verdict.GONE)
    eventually(lambda: subscribers() == 1)
    site.is_well()
    other.close()


def test_connections_are_bounded_by_the_threads_that_use_them(server: PrivateRedis, site: Site) -> None:
    site.is_well()
    clients = [line for line in server.command("CLIENT", "LIST").decode().splitlines() if "cmd=client" not in line]
    # Four threads, the one for purges, and its subscription.
    assert len(clients) <= 6


def test_a_damaged_log_is_a_store_out_of_order_and_not_an_error(
    server: PrivateRedis, lines: Callable[[], list[str]]
) -> None:
    with override_settings(CACHES=server.caches()):
        store = GuardedStore(open_store("pages"))
        tags = Tags(store, max_stale_s=0.05)
        tags.start()
        server.command("SET", ":1:wsgiperf:purges", "somebody else's")
        eventually(lines)
        assert "WRONGTYPE" in lines()[0]
        server.command("DEL", ":1:wsgiperf:purges")
        eventually(lambda: len(lines()) > 1)
        told(lines(), LOST, REGAINED)
        tags.stop()
        store.close()


def test_a_server_that_pauses_mixes_up_no_replies(server: PrivateRedis, site: Site) -> None:
    for _ in range(4):
        failures = site.store.numbers()["link"].failures
        server.freeze()
        eventually(lambda before=failures: site.store.numbers()["link"].failures > before)  # type: ignore[misc]
        server.thaw()
        site.goes_on()
    # Site looks at every value that it gets.
    eventually(lambda: not site.store._link.is_open)
    site.is_well()
