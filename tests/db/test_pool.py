"""What a pool does for its holders, one thread at a time: a pretended server, and mostly a clock of our own."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from django_wsgiperf.db import PoolClosed, PoolConfig, PoolOverloaded, PoolTimeout
from django_wsgiperf.db.pool import BROKEN

from .fakes import ConnectionRefused, FakeClock, FakeDriver, Holder, Worker, consistent, eventually, make_pool


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# -- lending


def test_a_connection_is_opened_when_it_is_needed_and_not_before(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    assert driver.attempts == 0
    lease = pool.acquire()
    assert driver.attempts == 1
    assert lease.is_new
    assert lease.raw.number == 1


def test_the_connection_given_back_last_is_lent_first(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock)
    first, second = pool.acquire(), pool.acquire()
    pool.release(first)
    pool.release(second)
    again = pool.acquire()
    assert again.raw is second.raw
    assert not again.is_new
    assert driver.attempts == 2


def test_a_connection_used_just_now_is_lent_unasked(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, bypass_window_s=0.5)
    pool.release(pool.acquire())
    clock.advance(0.4)
    pool.release(pool.acquire())
    assert driver.pings == 0
    clock.advance(0.6)
    pool.release(pool.acquire())
    assert driver.pings == 1


def test_an_answer_counts_as_use(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock)
    pool.release(pool.acquire())
    clock.advance(1)
    pool.release(pool.acquire())
    pool.release(pool.acquire())
    assert driver.pings == 1


def test_a_dead_connection_is_replaced_by_the_next_idle_one(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock)
    first, second = pool.acquire(), pool.acquire()
    pool.release(first)
    pool.release(second)
    clock.advance(1)
    second.raw.alive = False
    lease = pool.acquire()
    assert lease.raw is first.raw
    assert second.raw.closed
    assert pool.snapshot()["closed"] == {"dead": 1}
    consistent(pool, driver)


def test_when_all_are_dead_one_is_opened(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_size=2)
    first, second = pool.acquire(), pool.acquire()
    pool.release(first)
    pool.release(second)
    clock.advance(1)
    driver.kill()
    assert pool.acquire().is_new
    assert driver.open == 1
    assert driver.open_max == 2


def test_a_question_that_raises_is_an_answer(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock)
    pool.release(pool.acquire())
    clock.advance(1)

    def fall_over(raw: object) -> None:
        raise OSError("connection reset")

    driver.while_asking = fall_over
    assert pool.acquire().is_new


def test_one_that_broke_casts_doubt_on_those_used_just_now(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock)
    first, second = pool.acquire(), pool.acquire()
    pool.release(second)
    driver.kill()
    pool.release(first, discard=BROKEN)
    assert pool.acquire().is_new
    assert driver.pings == 1


def test_one_discarded_for_its_own_sake_casts_no_doubt(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock)
    first, second = pool.acquire(), pool.acquire()
    pool.release(second)
    pool.release(first, discard="open cursor")
    assert pool.acquire().raw is second.raw
    assert driver.pings == 0
    assert pool.snapshot()["closed"] == {"open cursor": 1}


def test_an_old_connection_is_not_lent(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_lifetime_s=100, lifetime_jitter=0)
    pool.release(pool.acquire())
    clock.advance(99.9)
    lease = pool.acquire()
    assert not lease.is_new
    pool.release(lease)
    clock.advance(0.2)
    assert pool.acquire().is_new
    assert pool.snapshot()["closed"] == {"lifetime": 1}


def test_lifetimes_differ_so_that_not_all_end_together(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_size=50, max_lifetime_s=100, lifetime_jitter=0.2)
    leases = [pool.acquire() for _ in range(50)]
    lifetimes_s = {(lease.entry.expires_ns - clock()) / 1e9 for lease in leases if lease.entry}
    assert len(lifetimes_s) > 40
    assert min(lifetimes_s) >= 80
    assert max(lifetimes_s) <= 100


def test_without_a_lifetime_nothing_grows_old(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_lifetime_s=0)
    pool.release(pool.acquire())
    clock.advance(10 * 365 * 86400)
    assert not pool.acquire().is_new


# -- giving back


def test_giving_back_twice_is_giving_back_once(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    lease = pool.acquire()
    pool.release(lease)
    pool.release(lease)
    pool.release(lease, discard=BROKEN)
    consistent(pool, driver)
    assert pool.snapshot()["db.client.connection.count"] == {"idle": 1, "used": 0}


def test_an_old_lease_does_not_touch_the_next_holders_connection(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    old = pool.acquire()
    pool.release(old)
    new = pool.acquire()
    assert new.raw is old.raw
    pool.release(old, discard=BROKEN)
    assert not new.raw.closed
    assert pool.snapshot()["db.client.connection.count"] == {"idle": 0, "used": 1}


def test_a_connection_that_cannot_be_closed_makes_room_all_the_same(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)

    def fall_over(raw: object) -> None:
        raise OSError("broken pipe")

    lease = pool.acquire()
    driver.while_closing = fall_over
    pool.release(lease, discard=BROKEN)
    assert pool.acquire(timeout_s=0).is_new


# -- the line


def test_no_more_than_the_maximum(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=3)
    leases = [pool.acquire() for _ in range(3)]
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout_s=0)
    assert driver.open_max == 3
    assert len({lease.raw.number for lease in leases}) == 3


def test_a_connection_being_closed_still_counts(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    closing, go_on = threading.Event(), threading.Event()

    def close_slowly(raw: object) -> None:
        closing.set()
        assert go_on.wait(20)

    driver.while_closing = close_slowly
    lease = pool.acquire()
    worker = Worker(lambda: pool.release(lease, discard=BROKEN))
    assert closing.wait(20)
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout_s=0)
    go_on.set()
    worker.result()
    assert pool.acquire(timeout_s=0).is_new
    assert driver.open_max == 1


def test_those_who_wait_are_served_in_order(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    lease = pool.acquire()
    served: list[int] = []

    def wait(number: int) -> None:
        mine = pool.acquire(timeout_s=20)
        served.append(number)
        pool.release(mine)

    workers = []
    for number in range(10):
        workers.append(Worker(lambda number=number: wait(number)))  # type: ignore[misc]
        eventually(lambda number=number: len(pool._places.waiters) == number + 1)  # type: ignore[misc]
    pool.release(lease)
    for worker in workers:
        worker.result()
    assert served == list(range(10))
    assert driver.attempts == 1


def test_nobody_overtakes_the_line(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    lease = pool.acquire()
    waiting = Holder(pool)
    eventually(lambda: pool._places.waiters)
    pool.release(lease)
    # The waiter may still sleep, but the connection is its own already.
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout_s=0)
    waiting.may_go.set()
    assert waiting.result().raw is lease.raw


def test_a_waiter_gets_the_room_of_a_connection_that_was_closed(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    lease = pool.acquire()
    waiting = Worker(lambda: pool.acquire(timeout_s=20))
    eventually(lambda: pool._places.waiters)
    pool.release(lease, discard=BROKEN)
    assert waiting.result().is_new
    assert driver.open_max == 1


def test_a_waiter_handed_a_dead_connection_keeps_its_place(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_size=1, bypass_window_s=0)
    lease = pool.acquire()
    served: list[str] = []

    def wait(name: str) -> None:
        mine = pool.acquire(timeout_s=20)
        served.append(name)
        pool.release(mine)

    first = Worker(lambda: wait("first"))
    eventually(lambda: len(pool._places.waiters) == 1)
    second = Worker(lambda: wait("second"))
    eventually(lambda: len(pool._places.waiters) == 2)
    lease.raw.alive = False
    pool.release(lease)
    first.result()
    second.result()
    assert served == ["first", "second"]
    assert driver.open_max == 1


def test_the_line_has_a_bound_of_its_own(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1, max_waiters=2)
    lease = pool.acquire()
    waiting = [Worker(lambda: pool.release(pool.acquire(timeout_s=20))) for _ in range(2)]
    eventually(lambda: len(pool._places.waiters) == 2)
    with pytest.raises(PoolOverloaded, match=r"2 threads wait for one already: MAX_WAITERS is 2"):
        pool.acquire()
    assert pool.snapshot()["overloaded"] == 1
    pool.release(lease)
    for worker in waiting:
        worker.result()


def test_a_line_of_length_zero_turns_everybody_away(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1, max_waiters=0)
    lease = pool.acquire()
    with pytest.raises(PoolOverloaded):
        pool.acquire()
    pool.release(lease)
    assert pool.acquire().raw is lease.raw


def test_a_timeout_names_the_holders(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock, max_size=2)
    lease = pool.acquire(label="GET shop:book")
    lease.last_sql = "SELECT *\n  FROM book WHERE id = %s"
    lease.raw.state = "idle in transaction"
    clock.advance(2)
    other = pool.acquire()
    clock.advance(1.5)
    with pytest.raises(PoolTimeout) as caught:
        pool.acquire(timeout_s=0)
    text = str(caught.value)
    assert "Pool 'test'" in text
    assert "2 of at most 2 in use" in text
    assert "raise MAX_SIZE in POOL" in text
    lines = text.splitlines()[1:-1]
    name = threading.current_thread().name
    assert lines == [
        f"  {name}, GET shop:book, held 3.500 s, idle in transaction, last SQL: SELECT * FROM book WHERE id = %s",
        f"  {name}, (no label), held 1.500 s, idle",
    ]
    assert [holder.held_s for holder in caught.value.holders] == [3.5, 1.5]
    assert pool.snapshot()["db.client.connection.timeouts"] == 1
    assert other.raw.number == 2


def test_a_timeout_of_a_great_pool_names_the_first_twenty(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=30)
    leases = [pool.acquire(label=f"number {number}") for number in range(30)]
    with pytest.raises(PoolTimeout, match="and 10 more") as caught:
        pool.acquire(timeout_s=0)
    assert len(str(caught.value).splitlines()) == 23
    assert len(caught.value.holders) == len(leases)


def test_a_holder_is_shown_at_the_line_it_is_at(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    held, go_on = threading.Event(), threading.Event()

    def hold_in_a_function_of_this_name() -> None:
        lease = pool.acquire()
        held.set()
        assert go_on.wait(20)
        pool.release(lease)

    worker = Worker(hold_in_a_function_of_this_name, name="holder")
    assert held.wait(20)
    (holder,) = pool.holders()
    assert holder.thread_name == "holder"
    assert any("hold_in_a_function_of_this_name" in line for line in holder.stack())
    go_on.set()
    worker.result()
    assert holder.stack() == []


def test_a_driver_that_cannot_tell_a_state_does_no_harm(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    lease = pool.acquire()
    del lease.raw.state
    assert [holder.state for holder in pool.holders()] == ["unknown"]


# -- all at once


def test_eviction_closes_the_idle_now_and_the_others_when_they_come_back(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    held, idle = pool.acquire(), pool.acquire()
    pool.release(idle)
    pool.evict_all("the database has failed over")
    assert idle.raw.closed
    assert not held.raw.closed
    pool.release(held)
    assert held.raw.closed
    assert pool.acquire().is_new
    assert pool.snapshot()["closed"] == {"evicted": 2}
    consistent(pool, driver)


def test_a_fail_over_that_all_connections_tell_of_replaces_each_once(driver: FakeDriver, clock: FakeClock) -> None:
    pool = make_pool(driver, clock=clock)
    first, second, idle = (pool.acquire() for _ in range(3))
    pool.release(idle)
    pool.fail_over(first, "error 57P01")
    pool.release(first, discard="evicted by 57P01")
    assert idle.raw.closed
    newer = pool.acquire()
    clock.advance(60)
    pool.fail_over(second, "error 57P01")
    pool.release(second, discard="evicted by 57P01")
    pool.release(newer)
    assert not newer.raw.closed
    consistent(pool, driver)


def test_a_server_that_stays_read_only_does_not_cost_all_connections_with_each_error(
    driver: FakeDriver, clock: FakeClock
) -> None:
    pool = make_pool(driver, clock=clock)
    reader = pool.acquire()
    pool.fail_over(reader, "error 25006")
    pool.release(reader)
    reader = pool.acquire()
    for _ in range(4):
        clock.advance(1)
        writer = pool.acquire()
        pool.fail_over(writer, "error 25006")
        pool.release(writer, discard="evicted by 25006")
    writer = pool.acquire()
    pool.release(reader)
    assert not reader.raw.closed
    clock.advance(1)
    # It may have failed over only now.
    pool.fail_over(writer, "error 25006")
    assert reader.raw.closed


def test_a_connection_begun_before_an_eviction_is_used_once(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    driver.while_connecting = lambda: pool.evict_all("now")
    lease = pool.acquire()
    driver.while_connecting = lambda: None
    pool.release(lease)
    assert lease.raw.closed


def test_a_closed_pool_lends_nothing_and_closes_what_comes_back(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    held, idle = pool.acquire(), pool.acquire()
    pool.release(idle)
    pool.close()
    assert idle.raw.closed
    with pytest.raises(PoolClosed, match="Pool 'test' has been closed"):
        pool.acquire()
    pool.release(held)
    assert held.raw.closed
    pool.release(held)
    pool.close()
    assert driver.open == 0


def test_closing_sends_the_line_home(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=1)
    lease = pool.acquire()
    waiting = [Worker(lambda: pool.acquire(timeout_s=20)) for _ in range(3)]
    eventually(lambda: len(pool._places.waiters) == 3)
    pool.close()
    for worker in waiting:
        with pytest.raises(PoolClosed):
            worker.result()
    pool.release(lease)
    assert driver.open == 0


def test_closing_waits_for_what_other_threads_have(driver: FakeDriver) -> None:
    pool = make_pool(driver, background=True)
    held, closing = threading.Event(), threading.Event()

    def hold() -> None:
        lease = pool.acquire()
        held.set()
        assert closing.wait(20)
        pool.release(lease)

    worker = Worker(hold)
    assert held.wait(20)

    def begin_to_close() -> None:
        eventually(lambda: pool._places.closed)
        closing.set()

    other = Worker(begin_to_close)
    pool.close(timeout_s=20)
    assert driver.open == 0
    worker.result()
    other.result()
    assert not any(thread.name == "wsgiperf-pool-test" for thread in threading.enumerate())


def test_a_lease_that_outlives_its_pool_is_closed_when_its_holder_ends(driver: FakeDriver) -> None:
    pool = make_pool(driver, background=True)
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        lease = pool.acquire()
        held.set()
        assert go_on.wait(20)
        del lease

    worker = Worker(hold)
    assert held.wait(20)
    pool.housekeeper._rest_s = 3600
    pool.housekeeper.wake()
    pool.close(timeout_s=0.01)
    assert driver.open == 1
    go_on.set()
    worker.result()
    eventually(lambda: driver.open == 0)
    eventually(lambda: not any(thread.name == "wsgiperf-pool-test" for thread in threading.enumerate()))


def test_the_housekeeper_ends_with_the_last_connection_that_comes_back(driver: FakeDriver) -> None:
    pool = make_pool(driver, background=True)
    lease, other = pool.acquire(), pool.acquire()
    pool.housekeeper._rest_s = 3600
    pool.housekeeper.wake()
    pool.close(timeout_s=0)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "wsgiperf-pool-test"]
    pool.release(lease)
    assert thread.is_alive()
    pool.release(other)
    eventually(lambda: not thread.is_alive())


# -- prewarming


def test_prewarming_opens_side_by_side(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=6)
    together = threading.Barrier(4)
    driver.while_connecting = lambda: together.wait(20)
    assert pool.prewarm(4, timeout_s=20) == 4
    assert driver.attempts_at_once_max == 4
    consistent(pool, driver)
    driver.while_connecting = lambda: None
    assert pool.prewarm(4) == 4
    assert driver.attempts == 4


def test_prewarming_stays_within_the_maximum(driver: FakeDriver) -> None:
    pool = make_pool(driver, max_size=3)
    lease = pool.acquire()
    assert pool.prewarm(100) == 3
    assert driver.open_max == 3
    pool.release(lease)


def test_prewarming_takes_the_minimum_when_not_told_otherwise(driver: FakeDriver) -> None:
    assert make_pool(driver, min_idle=2).prewarm() == 2


def test_prewarming_a_server_that_is_down_fails_soon_and_quietly(driver: FakeDriver) -> None:
    driver.refuses = ConnectionRefused("no")
    pool = make_pool(driver, max_size=20)
    assert pool.prewarm(20, timeout_s=20) == 0
    assert driver.attempts <= 2 * 8
    consistent_after_failures = pool.snapshot()
    assert consistent_after_failures["db.client.connection.count"] == {"idle": 0, "used": 0}


def test_what_prewarming_did_not_manage_in_time_arrives_later(driver: FakeDriver) -> None:
    pool = make_pool(driver)
    go_on = threading.Event()
    driver.while_connecting = lambda: go_on.wait(20)
    assert pool.prewarm(2, timeout_s=0.01) == 0
    go_on.set()
    eventually(lambda: len(pool._places.idle) == 2)
    consistent(pool, driver)


# -- configuration


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_size": 0}, r"max_size is 0; it must be 1 or more"),
        ({"min_idle": -1}, r"min_idle is -1; it must be 0 or more"),
        ({"min_idle": 5, "max_size": 4}, r"min_idle is 5, more than max_size, 4"),
        ({"acquire_timeout_s": float("inf")}, r"acquire_timeout_s is inf"),
        ({"acquire_timeout_s": float("nan")}, r"acquire_timeout_s is nan"),
        ({"lifetime_jitter": 1}, r"lifetime_jitter is 1; it must be less than 1"),
        ({"max_waiters": -1}, r"max_waiters is -1"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PoolConfig(**wrong)  # type: ignore[arg-type]


def test_the_package_loads_neither_a_driver_nor_djangos_databases() -> None:
    program = (
        "import sys, django_wsgiperf.db as db; db.Pool; db.PoolTimeout; "
        "print([name for name in ('django.db', 'psycopg', 'MySQLdb', 'sqlite3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import django_wsgiperf.db as package

    assert "Pool" in dir(package)
    with pytest.raises(AttributeError, match="Poole"):
        package.Poole  # noqa: B018
