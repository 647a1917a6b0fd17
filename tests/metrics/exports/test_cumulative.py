"""Sums since the start: those of a worker's place go on when the worker does not, and never fall."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.metrics import cumulative, payload, pipeline
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.metrics.tally import Tally
from django_wsgiperf.server.ledger import Ledger
from tests.metrics.making import record, worker

from .counted import ROUTE, cell, tally


class Site:
    """A server's workers, each of whose counts is set by the test, and whose turn comes one at a time."""

    def __init__(self) -> None:
        self.ledger = Ledger(4, 100_000)
        self.counted: dict[str, Tally] = {}
        self.now = ""
        self.is_stuck = False

    def worker(self, name: str, place: int) -> None:
        """A new worker at a place; from now on it is the one that does things."""
        cumulative._after_fork_in_child()
        self.counted[name] = Tally()
        self.now = name
        cumulative.take_seat(self.ledger, place)

    def count(self, requests: int) -> None:
        counted = self.counted[self.now]
        counted.merge(tally(**{ROUTE: cell(requests)}), 10)

    def cumulative(self, timeout_s: float) -> Tally:
        """What pipeline.worker() of the present worker has counted."""
        if self.is_stuck:
            raise TimeoutError
        return _copy(self.counted[self.now])

    def tell_apart(self, routes: Iterable[str]) -> None:
        """The same."""

    def requests(self) -> int:
        return cumulative.of_server().total()["requests"]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site()

    monkeypatch.setattr(pipeline, "worker", lambda: made)
    yield made
    cumulative._after_fork_in_child()


def test_without_a_server_they_are_the_processs_own(site: Site) -> None:
    site.counted[""] = tally(**{ROUTE: cell(3)})
    assert cumulative.seat() is None
    assert cumulative.server_id() == ""
    cumulative.publish()
    assert site.requests() == 3
    assert site.ledger.read(0) == b""


def test_all_workers_are_summed_whoever_is_asked(site: Site) -> None:
    site.worker("a", 0)
    site.count(5)
    assert site.requests() == 5
    site.worker("b", 1)
    site.count(2)
    assert site.requests() == 7
    assert cumulative.server_id() == site.ledger.name
    assert cumulative.seat() == 1


def test_successor_goes_on_from_what_was_told(site: Site) -> None:
    site.worker("a", 0)
    site.count(5)
    assert site.requests() == 5
    site.count(1)  # Told to nobody before the worker is killed.
    site.worker("b", 0)
    assert site.requests() == 5
    site.count(2)
    assert site.requests() == 7
    site.worker("c", 0)
    assert site.requests() == 7


def test_place_of_a_dead_worker_counts_before_and_after_it_is_taken(site: Site) -> None:
    site.worker("a", 0)
    site.count(5)
    cumulative.publish()
    site.worker("b", 1)
    assert site.requests() == 5
    site.worker("c", 0)
    assert site.requests() == 5


@given(steps=st.lists(st.tuples(st.sampled_from(["count", "ask", "die"]), st.integers(0, 3)), max_size=30))
def test_sums_never_fall_and_lose_only_what_was_not_written(steps: list[tuple[str, int]]) -> None:
    patch = pytest.MonkeyPatch()
    try:
        made = Site()
        patch.setattr(pipeline, "worker", lambda: made)
        told = written = 0
        made.worker("w0", 0)
        for number, (step, value) in enumerate(steps):
            if step == "count":
                made.count(value)
            elif step == "ask":
                now = made.requests()
                assert now >= told
                told = written = now
            else:
                made.worker(f"w{number}", value)
                assert made.requests() >= max(told, written)
                told = made.requests()
    finally:
        patch.undo()
        cumulative._after_fork_in_child()


def _copy(tally: Tally) -> Tally:
    copy = Tally()
    copy.merge(tally, 1000)
    return copy


def test_while_the_store_keeps_the_metrics_waiting_what_was_known_is_told(site: Site) -> None:
    site.counted[""] = tally(**{ROUTE: cell(3)})
    assert site.requests() == 3
    site.count(2)
    site.is_stuck = True
    assert site.requests() == 3
    site.is_stuck = False
    assert site.requests() == 5
    site.worker("a", 0)
    site.is_stuck = True
    assert site.requests() == 0, "it has counted nothing yet that could be known"
    site.worker("b", 0)
    site.is_stuck = False
    site.count(4)
    assert site.requests() == 4
    site.worker("c", 0)
    site.is_stuck = True
    assert site.requests() == 4, "what it goes on from is known"


def test_forked_child_has_nobodys_place(site: Site) -> None:
    site.worker("a", 0)
    site.count(5)
    cumulative.publish()
    cumulative._after_fork_in_child()
    site.counted["a"] = Tally()
    cumulative.publish()
    assert payload.Detail(site.ledger.read(0)).tally().total()["requests"] == 5
    assert cumulative.seat() is None


def test_what_cannot_be_read_is_passed_over_and_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.ledger.write(2, b"\x63nonsense")
    with caplog.at_level(logging.WARNING):
        site.worker("a", 2)
        site.worker("b", 0)
        site.count(1)
        assert site.requests() == 1
    assert "place 2" in caplog.text


def test_sums_that_do_not_fit_leave_what_was_told_and_say_so_once(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cumulative, "_has_complained", False)
    site.ledger = Ledger(1, 2000)
    site.worker("a", 0)
    site.count(1)
    assert site.requests() == 1
    site.counted["a"] = tally(**{f"/{n * 7919}/{n}": cell(n + 1, each_ns=1000 + n * n * 997) for n in range(300)})
    with caplog.at_level(logging.WARNING):
        assert [site.requests(), site.requests()] == [1, 1]
    assert len(caplog.records) == 1
    assert "MAX_ROUTES" in caplog.records[0].message


def test_what_has_not_changed_is_not_written_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.worker("a", 0)
    site.count(1)
    written: list[Any] = []
    real = site.ledger.write
    monkeypatch.setattr(site.ledger, "write", lambda place, data: written.append(place) or real(place, data))
    for _ in range(3):
        cumulative.publish()
    assert written == [0]
    assert payload.Detail(site.ledger.read(0)).tally().routes[ROUTE]["requests"] == 1


def test_successors_tell_no_more_routes_apart_than_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(1, 1_000_000)
    for generation in range(4):
        cumulative._after_fork_in_child()
        made = worker(MemoryStore(), max_routes=5)
        monkeypatch.setattr(pipeline, "worker", lambda made=made: made)
        cumulative.take_seat(ledger, 0)
        for number in range(5):
            made.put(record(f"/{generation}/{number}/"))
        made.put(record("/0/0/"))
        assert made.flush()
        cumulative.publish()
    cells = cumulative.of_server().routes
    assert set(cells) == {*(f"/0/{number}/" for number in range(5)), "(other)"}
    assert cells["/0/0/"]["requests"] == 5
    assert cells["(other)"]["requests"] == 15
    cumulative._after_fork_in_child()
