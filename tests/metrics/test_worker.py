"""The thread that sums and writes: bounded, never in a request's way, once each way in the log, and to the end."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from django_wsgiperf.metrics import providers
from django_wsgiperf.metrics import worker as worker_module
from django_wsgiperf.metrics.minute import Hit
from django_wsgiperf.metrics.modes import mode
from django_wsgiperf.metrics.reading import Reader, route_cells
from django_wsgiperf.metrics.record import Record, current
from django_wsgiperf.metrics.stores.base import Row, Store, StoreError
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.metrics.tally import Cell
from django_wsgiperf.metrics.worker import CHUNK, Worker

from .making import ALWAYS, NOON, Clock, record, requests_in, worker

WAIT_S = 30.0
HIT = Hit(float(NOON), "/books/", "GET", 200, 10, 3000, "hit", -1)


class Watched(MemoryStore):
    """Tells of each writing, and may fail, or keep its writer waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.wrote = threading.Semaphore(0)
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()
        self.seen: list[Record | None] = []

    def write(self, rows: Sequence[Row]) -> None:
        self.seen.append(current.get())
        self.begun.set()
        assert self.may_end.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        super().write(rows)
        self.wrote.release()


def written(store: Store) -> Cell:
    """All that is in the store, together."""
    total = Cell()
    for cell in route_cells(detail for _, detail in Reader(store).details(ALWAYS)).values():
        total.merge(cell)
    return total


@pytest.fixture
def threaded() -> Iterator[Callable[..., Worker]]:
    """Makes workers with a thread of their own, which must end."""
    made: list[Worker] = []

    def make(store: Store, **options: Any) -> Worker:
        made.append(worker(store, mode="thread", **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()
        if each._thread is not None:
            each._thread.join(WAIT_S)
            assert not each._thread.is_alive()


def test_thread_is_started_by_the_first_record_and_writes_by_itself(
    threaded: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "TICK_S", 0.01)
    store = Watched()
    made = threaded(store, interval_s=1.0)
    assert made._thread is None
    made._next_write = 0.0
    made.put(record())
    assert store.wrote.acquire(timeout=WAIT_S)
    assert requests_in(store) == 1
    assert made._thread.daemon  # type: ignore[union-attr]


def test_flush_writes_all_that_came_in_before(threaded: Callable[..., Worker]) -> None:
    store = MemoryStore()
    made = threaded(store)
    for _ in range(3 * CHUNK + 1):
        made.put(record())
    made.put_hit(HIT)
    assert made.flush(WAIT_S)
    assert requests_in(store) == 3 * CHUNK + 2
    assert made.status()["pending"] == 0


def test_flush_of_many_threads_at_once_answers_each(threaded: Callable[..., Worker]) -> None:
    store = MemoryStore()
    made = threaded(store)
    results: list[bool] = []

    def work() -> None:
        for _ in range(10):
            made.put(record())
            results.append(made.flush(WAIT_S))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert results == [True] * 40
    assert requests_in(store) == 40


def test_flush_does_not_wait_longer_than_it_may(threaded: Callable[..., Worker]) -> None:
    store = Watched()
    store.may_end.clear()
    made = threaded(store)
    made.put(record())
    assert not made.flush(0.05)
    store.may_end.set()
    assert made.flush(WAIT_S)
    assert requests_in(store) == 1


def test_records_of_many_threads_are_all_counted(threaded: Callable[..., Worker]) -> None:
    store = MemoryStore()
    made = threaded(store)

    def work() -> None:
        for _ in range(500):
            made.put(record())
            made.put_hit(HIT)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert made.flush(WAIT_S)
    assert requests_in(store) == 4000


def test_hits_of_many_threads_are_all_counted_while_they_are_summed(threaded: Callable[..., Worker]) -> None:
    store = MemoryStore()
    made = threaded(store)
    ended = threading.Event()

    def work(number: int) -> None:
        for _ in range(3000):
            made.count_hit("/books/", 200, 10, 1000 * (number + 1))

    def sum_all_the_time() -> None:
        while not ended.is_set():
            with made._lock:
                made._sum()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        summing = threading.Thread(target=sum_all_the_time)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in (summing, *threads):
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        ended.set()
        summing.join(WAIT_S)
    finally:
        sys.setswitchinterval(interval)
    assert made.flush(WAIT_S)
    cell = written(store)
    assert cell["requests"] == cell.response.count == cell.queue.zeros == 12_000
    assert cell["bytes"] == 120_000
    assert cell.response.sum_ns == 3000 * (1000 + 2000 + 3000 + 4000)
    assert made.status()["pending"] == 0


def test_first_hit_that_is_counted_starts_the_thread(
    threaded: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "TICK_S", 0.01)
    store = Watched()
    made = threaded(store, interval_s=1.0)
    made._next_write = 0.0
    made.count_hit("/", 200, 1, 1)
    made.count_hit("/", 404, 1, 1)
    assert made.flush(WAIT_S)
    assert written(store).outcomes == {("GET", 200): 1, ("GET", 404): 1}


def test_counted_hits_are_bounded_and_wake_the_thread(
    threaded: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = worker(MemoryStore(), max_pending=100, mode="thread")
    made._thread = threading.current_thread()  # Nobody empties it.
    for _ in range(500):
        made.count_hit("/", 200, 1, 1)
    assert made.status()["pending"] == 400
    assert made.status()["dropped"] == 100
    assert made.flush(WAIT_S)
    assert made.status()["pending"] == 0
    monkeypatch.setattr(worker_module, "TICK_S", 3600.0)
    other = threaded(MemoryStore(), max_pending=100)
    summed = threading.Event()
    monkeypatch.setattr(other, "_sum", summed.set)
    for _ in range(210):
        other.count_hit("/", 200, 1, 1)
    assert summed.wait(WAIT_S)


def test_nothing_is_kept_of_hits_where_nobody_sums() -> None:
    made = worker(MemoryStore(), mode="off")
    made.count_hit("/", 200, 1, 1)
    assert made.status()["pending"] == made.status()["dropped"] == 0


def test_last_hits_are_written_at_the_end(threaded: Callable[..., Worker]) -> None:
    store = MemoryStore()
    made = threaded(store)
    made.count_hit("/", 200, 1, 1)
    made.shutdown(WAIT_S)
    assert requests_in(store) == 1


def test_queue_is_bounded_and_what_is_dropped_is_told() -> None:
    store = Watched()
    made = worker(store, max_pending=100, mode="thread")
    made._thread = threading.current_thread()  # Nobody empties it,
    with made._lock:  # and nobody else may.
        for _ in range(150):
            made.put(record())
        for _ in range(500):
            made.put_hit(HIT)
    assert made.status()["pending"] == 100 + 400
    assert made.status()["dropped"] == 50 + 100
    assert made.flush(WAIT_S)
    assert requests_in(store) == 500
    assert sum(each.tally.dropped for each in Reader(store).summaries(ALWAYS)) == 150


def test_many_records_wake_the_thread_before_its_second_is_over(
    threaded: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "TICK_S", 3600.0)
    made = threaded(MemoryStore(), max_pending=100)
    summed = threading.Event()
    monkeypatch.setattr(made, "_sum", summed.set)
    for _ in range(40):
        made.put(record())
    assert summed.wait(WAIT_S)


def test_store_that_hangs_loses_nothing_though_many_requests_come(threaded: Callable[..., Worker]) -> None:
    store = Watched()
    made = threaded(store, max_pending=2000)
    made.put(record())
    store.may_end.clear()
    assert not made.flush(0.01)
    assert store.begun.wait(WAIT_S)
    for _ in range(20_000):
        made.put(record())
        made.put_hit(HIT)
    assert made.status()["dropped"] == 0
    assert made.status()["pending"] <= 2000 + 4 * 2000
    store.may_end.set()
    assert made.flush(WAIT_S)
    assert made.flush(WAIT_S)
    assert requests_in(store) == 40_001


def test_store_that_hangs_for_hours_keeps_memory_bounded(threaded: Callable[..., Worker]) -> None:
    store, clock = Watched(), Clock()
    made = threaded(store, max_pending=100, clock=clock)
    made.put(record())
    store.may_end.clear()
    assert not made.flush(0.01)
    assert store.begun.wait(WAIT_S)
    for _ in range(100):
        clock.now_s += 60
        for _ in range(200):
            made.put(record(at_s=clock.now_s))
    assert made.status()["minutes"] <= 18
    assert made.status()["given_up"] > 0
    store.may_end.set()
    assert made.flush(WAIT_S)
    assert made.flush(WAIT_S)
    assert requests_in(store) + made.status()["given_up"] + made.status()["dropped"] >= 20_001


def test_store_that_is_away_is_told_once_and_its_return_once(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = Watched(), Clock()
    made = worker(store, clock=clock)
    store.error = StoreError("the database 'default': it is gone")
    with caplog.at_level(logging.INFO, "django_wsgiperf.metrics"):
        for _ in range(5):
            made.put(record(at_s=clock.now_s))
            assert not made.flush()
            clock.now_s += 60
        assert made.status()["last_error"] == "the database 'default': it is gone"
        store.error = None
        assert made.flush()
        assert made.flush()
    told = [each.levelname for each in caplog.records if "written" in each.message]
    assert told == ["WARNING", "INFO"]
    assert made.status()["last_error"] == ""
    assert requests_in(store) == 5


def test_error_of_our_own_is_logged_with_its_stack_and_the_thread_lives(
    threaded: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    store = Watched()
    store.error = ZeroDivisionError("a mistake")
    made = threaded(store)
    made.put(record())
    assert not made.flush(WAIT_S)
    assert "ZeroDivisionError" in caplog.text
    store.error = None
    assert made.flush(WAIT_S)
    assert requests_in(store) == 1


def test_its_own_work_belongs_to_no_request() -> None:
    store = Watched()
    made = worker(store)
    mine = record()
    token = current.set(mine)
    try:
        made.put(record())
        made.flush()
        assert current.get() is mine
    finally:
        current.reset(token)
    assert store.seen == [None]


def test_shutdown_writes_the_last_minute_and_takes_leave(threaded: Callable[..., Worker]) -> None:
    store = MemoryStore()
    made = threaded(store, release="v1")
    made.put(record())
    assert made.flush(WAIT_S)
    assert [each.instance for each in store.reports(0)] == [made.instance]
    made.put(record())
    made.shutdown(WAIT_S)
    assert requests_in(store) == 2
    assert [row.closed for row in store.read(ALWAYS, ())] == [True]
    assert store.reports(0) == []
    assert not made._thread.is_alive()  # type: ignore[union-attr]
    marks = [mark[1:] for each in Reader(store).summaries(ALWAYS) for mark in each.tally.marks]
    assert marks == [("start", "v1", made.instance), ("stop", "v1", made.instance)]
    made.shutdown(WAIT_S)
    assert requests_in(store) == 2


def test_shutdown_waits_no_longer_than_it_may(
    threaded: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    store = Watched()
    made = threaded(store)
    made.put(record())
    store.may_end.clear()
    made.shutdown(0.05)
    assert "could not be written within" in caplog.text
    store.may_end.set()


def test_process_without_a_request_writes_nothing_when_it_ends() -> None:
    store = MemoryStore()
    worker(store).shutdown(1.0)
    assert list(store.read(ALWAYS, ())) == []


# -- without a thread


def test_in_tests_no_thread_is_started_and_the_queue_stays_short() -> None:
    made = worker(MemoryStore(), mode="tests")
    for _ in range(2000):
        made.put(record())
        assert made.status()["pending"] <= 260
    assert made._thread is None
    assert made.records > 1000


def test_where_threads_do_not_run_requests_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    made = worker(store, mode="requests")
    made._next_write = 0.0
    monkeypatch.setattr(worker_module, "TICK_S", 0.0)
    made.put(record())
    assert requests_in(store) == 1
    assert made._thread is None


def test_request_does_not_wait_for_another_that_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Watched()
    store.may_end.clear()
    made = worker(store, mode="requests")
    made._next_write = 0.0
    monkeypatch.setattr(worker_module, "TICK_S", 0.0)
    busy = threading.Thread(target=made.put, args=(record(),))
    busy.start()
    assert store.begun.wait(WAIT_S)
    made.put(record())
    assert made.status()["pending"] == 1
    store.may_end.set()
    busy.join(WAIT_S)


class Uwsgi:
    def __init__(self, **opt: object) -> None:
        self.opt = {name.replace("_", "-").encode(): value for name, value in opt.items()}


@pytest.mark.parametrize(
    ("uwsgi", "expected"),
    [
        (Uwsgi(http=b":8000"), "requests"),
        (Uwsgi(enable_threads=True), "thread"),
        (Uwsgi(threads=b"4"), "thread"),
        (None, "thread"),
    ],
)
def test_who_does_the_work(uwsgi: Uwsgi | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core import mail

    assert mode() == "tests", "Django's test environment is set up"
    monkeypatch.delattr(mail, "outbox")
    if uwsgi is not None:
        monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)  # type: ignore[arg-type]
    assert mode() == expected


# -- numbers


def test_status_tells_how_it_fares() -> None:
    clock = Clock(NOON + 5)
    made = worker(clock=clock, max_routes=1)
    for route in ("/a/", "/b/", "/c/"):
        made.put(record(route))
    made.flush()
    status = made.status()
    assert status["records"] == 3
    assert status["routes"] == 1
    assert status["routes_other"] == 2
    assert status["last_flush_s"] == NOON + 5
    assert status["pending"] == status["dropped"] == status["given_up"] == 0
    assert status["minutes"] == 1
    assert status["aggregate_cpu_s"] > 0


def test_cumulative_has_all_since_the_start_and_never_falls() -> None:
    clock = Clock()
    made = worker(clock=clock)
    counts = []
    for minute in range(5):
        clock.now_s = NOON + 60.0 * minute
        made.put(record(at_s=clock.now_s))
        made.flush()
        counts.append(made.cumulative().total()["requests"])
    assert counts == [1, 2, 3, 4, 5]
    made.cumulative().routes.clear()
    assert made.cumulative().total()["requests"] == 5


def test_what_the_server_tells_becomes_the_busy_share(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"threads": 8, "busy": 3, "queued": 2, "queue_peak": 5}
    monkeypatch.setitem(providers._providers, providers.LOAD, lambda: told)
    now = [100.0]
    monkeypatch.setattr(worker_module.time, "monotonic", lambda: now[0])
    store = MemoryStore()
    made = worker(store)
    for _ in range(3):
        now[0] += 1.0
        made.flush()
    (summary,) = Reader(store).summaries(ALWAYS)
    assert summary.tally.thread_ns == 24 * 10**9
    assert summary.tally.queue_peak == 5


def test_provider_that_fails_costs_its_numbers_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise RuntimeError("not now")

    monkeypatch.setitem(providers._providers, providers.POOLS, fails)
    monkeypatch.setattr(providers, "_failed", set())
    made = worker()
    made.put(record())
    assert made.flush()
    assert made.flush()
    assert caplog.text.count("are missing from the metrics") == 1


def test_finished_records_are_let_go() -> None:
    class Marked(Record):
        __slots__ = ("__weakref__",)

    made = worker(slow_samples=0)
    one = Marked("GET")
    one.route, one.status = "/a/", 200
    one.end(one.began_ns + 5)
    gone = weakref.ref(one)
    made.put(one)
    del one
    made.flush()
    gc.collect()
    assert gone() is None
