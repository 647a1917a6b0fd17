"""What a pool does at leisure: first duty by duty with a clock of our own, then in its thread."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading

import pytest

from django_wsgiperf.db.housekeeper import Housekeeper

from .fakes import ConnectionRefused, FakeClock, FakeDriver, Worker, consistent, eventually, make_pool


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_the_idle_are_closed_when_their_time_is_up_the_longest_idle_first(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, idle_timeout_s=60, min_idle=1)
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        pool.release(lease)
        clock.advance(10)
    clock.advance(35)
    pool.housekeeper.run_once()
    assert [lease.raw.closed for lease in leases] == [True, False, False]
    clock.advance(100)
    pool.housekeeper.run_once()
    assert [lease.raw.closed for lease in leases] == [True, True, False]
    assert pool.snapshot()["closed"] == {"idle": 2}
    consistent(pool, driver)


def test_what_is_asked_or_used_does_not_become_less_idle_or_more(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, idle_timeout_s=60, keepalive_s=20)
    pool.release(pool.acquire())
    for _ in range(2):
        clock.advance(25)
        pool.housekeeper.run_once()
    assert driver.pings == 2
    clock.advance(15)
    pool.housekeeper.run_once()
    assert pool.snapshot()["closed"] == {"idle": 1}


def test_idle_ones_past_their_lifetime_are_replaced(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_lifetime_s=100, lifetime_jitter=0, min_idle=2)
    assert pool.prewarm() == 2
    old = [entry.raw for entry in pool._places.idle]
    clock.advance(101)
    pool.housekeeper.run_once()
    assert all(raw is not None and raw.closed for raw in old)
    assert pool.snapshot()["closed"] == {"lifetime": 2}
    assert pool.snapshot()["db.client.connection.count"]["idle"] == 2
    assert driver.open_max == 2


def test_the_minimum_is_kept_as_far_as_the_maximum_allows(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=3, min_idle=2)
    pool.housekeeper.run_once()
    assert driver.open == 2
    leases = [pool.acquire(), pool.acquire()]
    pool.housekeeper.run_once()
    assert driver.open == 3
    for lease in leases:
        pool.release(lease)
    consistent(pool, driver)


def test_a_server_that_is_down_is_asked_for_the_minimum_once_a_round_at_most(driver: FakeDriver) -> None:
    pool = make_pool(driver, min_idle=5)
    driver.refuses = ConnectionRefused("no")
    pool.housekeeper.run_once()
    assert driver.attempts == 1
    driver.refuses = None
    pool.housekeeper.run_once()
    assert driver.open == 5


def test_the_minimum_is_not_refilled_ahead_of_those_who_wait(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_size=2, min_idle=2)
    pool.release(pool.acquire())
    held = pool.acquire()
    driver.refuses = ConnectionRefused("no")
    waiting = Worker(lambda: pool.acquire(timeout_s=1e6))
    eventually(lambda: pool._places.waiters)
    driver.refuses = None
    clock.advance(10)
    pool.housekeeper.run_once()
    # It connected in its own thread.
    assert waiting.result().is_new
    pool.release(held)


def test_keeping_alive_asks_those_that_were_quiet_and_closes_the_dead(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, keepalive_s=30)
    first, second, third = pool.acquire(), pool.acquire(), pool.acquire()
    pool.release(first)
    pool.release(second)
    clock.advance(31)
    pool.release(third)
    second.raw.alive = False
    pool.housekeeper.run_once()
    assert driver.pings == 2
    assert [entry.raw for entry in pool._places.idle] == [first.raw, third.raw]
    assert pool.snapshot()["closed"] == {"dead": 1}
    assert (pool.snapshot()["pings"], pool.snapshot()["ping_failures"]) == (2, 1)


def test_one_found_dead_casts_doubt_on_those_used_just_now(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, keepalive_s=30)
    first, second = pool.acquire(), pool.acquire()
    pool.release(first)
    clock.advance(31)
    pool.release(second)
    driver.kill()
    pool.housekeeper.run_once()
    assert pool.acquire().is_new
    assert pool.snapshot()["closed"] == {"dead": 2}


def test_one_that_is_being_asked_is_lent_to_nobody(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, keepalive_s=30, max_size=1)
    pool.release(pool.acquire())
    clock.advance(31)
    asking, go_on = threading.Event(), threading.Event()

    def ask(raw: object) -> None:
        asking.set()
        assert go_on.wait(20)

    driver.while_asking = ask
    housekeeping = Worker(pool.housekeeper.run_once)
    assert asking.wait(20)
    waiting = Worker(lambda: pool.acquire(timeout_s=1e6))
    eventually(lambda: pool._places.waiters)
    assert "(keeping alive)" in str(pool.holders()[0])
    go_on.set()
    assert not waiting.result().is_new
    housekeeping.result()
    assert driver.attempts == 1


def test_one_evicted_while_it_is_being_asked_does_not_come_back(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, keepalive_s=30)
    pool.release(pool.acquire())
    clock.advance(31)
    driver.while_asking = lambda raw: pool.evict_all("just now")
    pool.housekeeper.run_once()
    assert driver.open == 0
    assert pool.snapshot()["closed"] == {"evicted": 1}


def test_a_holder_that_keeps_one_too_long_is_logged_once_with_its_stack(
    driver: FakeDriver, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(driver, clock=clock, leak_threshold_s=5)
    held, go_on = threading.Event(), threading.Event()

    def slow_report() -> None:
        lease = pool.acquire(label="GET shop:report")
        lease.last_sql = "SELECT * FROM sales"
        lease.raw.state = "active"
        held.set()
        assert go_on.wait(20)
        pool.release(lease)

    worker = Worker(slow_report, name="request-3")
    assert held.wait(20)
    with caplog.at_level(logging.WARNING, "django_wsgiperf.db"):
        clock.advance(4)
        pool.housekeeper.run_once()
        assert not caplog.records
        clock.advance(2)
        pool.housekeeper.run_once()
        pool.housekeeper.run_once()
    (record,) = caplog.records
    text = record.getMessage()
    assert "request-3, GET shop:report, held 6.000 s, active, last SQL: SELECT * FROM sales" in text
    assert re.search(r"test_housekeeper\.py:\d+ in slow_report", text)
    go_on.set()
    worker.result()


def test_the_idle_are_no_leak(driver: FakeDriver, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    pool = make_pool(driver, clock=clock, leak_threshold_s=5)
    lease = pool.acquire()
    pool.release(lease)
    clock.advance(10)
    with caplog.at_level(logging.WARNING, "django_wsgiperf.db"):
        pool.housekeeper.run_once()
    assert not caplog.records


def test_after_the_machine_has_slept_no_connection_is_trusted(driver: FakeDriver, clock: FakeClock) -> None:
    """The pool's clock stands still in a machine that sleeps; its calendar does not."""
    pool = make_pool(driver, clock=clock)
    calendar = FakeClock()
    pool.housekeeper = Housekeeper(pool, calendar_ns=calendar)
    pool.housekeeper.run_once()
    pool.release(pool.acquire())
    calendar.advance(3600)
    pool.housekeeper.run_once()
    driver.kill()
    assert pool.acquire().is_new
    assert driver.pings == 1


@pytest.mark.parametrize("leap_s", [-3600.0, 1.0])
def test_a_calendar_set_back_or_a_little_forward_means_nothing(
    driver: FakeDriver, clock: FakeClock, leap_s: float
) -> None:
    pool = make_pool(driver, clock=clock)
    calendar = FakeClock()
    pool.housekeeper = Housekeeper(pool, calendar_ns=calendar)
    pool.housekeeper.run_once()
    pool.release(pool.acquire())
    calendar.advance(leap_s)
    pool.housekeeper.run_once()
    pool.release(pool.acquire())
    assert driver.pings == 0


def test_a_clock_that_leaps_ahead_closes_what_is_old_and_breaks_nothing(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, keepalive_s=30)
    held, idle = pool.acquire(), pool.acquire()
    pool.release(idle)
    clock.advance(10 * 365 * 86400)
    pool.housekeeper.run_once()
    pool.release(held)
    assert pool.acquire().is_new
    consistent(pool, driver)


def test_a_clock_that_goes_back_breaks_nothing(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, keepalive_s=30, leak_threshold_s=5)
    held, idle = pool.acquire(), pool.acquire()
    pool.release(idle)
    clock.advance(-500)
    pool.housekeeper.run_once()
    pool.release(held)
    pool.release(pool.acquire())
    consistent(pool, driver)
    assert pool.snapshot()["db.client.connection.use_time"]["sum_s"] == 0


@pytest.mark.parametrize(
    ("config", "rest_s"),
    [
        ({}, 5.0),
        ({"keepalive_s": 8}, 1.0),
        ({"leak_threshold_s": 0.001}, 0.02),
        ({"max_lifetime_s": 0, "idle_timeout_s": 0}, 5.0),
    ],
)
def test_rounds_are_as_frequent_as_the_shortest_limit_needs(
    driver: FakeDriver, config: dict[str, float], rest_s: float
) -> None:
    assert make_pool(driver, **config).housekeeper.run_once() == rest_s


# -- the thread


def test_the_thread_begins_with_the_first_connection_and_ends_with_the_pool(driver: FakeDriver) -> None:
    def running() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "wsgiperf-pool-test"]

    eventually(lambda: not running(), "the threads of earlier tests have ended")
    pool = make_pool(driver, background=True)
    assert not running()
    lease = pool.acquire()
    assert len(running()) == 1
    assert running()[0].daemon
    pool.release(lease)
    pool.acquire()
    pool.close()
    eventually(lambda: not running())


def test_a_thread_that_cannot_be_started_is_tried_again(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = make_pool(driver, background=True)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        first = pool.acquire()
    second = pool.acquire()
    assert [thread.name for thread in threading.enumerate()].count("wsgiperf-pool-test") == 1
    pool.release(first)
    pool.release(second)
    pool.close()
    eventually(lambda: "wsgiperf-pool-test" not in [thread.name for thread in threading.enumerate()])


def test_the_thread_does_its_rounds(driver: FakeDriver) -> None:
    pool = make_pool(driver, background=True, min_idle=1, keepalive_s=0.05, idle_timeout_s=0.1)
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        pool.release(lease)
    eventually(lambda: pool.snapshot()["closed"].get("idle", 0) >= 2)
    eventually(lambda: pool.snapshot()["db.client.connection.count"] == {"idle": 1, "used": 0})
    eventually(lambda: pool.snapshot()["pings"] > 2)
    pool.close()
    assert driver.open == 0


def test_a_round_that_fails_is_logged_and_not_the_last(driver: FakeDriver, caplog: pytest.LogCaptureFixture) -> None:
    pool = make_pool(driver, background=True, keepalive_s=0.05)
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError("a bug")

    lease = pool.acquire()
    with caplog.at_level(logging.CRITICAL, "django_wsgiperf.db"):
        pool.housekeeper.defer(fail)
        assert failed.wait(20)
        eventually(lambda: "The housekeeper of pool test failed" in caplog.text)
    pool.release(lease)
    eventually(lambda: pool.snapshot()["pings"] > 0)
    pool.close()


_EXIT = """
import atexit, sys, threading
sys.path.insert(0, {path!r})
from tests.db.fakes import FakeDriver, make_pool
driver = FakeDriver()
pool = make_pool(driver, background=True, keepalive_s=0.001, leak_threshold_s=0.001)
atexit.register(lambda: print("open at exit:", driver.open))
{body}
"""


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        pytest.param("leases = [pool.acquire(), pool.acquire()]; pool.release(leases[0])", "2", id="never closed"),
        pytest.param("pool.release(pool.acquire()); atexit.register(pool.close)", "0", id="closed at exit"),
        pytest.param("lease = pool.acquire(); atexit.register(pool.close, 20)", "1", id="closed with a lease out"),
        pytest.param("atexit.register(lambda: pool.release(pool.acquire()))", "1", id="first used at exit"),
        pytest.param(
            "threading.Thread(target=lambda: (pool.acquire(), threading.Event().wait()), daemon=True).start()\n"
            "from tests.db.fakes import eventually; eventually(lambda: driver.open)\n"
            "atexit.register(pool.close, 0.1)",
            "1",
            id="a daemon thread has one",
        ),
    ],
)
def test_the_interpreter_ends_with_a_pool_open(body: str, printed: str, pytestconfig: pytest.Config) -> None:
    program = _EXIT.format(path=str(pytestconfig.rootpath), body=body)
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=100)
    assert done.stdout == f"open at exit: {printed}\n"
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
