"""The doors that requests use: cheap, harmless whatever happens behind them, and one worker to a process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from django.test import override_settings

from django_wsgiperf.metrics import pipeline, query
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.metrics.worker import Worker

from .making import record


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in which nothing has been counted."""
    monkeypatch.setattr(pipeline, "_worker", None)
    monkeypatch.setattr(pipeline, "_failed", False)
    monkeypatch.setattr(pipeline, "running", {})
    yield
    pipeline.worker().stop()


def finished(route: str = "/books/") -> Record:
    """A request that has just ended."""
    made = Record("GET")
    made.route, made.status, made.ttfb_ns = route, 200, 5000
    made.end(made.began_ns + 5000)
    return made


def test_record_is_running_from_begin_to_submit() -> None:
    one, two = finished(), finished()
    pipeline.begin(one)
    pipeline.begin(two)
    assert set(pipeline.running) == {one, two}
    pipeline.submit(one)
    assert set(pipeline.running) == {two}
    pipeline.forget(two)
    pipeline.forget(two)
    assert pipeline.running == {}
    assert pipeline.flush()
    assert query.overview().totals.requests == 1


def test_hit_of_the_page_cache_is_counted_though_django_never_saw_it() -> None:
    for _ in range(3):
        pipeline.page_cache_hit("/books/", "GET", 200, 1000, 4000, "hit", 100)
    pipeline.page_cache_hit("/books/", "GET", 200, 1000, 4000, "stale")
    assert pipeline.flush()
    (row,) = query.routes("15m")
    assert row.totals.page_cache == {"hit": 3, "stale": 1}
    assert row.totals.bytes == 4000


def test_in_tests_numbers_are_kept_in_memory_and_no_database_is_touched() -> None:
    # pytest-django would fail this test for a query.
    pipeline.submit(finished())
    assert pipeline.flush()
    assert isinstance(pipeline.worker().store(), MemoryStore)


def test_store_that_a_test_names_is_used() -> None:
    with override_settings(WSGIPERF={"METRICS": {"STORE": "database"}}):
        assert not isinstance(pipeline.worker().store(), MemoryStore)


def test_changed_settings_make_another_worker() -> None:
    before = pipeline.worker()
    with override_settings(WSGIPERF={"METRICS": {"MAX_ROUTES": 1, "RELEASE": "v9", "HOST": "shop"}}):
        for route in ("/a/", "/b/"):
            pipeline.submit(finished(route))
        assert pipeline.worker() is not before
        assert pipeline.flush()
        assert sorted(row.route for row in query.routes("15m")) == ["(other)", "/a/"]
        assert query.overview().releases == ("v9",)
        assert query.overview().hosts == ("shop",)


def test_nothing_is_kept_when_measuring_is_turned_off() -> None:
    with override_settings(WSGIPERF={"METRICS": {"ENABLED": False}}):
        pipeline.submit(finished())
        pipeline.page_cache_hit("/", "GET", 200, 1, 1, "hit")
        pipeline.start()
        assert pipeline.status()["pending"] == 0
        assert pipeline.flush()
        assert query.overview().totals.requests == 0


def test_wrong_settings_never_reach_a_request(caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(WSGIPERF={"METRICS": {"MAX_ROUTES": "many"}}):
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                pipeline.begin(made := finished())
                pipeline.submit(made)
                pipeline.page_cache_hit("/", "GET", 200, 1, 1, "hit")
                pipeline.start()
                assert not pipeline.flush()
                pipeline.shutdown()
        assert caplog.text.count("Requests are not counted") == 1
        assert pipeline.running == {}


def test_error_behind_the_door_never_reaches_a_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: Worker, each: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Worker, "put", fails)
    monkeypatch.setattr(Worker, "put_hit", fails)
    pipeline.submit(finished())
    pipeline.page_cache_hit("/", "GET", 200, 1, 1, "hit")
    assert caplog.text.count("Requests are not counted") == 1


def test_threads_that_come_first_at_once_get_one_worker() -> None:
    start = threading.Barrier(8)
    got: list[Worker] = []

    def first() -> None:
        start.wait(20)
        got.append(pipeline.worker())

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_cumulative_is_of_this_process_alone() -> None:
    pipeline.submit(finished())
    pipeline.flush()
    assert pipeline.cumulative().total()["requests"] == 1


def test_record_may_be_submitted_while_one_is_made_into_sums() -> None:
    # The collector may run in any line of the aggregator, and with it the end of a request of the same thread.
    made = pipeline.worker()
    ended: list[int] = []

    class Ending(Record):
        @property
        def method(self) -> str:  # type: ignore[override]
            if len(ended) < 300:
                ended.append(1)
                pipeline.submit(finished("/nested/"))
            return "GET"

        @method.setter
        def method(self, value: str) -> None:
            pass

    pipeline.submit(record())
    one = Ending("GET")
    one.route, one.status = "/outer/", 200
    one.end(one.began_ns + 1)
    pipeline.submit(one)
    assert made.flush()
    assert made.flush()
    assert made.records == 2 + len(ended)
