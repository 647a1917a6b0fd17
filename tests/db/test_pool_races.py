"""Many threads at once, with the interpreter made to switch between them in almost every line."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from django_wsgiperf.db import PoolTimeout, PoolUnavailable
from django_wsgiperf.db.pool import BROKEN, Lease

from .fakes import ConnectionRefused, FakeConnection, FakeDriver, Worker, consistent, eventually, make_pool


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture(autouse=True)
def _hasty_interpreter() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("max_size", [1, 3, 8])
def test_no_connection_is_lent_twice_or_lost(driver: FakeDriver, max_size: int) -> None:
    pool = make_pool(driver, max_size=max_size, acquire_timeout_s=60, background=True, bypass_window_s=0.00005)
    start = threading.Barrier(8)

    def work(seed: int) -> int:
        chance = random.Random(seed)
        start.wait(20)
        for _ in range(150):
            lease = pool.acquire()
            with lease.raw.used():
                if chance.random() < 0.02:
                    lease.raw.alive = False
            pool.release(lease, discard=BROKEN if chance.random() < 0.05 else "")
            if chance.random() < 0.01:
                pool.evict_all("by chance")
        return 150

    acquired = sum(worker.result() for worker in [Worker(lambda seed=seed: work(seed)) for seed in range(8)])  # type: ignore[misc]
    consistent(pool, driver)
    assert driver.open_max <= max_size
    numbers = pool.snapshot()
    assert numbers["db.client.connection.wait_time"]["count"] == acquired
    assert numbers["db.client.connection.use_time"]["count"] == acquired
    assert numbers["db.client.connection.count"]["used"] == 0
    assert numbers["reclaimed"] == numbers["db.client.connection.timeouts"] == 0
    assert numbers["created"] == driver.attempts
    pool.close()
    assert driver.open == 0


def test_time_outs_hand_offs_and_refusals_at_once_add_up(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=2, background=True, bypass_window_s=0)
    outcomes = {"lent": 0, "timeout": 0, "unavailable": 0, "refused": 0}
    guard = threading.Lock()

    def count(outcome: str) -> None:
        with guard:
            outcomes[outcome] += 1

    def refuse_now_and_then() -> None:
        if random.random() < 0.1:
            raise ConnectionRefused("by chance")

    driver.while_connecting = refuse_now_and_then

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(100):
            try:
                lease = pool.acquire(timeout_s=chance.random() * 0.002)
            except PoolTimeout:
                count("timeout")
                continue
            except PoolUnavailable:
                count("unavailable")
                continue
            except ConnectionRefused:
                count("refused")
                continue
            with lease.raw.used():
                pass
            count("lent")
            pool.release(lease, discard=BROKEN if chance.random() < 0.2 else "")

    for worker in [Worker(lambda seed=seed: work(seed)) for seed in range(8)]:  # type: ignore[misc]
        worker.result()
    consistent(pool, driver)
    numbers = pool.snapshot()
    assert numbers["db.client.connection.wait_time"]["count"] == outcomes["lent"]
    assert numbers["db.client.connection.use_time"]["count"] == outcomes["lent"]
    assert numbers["db.client.connection.timeouts"] == outcomes["timeout"]
    assert numbers["unavailable"] == outcomes["unavailable"]
    assert sum(outcomes.values()) == 800
    assert driver.open_max <= 2
    pool.close()


def test_a_connection_that_comes_as_time_runs_out_is_taken(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool(driver, max_size=1)
    lease = pool.acquire()
    # The last thing that a waiter does before it looks, under the lock, whether it has been served.
    monkeypatch.setattr(pool.housekeeper, "close_lost", lambda: pool.release(lease))
    assert pool.acquire(timeout_s=0).raw is lease.raw
    assert pool.snapshot()["db.client.connection.timeouts"] == 0


def test_a_waiter_that_has_just_given_up_is_handed_nothing(driver: FakeDriver) -> None:
    """Time-out and hand-off race for the same moment: the connection is the waiter's, or idle, and never nobody's."""
    pool = make_pool(driver, max_size=1)
    both = {"served": 0, "timed out": 0}
    for number in range(300):
        lease = pool.acquire(timeout_s=20)
        ready = threading.Barrier(2)

        def wait(ready: threading.Barrier = ready) -> Lease[FakeConnection] | None:
            ready.wait(20)
            try:
                mine = pool.acquire(timeout_s=0.001)
            except PoolTimeout:
                return None
            mine.thread = None
            return mine

        worker = Worker(wait)
        ready.wait(20)
        # Meet the end of its time from both sides.
        end_s = time.perf_counter() + 0.0008 + 0.000002 * number
        while time.perf_counter() < end_s:
            pass
        pool.release(lease)
        got = worker.result()
        both["served" if got else "timed out"] += 1
        assert got is None or got.raw is lease.raw
        if got is not None:
            pool.release(got)
        consistent(pool, driver)
    assert driver.attempts == 1
    assert sum(both.values()) == 300


def test_everybody_at_once_opens_no_more_than_the_maximum(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=5, acquire_timeout_s=20)
    start = threading.Barrier(40)

    def work() -> None:
        start.wait(20)
        pool.release(pool.acquire())

    for worker in [Worker(work) for _ in range(40)]:
        worker.result()
    assert driver.open_max <= 5
    assert driver.attempts == driver.open
    consistent(pool, driver)


def test_releases_of_one_lease_from_many_threads_count_once(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=4)
    for _ in range(50):
        lease = pool.acquire()
        start = threading.Barrier(4)

        def give_back(lease: Lease[FakeConnection] = lease, start: threading.Barrier = start) -> None:
            start.wait(20)
            pool.release(lease)

        for worker in [Worker(give_back) for _ in range(4)]:
            worker.result()
        consistent(pool, driver)
    assert pool.snapshot()["db.client.connection.use_time"]["count"] == 50


def test_closing_while_everybody_works_leaves_nothing_open(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=3, acquire_timeout_s=20, background=True)
    begun = threading.Event()

    def work() -> None:
        while True:
            lease = pool.acquire()
            begun.set()
            with lease.raw.used():
                pass
            pool.release(lease)

    workers = [Worker(work) for _ in range(8)]
    assert begun.wait(20)
    pool.close(timeout_s=20)
    for worker in workers:
        with pytest.raises(Exception, match="has been closed"):
            worker.result()
    eventually(lambda: driver.open == 0)
    assert not pool._places.entries
