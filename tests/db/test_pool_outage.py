"""A server that refuses connections: who is told when, and how often it is asked."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time

import psycopg
import pytest

from django_wsgiperf.db import PoolTimeout, PoolUnavailable
from django_wsgiperf.db.outage import Outage, is_refusal
from django_wsgiperf.db.pool import BROKEN

from .fakes import ConnectionRefused, FakeClock, FakeDriver, Worker, consistent, eventually, make_pool

REFUSED = ConnectionRefused("connection refused")
SECOND = 1_000_000_000


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# -- the decisions alone


def test_attempts_of_a_failing_server_grow_apart_up_to_a_limit() -> None:
    outage = Outage(patience_s=5)
    now = 0
    delays_s = []
    for _ in range(12):
        outage.failed(REFUSED, now, now)
        delays_s.append((outage.retry_at_ns - now) / SECOND)
        now = outage.retry_at_ns + 1
    assert delays_s[0] == 0
    assert 0.04 <= delays_s[1] <= 0.06
    assert all(2 * 0.8 <= delay_s <= 2 * 1.2 for delay_s in delays_s[-4:])
    assert max(delays_s) <= 2.4


def test_many_that_fail_together_are_one_refusal() -> None:
    outage = Outage(patience_s=5)
    assert outage.failed(REFUSED, 0, 10)
    for _ in range(20):
        assert not outage.failed(REFUSED, 1, 11)
    assert outage.failures == 1


def test_one_attempt_at_a_time_then_a_few_then_all() -> None:
    outage = Outage(patience_s=5)
    assert outage.allows(1000, 0)
    outage.failed(REFUSED, 0, 0)
    assert outage.allows(0, 1)
    assert not outage.allows(1, 1)
    allowed = []
    while not outage.allows(1000, 1):
        assert outage.succeeded() == (not allowed)
        allowed.append(next(count for count in range(1001) if not outage.allows(count, 1) or count == 1000))
    assert allowed == [2, 4, 8, 1000]


def test_a_server_that_has_answered_before_is_given_time() -> None:
    outage = Outage(patience_s=5)
    outage.succeeded()
    outage.failed(REFUSED, 0, 0)
    assert not outage.gives_up(4 * SECOND)
    assert outage.gives_up(5 * SECOND)


def test_a_server_that_has_never_answered_is_given_none() -> None:
    outage = Outage(patience_s=5)
    outage.failed(REFUSED, 0, 0)
    assert outage.gives_up(1)


class Awkward(OSError):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port}")


def test_an_error_that_cannot_be_copied_is_told_in_words() -> None:
    outage = Outage(patience_s=5)
    outage.failed(Awkward("db", 5432), 0, 0)
    assert str(outage.error) == "Awkward: db:5432"


def test_a_drivers_own_refusal_is_remembered_without_its_frames() -> None:
    outage = Outage(patience_s=5)
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=2")
    outage.failed(caught.value, 0, 0)
    assert isinstance(outage.error, psycopg.OperationalError)
    assert str(outage.error) == str(caught.value)
    assert outage.error.__traceback__ is None
    assert "It said: " in outage.describe(0)


# -- the pool


def test_a_wrong_password_is_told_at_once_in_the_drivers_words(driver: FakeDriver) -> None:
    driver.refuses = ConnectionRefused("password authentication failed")
    pool = make_pool(driver)
    with pytest.raises(ConnectionRefused, match="password authentication failed"):
        pool.acquire()
    consistent(pool, driver)


def test_the_next_may_try_at_once_for_what_was_missing_may_have_been_made(driver: FakeDriver) -> None:
    driver.refuses = REFUSED
    pool = make_pool(driver)
    with pytest.raises(ConnectionRefused):
        pool.acquire()
    driver.refuses = None
    pool.release(pool.acquire())
    assert pool.snapshot()["connect_failures"] == 1


def test_a_lasting_refusal_is_passed_on_without_asking_again(driver: FakeDriver, clock: FakeClock) -> None:
    driver.refuses = REFUSED
    pool = make_pool(driver, clock=clock)
    for _ in range(2):
        with pytest.raises(ConnectionRefused):
            pool.acquire()
    for _ in range(100):
        with pytest.raises(PoolUnavailable, match="It said: connection refused") as caught:
            pool.acquire()
        assert str(caught.value.__cause__) == str(REFUSED)
    assert driver.attempts == 2
    assert pool.snapshot()["unavailable"] == 100
    assert pool.snapshot()["outage"] == "connection refused"
    clock.advance(3)
    driver.refuses = None
    pool.release(pool.acquire())
    assert driver.attempts == 3
    assert pool.snapshot()["outage"] == ""


def test_who_waits_through_a_restart_is_served_and_never_sees_an_error(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=4, acquire_timeout_s=20, background=True)
    lease = pool.acquire()
    driver.refuses = REFUSED
    driver.kill()
    pool.release(lease, discard=BROKEN)
    workers = [Worker(lambda: pool.release(pool.acquire())) for _ in range(30)]
    eventually(lambda: driver.attempts >= 5)
    driver.refuses = None
    for worker in workers:
        worker.result()
    pool.close()
    assert driver.open == 0


def test_who_is_refused_keeps_its_place_in_line(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_size=1)
    lease = pool.acquire()
    served: list[str] = []

    def wait(name: str) -> None:
        mine = pool.acquire(label=name, timeout_s=1e6)
        served.append(name)
        pool.release(mine)

    first = Worker(lambda: wait("first"))
    eventually(lambda: len(pool._places.waiters) == 1)
    second = Worker(lambda: wait("second"))
    eventually(lambda: len(pool._places.waiters) == 2)
    driver.refuses = REFUSED
    pool.release(lease, discard=BROKEN)
    # It tries again at once, and is back at the head of the line.
    eventually(lambda: driver.attempts == 3 and len(pool._places.waiters) == 2)
    assert [waiter.lease.label for waiter in pool._places.waiters] == ["first", "second"]
    driver.refuses = None
    clock.advance(1)
    pool.housekeeper.run_once()
    first.result()
    second.result()
    assert served == ["first", "second"]


def test_a_newcomer_does_not_take_the_attempt_that_is_due_to_the_line(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_size=1)
    pool.release(pool.acquire(), discard=BROKEN)
    driver.refuses = REFUSED
    go_home = threading.Event()

    def hold() -> None:
        lease = pool.acquire(timeout_s=1e6)
        assert go_home.wait(20)
        pool.release(lease)

    first = Worker(hold)
    eventually(lambda: driver.attempts == 3 and pool._places.waiters)
    driver.refuses = None
    clock.advance(1)
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout_s=0)
    eventually(lambda: driver.open == 1)
    go_home.set()
    first.result()


def test_when_the_last_connection_proves_dead_in_an_outage_all_in_line_are_told(
    driver: FakeDriver, clock: FakeClock
) -> None:
    pool = make_pool(driver, clock=clock, max_size=2, acquire_timeout_s=5, bypass_window_s=0)
    lease = pool.acquire()
    driver.refuses = REFUSED
    while not pool._physical.outage.gives_up(clock()):
        with pytest.raises(ConnectionRefused):
            pool.acquire(timeout_s=0)
        clock.advance(3)
    with pytest.raises(ConnectionRefused):
        pool.acquire(timeout_s=0)
    # One connection is left, and worth waiting for.
    line = [Worker(lambda: pool.acquire(timeout_s=1e6)) for _ in range(3)]
    eventually(lambda: len(pool._places.waiters) == 3)
    driver.kill()
    pool.release(lease)
    for worker in line:
        with pytest.raises(PoolUnavailable):
            worker.result()
    consistent(pool, driver)


def test_a_line_older_than_the_outage_has_its_attempts_made(driver: FakeDriver) -> None:
    """The one that was refused had no time left to wait, so that nobody came to wait after the refusal."""
    leap_ns = 0
    pool = make_pool(
        driver, max_size=1, background=True, acquire_timeout_s=3600, clock=lambda: time.monotonic_ns() + leap_ns
    )
    lease = pool.acquire()
    pool.housekeeper._rest_s = 3600
    pool.housekeeper.wake()

    def refuse() -> None:
        nonlocal leap_ns
        if driver.attempts == 3:
            leap_ns = 101 * SECOND  # Its time is up when it is refused.

    driver.while_connecting = refuse
    driver.refuses = REFUSED
    hasty = Worker(lambda: pool.acquire(timeout_s=100))
    eventually(lambda: len(pool._places.waiters) == 1)
    patient = Worker(lambda: pool.release(pool.acquire(timeout_s=3600)))
    eventually(lambda: len(pool._places.waiters) == 2)
    pool.release(lease, discard=BROKEN)
    with pytest.raises(ConnectionRefused):
        hasty.result()
    driver.refuses = None
    patient.result()
    pool.close()


def test_a_failing_server_is_asked_by_one_at_a_time(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=10, acquire_timeout_s=20, background=True)
    pool.release(pool.acquire(), discard=BROKEN)
    driver.refuses = REFUSED
    first = Worker(lambda: pool.release(pool.acquire()))
    eventually(lambda: pool.snapshot()["connect_failures"] >= 1)
    driver.attempts_at_once_max = 0
    workers = [Worker(lambda: pool.release(pool.acquire())) for _ in range(100)]
    eventually(lambda: pool.snapshot()["connect_failures"] >= 5)
    assert driver.attempts_at_once_max == 1
    failures_of_a_hundred = pool.snapshot()["connect_failures"]
    assert failures_of_a_hundred < 20
    driver.refuses = None
    for worker in [first, *workers]:
        worker.result()
    pool.close()


def test_a_server_that_comes_back_is_not_stampeded(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=16, acquire_timeout_s=20)
    pool.release(pool.acquire(), discard=BROKEN)
    driver.refuses = REFUSED
    gate, go_home = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        lease = pool.acquire()
        assert go_home.wait(20)
        pool.release(lease)

    workers = [Worker(hold)]
    eventually(lambda: pool.housekeeper.run_once() and pool.snapshot()["connect_failures"] >= 3)
    workers += [Worker(hold) for _ in range(15)]
    eventually(lambda: pool._places.waiters)
    driver.while_connecting = lambda: gate.acquire(timeout=20)
    driver.refuses = None
    eventually(lambda: pool.housekeeper.run_once() and driver.attempts_at_once == 1)
    # After each success twice as many may be under way; at last, all the others.
    for opened, at_once in enumerate((1, 2, 4, 8, 12)):
        eventually(lambda at_once=at_once: driver.attempts_at_once == at_once)  # type: ignore[misc]
        assert driver.open == opened + at_once
        gate.release()
    gate.release(100)
    eventually(lambda: driver.attempts_at_once == 0 and driver.open == 16)
    go_home.set()
    for worker in workers:
        worker.result()
    pool.close()


def test_a_dead_server_costs_the_line_one_refusal_not_one_each(driver: FakeDriver, clock: FakeClock) -> None:
    """With a time-out of ten seconds for a connection, thirty in line would wait for five minutes."""
    pool = make_pool(driver, clock=clock, max_size=1)
    pool.release(pool.acquire(), discard=BROKEN)
    connecting, go_on = threading.Event(), threading.Event()

    def time_out() -> None:
        connecting.set()
        assert go_on.wait(20)
        clock.advance(10)
        raise REFUSED

    driver.while_connecting = time_out
    first = Worker(lambda: pool.acquire(timeout_s=5))
    assert connecting.wait(20)
    line = [Worker(lambda: pool.acquire(timeout_s=15)) for _ in range(30)]
    eventually(lambda: len(pool._places.waiters) == 30)
    go_on.set()
    with pytest.raises(ConnectionRefused):
        first.result()
    for worker in line:
        with pytest.raises((PoolUnavailable, ConnectionRefused)):
            worker.result()
    # The attempt that was under way, and the one that the outage's first moment allows.
    assert driver.attempts <= 1 + 2
    consistent(pool, driver)


def test_a_mistake_in_a_program_is_no_outage(driver: FakeDriver) -> None:
    driver.refuses = TypeError("connect() got an unexpected keyword argument 'hots'")
    pool = make_pool(driver)
    for _ in range(5):
        with pytest.raises(TypeError, match="hots"):
            pool.acquire()
    assert driver.attempts == 5
    assert pool.snapshot()["outage"] == ""
    consistent(pool, driver)


class InterfaceError(Exception):
    """What any driver may call it: mysqlclient is not installed everywhere."""


@pytest.mark.parametrize("error", [psycopg.OperationalError(), InterfaceError(), sqlite3.OperationalError()])
def test_what_drivers_call_operational_is_the_servers_doing(error: Exception) -> None:
    assert is_refusal(error)
    assert not is_refusal(psycopg.ProgrammingError())


def test_a_cold_pool_hopes_as_long_as_one_attempt_is_under_way(driver: FakeDriver) -> None:
    """A server that is nearly full: to refuse takes it less time than to let somebody in."""
    pool = make_pool(driver, max_size=4, acquire_timeout_s=20, background=True)
    all_there, refused = threading.Barrier(4), threading.Event()
    admitted = threading.Semaphore(1)

    def admit_one() -> None:
        all_there.wait(20)
        if not admitted.acquire(blocking=False):
            driver.while_connecting = refuse
            refuse()
        assert refused.wait(20)

    def refuse() -> None:
        raise ConnectionRefused("too many clients already")

    driver.while_connecting = admit_one
    workers = [Worker(lambda: pool.release(pool.acquire())) for _ in range(4)]
    eventually(lambda: pool.snapshot()["connect_failures"] == 3)
    late = Worker(lambda: pool.release(pool.acquire()))
    eventually(lambda: len(pool._places.waiters) == 4)
    refused.set()
    for worker in [*workers, late]:
        worker.result()
    assert driver.open == 1
    pool.close()


def test_when_the_last_attempt_of_a_cold_pool_fails_all_are_told(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=4)
    together = threading.Barrier(4)
    driver.while_connecting = lambda: driver.attempts <= 4 and together.wait(20)
    driver.refuses = REFUSED
    workers = [Worker(lambda: pool.acquire(timeout_s=1e6)) for _ in range(12)]
    for worker in workers:
        with pytest.raises((ConnectionRefused, PoolUnavailable)):
            worker.result()
    consistent(pool, driver)


def test_a_full_server_leaves_us_what_we_have(driver: FakeDriver) -> None:
    """max_connections is reached: whoever finds no new connection waits for one of ours."""
    pool = make_pool(driver, max_size=10, background=True)
    lease = pool.acquire()
    driver.refuses = ConnectionRefused("too many clients already")
    waiting = [Worker(lambda: pool.release(pool.acquire(timeout_s=20))) for _ in range(5)]
    eventually(lambda: len(pool._places.waiters) >= 4)
    pool.release(lease)
    for worker in waiting:
        worker.result()
    assert driver.open == 1
    pool.close()


def test_a_lease_that_followed_a_refusal_can_still_be_found_lost(driver: FakeDriver) -> None:
    """The refusal is remembered, but not with the frames, and so the lease, of the one that was refused."""
    pool = make_pool(driver, max_size=2, background=True)
    lease = pool.acquire()
    driver.refuses = ConnectionRefused("too many clients already")
    done = threading.Event()

    def lose() -> None:
        pool.acquire(timeout_s=20)
        done.set()
        assert leave.wait(20)

    leave = threading.Event()
    loser = Worker(lose)
    eventually(lambda: driver.attempts >= 2 and pool._places.waiters)
    pool.release(lease)
    assert done.wait(20)
    assert pool.snapshot()["outage"]
    eventually(lambda: pool.snapshot()["reclaimed"] == 1)
    leave.set()
    loser.result()
    pool.close()


def test_a_timeout_tells_what_the_server_said(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_size=2)
    lease = pool.acquire()
    driver.refuses = REFUSED
    for _ in range(2):
        with pytest.raises(ConnectionRefused):
            pool.acquire(timeout_s=0)
    with pytest.raises(PoolTimeout) as caught:
        pool.acquire(timeout_s=0)
    assert str(caught.value.__cause__) == str(REFUSED)
    # Without holders there is nobody to name.
    pool.release(lease, discard=BROKEN)
    clock.advance(0.01)
    with pytest.raises(PoolUnavailable, match="It said: connection refused"):
        pool.acquire(timeout_s=0)


def test_the_log_has_one_line_for_the_outage_and_one_for_its_end(
    driver: FakeDriver, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(driver, clock=clock)
    driver.refuses = REFUSED
    with caplog.at_level(logging.INFO, "django_wsgiperf.db"):
        for _ in range(5):
            with pytest.raises(ConnectionRefused):
                pool.acquire()
            clock.advance(3)
        driver.refuses = None
        pool.release(pool.acquire())
    assert [record.getMessage() for record in caplog.records] == [
        "Pool test could not open a connection: connection refused",
        "Pool test opens connections again",
    ]
