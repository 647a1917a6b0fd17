"""Connections that nobody gives back: their thread ended, their owner was collected, their holder was interrupted."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from django_wsgiperf.db import PoolError, PoolTimeout
from django_wsgiperf.db.pool import Lease, Pool

from .fakes import FakeConnection, FakeDriver, Holder, Worker, consistent, eventually, make_pool


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


class Owner:
    """Stands for a DatabaseWrapper."""

    lease: Lease[FakeConnection]


def test_a_thread_that_died_holding_one_costs_nobody_a_timeout(
    driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(driver, max_size=1)
    kept = Worker(lambda: pool.acquire(label="GET shop:book"), name="request-7").result()
    with caplog.at_level(logging.WARNING, "django_wsgiperf.db"):
        lease = pool.acquire(timeout_s=0)
    assert lease.is_new
    assert kept.raw.closed
    assert "never released: request-7, GET shop:book, held" in caplog.text
    assert pool.snapshot()["reclaimed"] == 1
    assert pool.snapshot()["closed"] == {"reclaimed": 1}
    pool.release(kept)
    assert not lease.raw.closed


def test_a_thread_that_threading_has_not_started_may_die_as_well(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    kept: list[Lease[FakeConnection]] = []
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        kept.append(pool.acquire(label="GET shop:book"))
        held.set()
        assert go_on.wait(20)

    _thread.start_new_thread(hold, ())
    assert held.wait(20)
    with pytest.raises(PoolTimeout, match=r"Dummy-\d+, GET shop:book, held"):
        pool.acquire(timeout_s=0.05)
    go_on.set()
    assert pool.acquire(timeout_s=20).is_new
    assert kept[0].raw.closed


def test_a_thread_that_dies_while_others_wait_does_not_cost_them_their_whole_time(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    held, go_on = threading.Event(), threading.Event()
    kept: list[Any] = []

    def die_holding() -> None:
        kept.append(pool.acquire())
        held.set()
        assert go_on.wait(20)

    holder = Worker(die_holding)
    assert held.wait(20)
    waiting = Worker(lambda: pool.acquire(timeout_s=3600))
    eventually(lambda: pool._places.waiters)
    go_on.set()
    holder.result()
    assert waiting.result().is_new


def test_what_was_taken_back_goes_to_the_oldest_waiter(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    held, go_on = threading.Event(), threading.Event()
    kept: list[Any] = []

    def die_holding() -> None:
        kept.append(pool.acquire())
        held.set()
        assert go_on.wait(20)

    holder = Worker(die_holding)
    assert held.wait(20)
    oldest = Holder(pool)
    eventually(lambda: pool._places.waiters)
    go_on.set()
    holder.result()
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout_s=0)
    oldest.may_go.set()
    assert oldest.result().is_new


def test_a_connection_that_threads_share_outlives_the_one_that_opened_it(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)

    def share() -> Lease[FakeConnection]:
        lease = pool.acquire()
        lease.thread = None
        return lease

    lease = Worker(share).result()
    with pytest.raises(PoolTimeout, match=r"shared between threads"):
        pool.acquire(timeout_s=0)
    pool.release(lease)
    assert pool.acquire(timeout_s=0).raw is lease.raw


def test_an_owner_in_a_cycle_is_noticed_when_the_collector_runs(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1, background=True)
    owner = Owner()
    owner.lease = pool.acquire()
    owner.self = owner  # type: ignore[attr-defined]
    raw = owner.lease.raw
    del owner
    gc.collect()
    eventually(lambda: raw.closed)
    pool.close()


def test_a_lease_that_nobody_has_any_more_wakes_those_who_wait(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1, background=True)
    holder = [pool.acquire()]
    waiting = Worker(lambda: pool.acquire(timeout_s=20))
    eventually(lambda: pool._places.waiters)
    holder.clear()
    assert waiting.result().is_new
    pool.close()


def test_a_generator_that_is_never_closed_gives_back_when_it_is_collected(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1, background=True)

    def rows() -> Iterator[int]:
        lease = pool.acquire()
        try:
            yield 1
            yield 2
        finally:
            pool.release(lease)

    reader = rows()
    assert next(reader) == 1
    del reader
    lease = pool.acquire(timeout_s=20)
    assert not lease.is_new
    assert pool.snapshot()["reclaimed"] == 0
    pool.release(lease)
    pool.close()


def test_giving_back_in_the_midst_of_the_pools_own_work_is_put_off(driver: FakeDriver) -> None:
    """The garbage collector may end a generator in any line, one with the lock held included."""
    pool = make_pool(driver, max_size=2)
    first, second = pool.acquire(), pool.acquire()
    with pool._lock:
        pool.release(first)
        pool.release(second, discard="broken")
        pool.evict_all("a destructor said so")
        assert not first.raw.closed
        assert pool.snapshot()["db.client.connection.count"] == {"idle": 0, "used": 2}
    pool.housekeeper.run_once()
    assert driver.open == 0
    consistent(pool, driver)


def test_two_pools_never_wait_for_each_other(driver: FakeDriver) -> None:
    """What a destructor gives back in the midst of one pool's work may be another pool's."""
    other_driver = FakeDriver()
    pool, other = make_pool(driver), make_pool(other_driver)
    lease = pool.acquire()
    other_has_its_lock, go_on = threading.Event(), threading.Event()

    def work_in_the_other() -> None:
        with other._lock:
            other_has_its_lock.set()
            go_on.wait(0.2)

    worker = Worker(work_in_the_other)
    assert other_has_its_lock.wait(20)
    with pool._lock:
        go_on.set()
        assert other._is_inside()
        pool.release(lease)
        other.evict_all("a destructor said so")
    worker.result()
    pool.housekeeper.run_once()
    assert pool.snapshot()["db.client.connection.count"] == {"idle": 1, "used": 0}


def test_asking_in_the_midst_of_the_pools_own_work_is_an_error_and_no_deadlock(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    with pool._lock, pytest.raises(PoolError, match="destructor"):
        pool.acquire()


def test_generators_collected_in_any_line_neither_block_nor_lose_anything(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=4, background=True, acquire_timeout_s=20)

    def rows() -> Iterator[object]:
        lease = pool.acquire()
        try:
            me = yield None
            while True:
                me = yield me  # A cycle: only the collector can end it.
        finally:
            pool.release(lease)

    def work() -> None:
        for _ in range(50):
            reader = rows()
            next(reader)
            reader.send(reader)  # type: ignore[attr-defined]

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        workers = [Worker(work) for _ in range(2)]
        # When both wait for what lies in the garbage, neither makes any more of it.
        eventually(lambda: gc.collect() >= 0 and not any(worker.is_alive() for worker in workers))
        for worker in workers:
            worker.result()
    finally:
        gc.set_threshold(*before)
    gc.collect()
    pool.housekeeper.wake()
    eventually(lambda: pool.snapshot()["db.client.connection.count"]["used"] == 0)
    consistent(pool, driver)
    pool.close()


def interrupt(thread: threading.Thread, error: type[BaseException]) -> None:
    assert thread.ident is not None
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(error)) == 1


class Interrupted(BaseException):
    """What a server raises in a thread whose request has taken too long."""


def test_a_thread_interrupted_in_line_leaves_it(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    lease = pool.acquire()
    waiting = Worker(lambda: pool.acquire(timeout_s=20))
    eventually(lambda: pool._places.waiters)
    interrupt(waiting, Interrupted)
    pool.release(lease)
    with pytest.raises(Interrupted):
        waiting.result()
    again = pool.acquire(timeout_s=0)
    consistent(pool, driver)
    pool.release(again)


class Remembering(FakeDriver):
    """Counts the connections that exist, not calls: one whose opener was interrupted ends with its object."""

    def __init__(self) -> None:
        super().__init__()
        self.existing: weakref.WeakSet[FakeConnection] = weakref.WeakSet()

    def connect(self) -> FakeConnection:
        raw = FakeConnection(0)
        self.existing.add(raw)
        return raw

    def close(self, raw: FakeConnection) -> None:
        raw.closed = True


def test_threads_interrupted_in_any_line_cost_the_pool_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever line it hits, in the end every connection is idle again, or closed and its room free."""
    # One that hits in a destructor is not raised but shown.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    driver = Remembering()
    pool = make_pool(driver, max_size=3, background=True, acquire_timeout_s=20, bypass_window_s=0.00002)
    rounds = [0] * 4
    stop = threading.Event()

    def use(me: int) -> None:
        while not stop.is_set():
            lease: Lease[FakeConnection] | None = None
            try:
                try:
                    for number in range(1000):
                        lease = pool.acquire()
                        pool.release(lease, discard="now and then" if number % 5 == 0 else "")
                finally:
                    if lease is not None:
                        pool.release(lease)
            except Interrupted:
                rounds[me] += 1

    def guard(me: int) -> None:
        while not stop.is_set():
            with contextlib.suppress(Interrupted):
                use(me)

    workers = [threading.Thread(target=guard, args=(me,), daemon=True) for me in range(4)]
    for worker in workers:
        worker.start()
    for _ in range(200):
        before = sum(rounds)
        for worker in workers:
            interrupt(worker, Interrupted)
        eventually(lambda before=before: sum(rounds) > before)  # type: ignore[misc]
    stop.set()
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()
    gc.collect()
    pool.housekeeper.wake()
    eventually(lambda: pool.snapshot()["db.client.connection.count"]["used"] == 0)
    leases = [pool.acquire(timeout_s=20) for _ in range(3)]
    gc.collect()
    assert {raw for raw in driver.existing if not raw.closed} == {lease.raw for lease in leases}
    for lease in leases:
        pool.release(lease)
    pool.close()
    assert not [raw for raw in driver.existing if not raw.closed]


def test_a_thread_interrupted_as_it_serves_another_leaves_that_one_served_once(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=2)
    first, second = pool.acquire(), pool.acquire()
    waiting = Worker(lambda: pool.acquire(timeout_s=1e6))
    eventually(lambda: pool._places.waiters)
    places = pool._places
    with pool._lock:
        # As far as serve() came: lent, but still in line and asleep.
        assert first.entry is not None
        first.entry.lease = None
        places.idle.append(first.entry)
        assert places._lend_next(places.waiters[0].lease)
    pool.release(second)
    lease = waiting.result()
    assert lease.raw is first.raw
    assert [entry.raw for entry in places.idle] == [second.raw]
    consistent(pool, driver)


def test_a_holder_interrupted_while_it_connects_gives_up_its_room(driver: FakeDriver) -> None:
    pool: Pool[FakeConnection] = make_pool(driver, max_size=1)

    def stop() -> None:
        raise Interrupted

    driver.while_connecting = stop
    with pytest.raises(Interrupted):
        pool.acquire()
    driver.while_connecting = lambda: None
    assert pool.acquire(timeout_s=0).is_new
    assert pool.snapshot()["connect_failures"] == 0


def test_a_holder_interrupted_while_it_asks_loses_only_that_connection(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1, bypass_window_s=0)
    pool.release(pool.acquire())

    def stop(raw: object) -> None:
        raise Interrupted

    driver.while_asking = stop
    with pytest.raises(Interrupted):
        pool.acquire()
    assert pool.snapshot()["closed"] == {"interrupted": 1}
    assert pool.acquire(timeout_s=0).is_new
    consistent(pool, driver)
