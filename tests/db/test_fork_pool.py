"""A forked child has an empty pool of its own and does its parent's sessions no harm, whatever went on at the fork."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from django_wsgiperf.db import PoolTimeout
from django_wsgiperf.db.pool import BROKEN, Driver, Pool, PoolConfig
from tests.services import Address

from .fakes import FakeDriver, Worker, consistent, eventually, make_pool

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
    # Python 3.12 warns of the very thing that is tested here.
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]


def in_child(work: Callable[[], Any]) -> None:
    """Fork, run `work` in the child, and fail if it does."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    deadline_s = time.monotonic() + 60
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        if time.monotonic() > deadline_s:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child has not ended")
        time.sleep(0.005)


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


def test_a_child_begins_empty_and_abandons_what_it_inherited(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=2)
    held, idle = pool.acquire(), pool.acquire()
    pool.release(idle)

    def child() -> None:
        pool.after_fork_in_child()
        assert held.raw.abandoned
        assert idle.raw.abandoned
        assert not held.raw.closed
        assert pool.snapshot()["db.client.connection.count"] == {"idle": 0, "used": 0}
        assert pool.snapshot()["forks"] == 1
        assert pool.snapshot()["created"] == 0
        fresh = [pool.acquire(timeout_s=0), pool.acquire(timeout_s=0)]
        assert all(lease.is_new for lease in fresh)
        # The parent's lease is nothing here.
        pool.release(held)
        pool.release(held, discard=BROKEN)
        assert not held.raw.closed
        assert pool.snapshot()["db.client.connection.count"] == {"idle": 0, "used": 2}

    in_child(child)
    pool.release(held)
    consistent(pool, driver)
    assert pool.acquire().raw is held.raw
    assert pool.snapshot()["forks"] == 0


def test_a_fork_while_others_wait_and_the_lock_is_held(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1, background=True)
    lease = pool.acquire()
    waiting = Worker(lambda: pool.acquire(timeout_s=20))
    eventually(lambda: pool._places.waiters)
    locked, go_on = threading.Event(), threading.Event()

    def hold_the_lock() -> None:
        with pool._lock:
            locked.set()
            assert go_on.wait(20)

    holder = Worker(hold_the_lock)
    assert locked.wait(20)

    def child() -> None:
        pool.after_fork_in_child()
        assert not pool._places.waiters
        pool.release(pool.acquire(timeout_s=0))
        mine = pool.acquire(timeout_s=0)
        with pytest.raises(PoolTimeout):
            pool.acquire(timeout_s=0)
        # Its own housekeeper serves the child.
        assert sum(thread.name == "wsgiperf-pool-test" for thread in threading.enumerate()) == 1
        del mine
        eventually(lambda: pool.snapshot()["reclaimed"] == 1)
        pool.close()

    in_child(child)
    go_on.set()
    holder.result()
    pool.release(lease)
    assert waiting.result().raw is lease.raw
    pool.close()


def test_a_fork_while_another_thread_connects(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    connecting, go_on = threading.Event(), threading.Event()

    def connect_slowly() -> None:
        connecting.set()
        assert go_on.wait(20)

    driver.while_connecting = connect_slowly
    worker = Worker(lambda: pool.acquire())
    assert connecting.wait(20)

    def child() -> None:
        pool.after_fork_in_child()
        driver.while_connecting = lambda: None
        pool.release(pool.acquire(timeout_s=0))

    in_child(child)
    go_on.set()
    worker.result()


def test_a_child_of_a_child(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    pool.release(pool.acquire())

    def grandchild() -> None:
        pool.after_fork_in_child()
        assert pool.snapshot()["forks"] == 2
        pool.release(pool.acquire())

    def child() -> None:
        pool.after_fork_in_child()
        pool.release(pool.acquire())
        in_child(grandchild)
        assert pool.snapshot()["db.client.connection.count"]["idle"] == 1

    in_child(child)


def test_a_pool_that_was_closed_stays_closed_in_a_child(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    pool.close()

    def child() -> None:
        pool.after_fork_in_child()
        with pytest.raises(Exception, match="has been closed"):
            pool.acquire()

    in_child(child)


def test_forks_while_everybody_works(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=3, acquire_timeout_s=20, background=True)
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            lease = pool.acquire()
            number += 1
            pool.release(lease, discard=BROKEN if number % 7 == 0 else "")

    workers = [Worker(work) for _ in range(5)]

    def child() -> None:
        pool.after_fork_in_child()
        # The pretended server's counters were copied in the midst of something; the child has one of its own.
        driver.__init__()  # type: ignore[misc]
        leases = [pool.acquire(timeout_s=0) for _ in range(3)]
        for lease in leases:
            pool.release(lease)
        consistent(pool, driver)
        pool.close()

    try:
        for _ in range(15):
            in_child(child)
    finally:
        stop.set()
    for worker in workers:
        worker.result()
    consistent(pool, driver)
    pool.close()


# -- real drivers: what abandoning must do to a socket that two processes have


def _let_go(descriptor: int) -> None:
    """Point a socket's descriptor elsewhere, so that closing says nothing to the server."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class Psycopg:
    """The least driver for PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def close(self, raw: psycopg.Connection[Any]) -> None:
        raw.close()

    def is_alive(self, raw: psycopg.Connection[Any]) -> bool:
        return self.ask(raw) > 0

    def abandon(self, raw: psycopg.Connection[Any]) -> None:
        _let_go(raw.fileno())
        raw.close()

    def state(self, raw: psycopg.Connection[Any]) -> str:
        return "idle" if raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE else "idle in transaction"

    def ask(self, raw: psycopg.Connection[Any]) -> int:
        """The number of the session on the server."""
        row = raw.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return int(row[0])


class MySQL:
    """The least driver for MariaDB and MySQL."""

    def __init__(self, url: str) -> None:
        self.address = Address.parse(url)

    def connect(self) -> Any:
        import MySQLdb

        address = self.address
        return MySQLdb.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password or "",
            database=address.database,
            autocommit=True,
        )

    def close(self, raw: Any) -> None:
        raw.close()

    def is_alive(self, raw: Any) -> bool:
        return self.ask(raw) > 0

    def abandon(self, raw: Any) -> None:
        _let_go(raw.fileno())
        raw.close()

    def state(self, raw: Any) -> str:
        return "unknown"

    def ask(self, raw: Any) -> int:
        with raw.cursor() as cursor:
            cursor.execute("SELECT connection_id()")
            return int(cursor.fetchone()[0])


@pytest.mark.parametrize(("driver_class", "fixture"), [(Psycopg, "postgres_url"), (MySQL, "mysql_url")])
def test_a_parents_sessions_outlive_the_child(driver_class: Any, fixture: str, request: pytest.FixtureRequest) -> None:
    driver: Driver[Any] = driver_class(request.getfixturevalue(fixture))
    ask = driver.ask  # type: ignore[attr-defined]
    pool: Pool[Any] = Pool("real", driver, PoolConfig(max_size=2))
    held, idle = pool.acquire(), pool.acquire()
    pool.release(idle)
    sessions = {ask(held.raw), ask(idle.raw)}
    assert len(sessions) == 2

    def child() -> None:
        pool.after_fork_in_child()
        pool.release(held)
        mine = [pool.acquire(timeout_s=5), pool.acquire(timeout_s=5)]
        assert not sessions & {ask(lease.raw) for lease in mine}
        for lease in mine:
            pool.release(lease)
        pool.close()

    for _ in range(2):
        in_child(child)
        assert ask(held.raw) in sessions
    pool.release(held)
    leases = [pool.acquire(), pool.acquire()]
    assert {ask(lease.raw) for lease in leases} == sessions
    for lease in leases:
        pool.release(lease)
    pool.close()
    assert held.raw.closed
