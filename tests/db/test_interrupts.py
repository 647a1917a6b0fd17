"""serve interrupts a stuck request in any line of it. No connection is lost by that, and none is lent twice."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_wsgiperf.db import registry
from django_wsgiperf.db.pool import BROKEN, Lease, Pool

from .databases import Database, value
from .fakes import FakeConnection, FakeDriver, Worker, consistent, eventually, make_pool
from .interrupts import everywhere

SIZE = 2
Work = Callable[[], object]
Scenario = Callable[[Pool[FakeConnection], FakeDriver], Work]


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def _quick_collector() -> Iterator[None]:
    """It runs after each interruption, and need not look at what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def lend_and_return(pool: Pool[FakeConnection], driver: FakeDriver) -> Work:
    pool.release(pool.acquire())
    return lambda: pool.release(pool.acquire())


def open_one(pool: Pool[FakeConnection], driver: FakeDriver) -> Work:
    return lambda: pool.release(pool.acquire())


def replace_a_dead_one(pool: Pool[FakeConnection], driver: FakeDriver) -> Work:
    lease = pool.acquire()
    lease.raw.alive = False
    pool.release(lease)
    pool._physical.suspect_ns = pool.clock()
    return lambda: pool.release(pool.acquire())


def throw_one_away(pool: Pool[FakeConnection], driver: FakeDriver) -> Work:
    leases = [pool.acquire()]
    return lambda: pool.release(leases.pop(), discard=BROKEN)


def evict(pool: Pool[FakeConnection], driver: FakeDriver) -> Work:
    for lease in [pool.acquire() for _ in range(SIZE)]:
        pool.release(lease)
    return lambda: pool.evict_all("a test")


def wait_for_one(pool: Pool[FakeConnection], driver: FakeDriver) -> Work:
    leases = [pool.acquire() for _ in range(SIZE)]
    for lease in leases:
        lease.thread = None
    stopped = threading.Event()

    def give_back() -> None:
        # Whoever is interrupted before it waits is not waited for for long.
        for _ in range(100):
            if pool._places.waiters:
                break
            stopped.wait(0.0005)
        while leases:
            pool.release(leases.pop())

    helper = Worker(give_back)

    def wait() -> None:
        try:
            pool.release(pool.acquire(timeout_s=20))
        finally:
            stopped.set()
            helper.join()

    return wait


def hand_over(pool: Pool[FakeConnection], driver: FakeDriver) -> Work:
    leases = [pool.acquire() for _ in range(SIZE)]
    waiting = Worker(lambda: pool.release(pool.acquire(timeout_s=20)))
    eventually(lambda: pool._places.waiters)

    def give_back() -> None:
        while leases:
            pool.release(leases.pop())

    def work() -> None:
        try:
            give_back()
        finally:
            leases.clear()
            pool.housekeeper.run_once()
            waiting.result()

    return work


def take_back_what_was_lost(pool: Pool[FakeConnection], driver: FakeDriver) -> Work:
    pool.acquire()
    return lambda: pool.housekeeper.run_once()


@pytest.mark.parametrize(
    "scenario",
    [
        *(lend_and_return, open_one, replace_a_dead_one, throw_one_away),
        *(evict, wait_for_one, hand_over, take_back_what_was_lost),
    ],
)
def test_pool_loses_no_connection_to_an_interruption(scenario: Scenario) -> None:
    made: list[tuple[Pool[FakeConnection], FakeDriver]] = []

    def prepared() -> Work:
        driver = FakeDriver()
        driver.may_close_twice = True
        pool = make_pool(driver, max_size=SIZE)
        made[:] = [(pool, driver)]
        return scenario(pool, driver)

    places = 0
    for where in everywhere(prepared):
        places += 1
        ((pool, driver),) = made
        gc.collect()
        driver.collect()
        pool.housekeeper.run_once()
        assert Worker(lambda pool=pool: everything(pool)).result() == SIZE, where  # type: ignore[misc]
        assert not pool._places.waiters, where
        consistent(pool, driver)
        assert driver.open_max <= SIZE, where
    assert places > 10


def everything(pool: Pool[FakeConnection]) -> int:
    """How many connections one thread gets now, and gives back: all there may be, if none is lost."""
    leases: list[Lease[Any]] = [pool.acquire(timeout_s=2) for _ in range(SIZE)]
    for lease in leases:
        with lease.raw.used():
            pool.release(lease)
    return len({id(lease.raw) for lease in leases})


@pytest.mark.parametrize("policy", ["response", "transaction"])
def test_wrapper_loses_no_connection_to_an_interruption(sqlite: Database, policy: str) -> None:
    wrapper: Any = None

    def prepared() -> Work:
        nonlocal wrapper
        registry.close_all(0)
        wrapper = sqlite.wrapper(pool={"MAX_SIZE": 1, "RELEASE": policy, "ACQUIRE_TIMEOUT_S": 5})
        value(wrapper, "SELECT 1")
        wrapper.close()

        def use() -> None:
            value(wrapper, "SELECT 1")
            wrapper.release_early()
            wrapper.close_if_unusable_or_obsolete()

        return use

    places = 0
    for where in everywhere(prepared):
        places += 1
        # What Django does after every request, in the thread that was interrupted.
        wrapper.close_if_unusable_or_obsolete()
        gc.collect()
        (pool,) = registry.pools()
        # What was lost in the midst is closed by the pool's own thread.
        eventually(lambda pool=pool: pool.snapshot()["db.client.connection.count"]["used"] == 0, where)  # type: ignore[misc]
        assert wrapper._pooling.pins == 0, where
        assert Worker(lambda: value_elsewhere(sqlite, policy)).result() == 2, where
        assert value(wrapper, "SELECT 3") == 3, where
        wrapper.close()
    assert places > 50


def value_elsewhere(database: Database, policy: str) -> Any:
    other = database.wrapper(pool={"MAX_SIZE": 1, "RELEASE": policy, "ACQUIRE_TIMEOUT_S": 5})
    try:
        return value(other, "SELECT 2")
    finally:
        other.close()
