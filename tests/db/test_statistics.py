"""The numbers of a pool: what is counted where, and the names that others rely on."""

from __future__ import annotations

import json
import threading

from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.db.pool import PoolConfig
from django_wsgiperf.db.statistics import Histogram, PoolStatistics

from .fakes import FakeClock, FakeDriver, Worker, make_pool


@given(st.lists(st.integers(-(10**9), 10**18)))
def test_every_duration_is_in_the_bucket_that_holds_it(durations_ns: list[int]) -> None:
    histogram = Histogram()
    for duration_ns in durations_ns:
        histogram.record(duration_ns)
    shown = histogram.snapshot()
    assert shown["count"] == sum(shown["buckets_us"].values()) == len(durations_ns)
    assert shown["sum_s"] == sum(duration_ns for duration_ns in durations_ns if duration_ns > 0) / 1e9
    for bound, count in shown["buckets_us"].items():
        least, most = (int(bound) // 2 if int(bound) > 1 else 0) * 1000, int(bound) * 1000
        inside = [each for each in durations_ns if least <= max(each, 0) < most]
        assert count == len(inside) or int(bound) == 1 << 39


def test_the_last_bucket_takes_what_is_longer() -> None:
    histogram = Histogram()
    histogram.record(10**20)
    assert histogram.snapshot()["buckets_us"] == {str(1 << 39): 1}


def test_the_names_are_a_contract() -> None:
    """Whoever reads these is not in this repository alone: keys may be added here, never taken away."""
    shown = make_pool(FakeDriver(), max_size=7, min_idle=2).snapshot()
    assert json.loads(json.dumps(shown)) == shown
    assert shown == {
        "db.client.connection.pool.name": "test",
        "db.client.connection.count": {"idle": 0, "used": 0},
        "db.client.connection.max": 7,
        "db.client.connection.idle.min": 2,
        "db.client.connection.idle.max": 7,
        "db.client.connection.pending_requests": 0,
        "db.client.connection.timeouts": 0,
        "db.client.connection.create_time": {"count": 0, "sum_s": 0.0, "buckets_us": {}},
        "db.client.connection.wait_time": {"count": 0, "sum_s": 0.0, "buckets_us": {}},
        "db.client.connection.use_time": {"count": 0, "sum_s": 0.0, "buckets_us": {}},
        "created": 0,
        "connect_failures": 0,
        "closed": {},
        "resets": {},
        "pings": 0,
        "ping_failures": 0,
        "overloaded": 0,
        "unavailable": 0,
        "reclaimed": 0,
        "forks": 0,
        "used_max": 0,
        "open_max": 0,
        "pending_max": 0,
        "outage": "",
    }


def test_times_are_those_of_the_clock() -> None:
    driver, clock = FakeDriver(), FakeClock()
    driver.while_connecting = lambda: clock.advance(0.25)
    pool = make_pool(driver, clock=clock)
    lease = pool.acquire()
    assert lease.waited_ns == 250_000_000
    clock.advance(3)
    pool.release(lease)
    pool.release(pool.acquire())
    shown = pool.snapshot()
    assert shown["db.client.connection.create_time"]["sum_s"] == 0.25
    assert shown["db.client.connection.wait_time"] == {
        "count": 2,
        "sum_s": 0.25,
        "buckets_us": {"1": 1, str(1 << 18): 1},
    }
    assert shown["db.client.connection.use_time"]["sum_s"] == 3


def test_high_water_marks_stay() -> None:
    pool = make_pool(FakeDriver(), max_size=5)
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        pool.release(lease)
    pool.evict_all("test")
    pool.release(pool.acquire())
    shown = pool.snapshot()
    assert (shown["used_max"], shown["open_max"], shown["pending_max"]) == (3, 3, 0)
    assert shown["db.client.connection.count"] == {"idle": 1, "used": 0}


def test_resets_are_counted_by_kind_from_any_thread() -> None:
    statistics = PoolStatistics(threading.RLock())

    def count() -> None:
        for _ in range(500):
            statistics.count_reset("hard")

    for worker in [Worker(count) for _ in range(4)]:
        worker.result()
    statistics.count_reset("rollback")
    shown = statistics.snapshot(name="", config=PoolConfig(), idle=0, opened=0, pending=0, outage="")
    assert shown["resets"] == {"hard": 2000, "rollback": 1}
