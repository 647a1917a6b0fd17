"""A hundred threads want a connection of a pool that has two, on real servers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError

from tests.db.databases import Database
from tests.db.load import PATIENCE_S, Site, ask, until

CROWD = 100
MAX_SIZE = 2


@pytest.fixture(params=["postgres", "mysql", "sqlite"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each kind of database in turn."""
    found: Database = request.getfixturevalue(request.param)
    return found


def site_of(database: Database, **pool: Any) -> Site:
    return Site(database.entry(pool={"MAX_SIZE": MAX_SIZE, "ACQUIRE_TIMEOUT_S": PATIENCE_S, **pool}))


@contextlib.contextmanager
def all_held(site: Site) -> Iterator[None]:
    """Other threads have every connection for the length of a `with` block."""
    size = site.pool.config.max_size
    held, ended = threading.Barrier(size + 1), threading.Event()

    def hold() -> None:
        ask(site.connection)
        held.wait(PATIENCE_S)
        ended.wait(PATIENCE_S)
        site.connection.close()

    holders = [threading.Thread(target=hold, name=f"holder-{number}") for number in range(size)]
    for holder in holders:
        holder.start()
    held.wait(PATIENCE_S)
    try:
        yield
    finally:
        ended.set()
        for holder in holders:
            holder.join(PATIENCE_S)


class Crowd:
    """A hundred requests, each in a thread of its own, and what became of them in the order of their ends."""

    def __init__(self, site: Site) -> None:
        self.outcomes: list[tuple[int, Exception | None]] = []
        self._lock = threading.Lock()
        self._site = site
        self._threads: list[threading.Thread] = []

    def line_up(self) -> None:
        """Start them one after another, each when the one before it waits: so the order of the line is known."""
        for number in range(CROWD):
            self.start(number)
            until(lambda waiting=number + 1: pending(self._site) == waiting, f"{number + 1} in line")

    def start(self, number: int) -> None:
        thread = threading.Thread(target=self._request, args=(number,), name=f"visitor-{number}")
        self._threads.append(thread)
        thread.start()

    def join(self) -> list[Exception | None]:
        """Wait for all; what became of each, in the order of the line."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads), "a request hangs"
        assert len(self.outcomes) == CROWD
        return [error for _, error in sorted(self.outcomes, key=lambda outcome: outcome[0])]

    def _request(self, number: int) -> None:
        error: Exception | None = None
        try:
            self._site.request(self._note(number))
        except Exception as raised:  # Whatever it is, the test is to see it.
            error = raised
        if error is not None:
            with self._lock:
                self.outcomes.append((number, error))

    def _note(self, number: int) -> Any:
        def work(connection: Any) -> None:
            ask(connection)
            with self._lock:
                self.outcomes.append((number, None))

        return work


def pending(site: Site) -> int:
    waiting: int = site.pool.snapshot()["db.client.connection.pending_requests"]
    return waiting


def test_hundred_waiters_are_all_served_in_their_order(database: Database) -> None:
    site = site_of(database, MAX_SIZE=1)
    crowd = Crowd(site)
    with all_held(site):
        crowd.line_up()
    assert crowd.join() == [None] * CROWD
    # Each has told of itself before it gave the one connection back.
    assert [number for number, _ in crowd.outcomes] == list(range(CROWD))
    assert site.pool.snapshot()["created"] == 1
    site.close()


def test_hundred_that_wait_in_vain_are_told_who_holds_and_nothing_is_lost(database: Database) -> None:
    site = site_of(database, ACQUIRE_TIMEOUT_S=0.3)
    crowd = Crowd(site)
    with all_held(site):
        for number in range(CROWD):
            crowd.start(number)
        errors = crowd.join()
    assert all(isinstance(error, OperationalError) for error in errors)
    assert all("holder-0" in str(error) and "holder-1" in str(error) and "SELECT 1" in str(error) for error in errors)
    assert site.pool.statistics.timeouts == CROWD
    counts = site.pool.snapshot()["db.client.connection.count"]
    assert counts == {"idle": MAX_SIZE, "used": 0}
    site.request()
    site.close()


def test_line_has_an_end_and_who_finds_it_full_is_turned_away_at_once(database: Database) -> None:
    site = site_of(database, MAX_WAITERS=40)
    crowd = Crowd(site)
    with all_held(site):
        for number in range(CROWD):
            crowd.start(number)
        until(lambda: len(crowd.outcomes) == CROWD - 40, "sixty that were turned away")
        assert pending(site) == 40
        assert all(isinstance(error, OperationalError) for _, error in crowd.outcomes)
    errors = crowd.join()
    assert errors.count(None) == 40
    assert site.pool.statistics.overloaded == CROWD - 40
    site.close()
