"""The scoreboard: rows, their states, and sums that never fall."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from django_wsgiperf.server import exposition
from django_wsgiperf.server.counters import ReactorStatistics
from django_wsgiperf.server.scoreboard import (
    COUNTERS,
    DRAINING,
    ENDED,
    SERVING,
    SHED,
    TIMEOUTS,
    Scoreboard,
    is_alive,
)
from django_wsgiperf.server.slots import HISTOGRAM_BUCKETS, Slot


@dataclass
class Worker:
    """What the board knows of a worker: its process, and how young it is."""

    pid: Any = "[booting]"
    age: int = 1


@pytest.fixture
def gone() -> int:
    """The process id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def reactor(slot: Slot) -> Any:
    return SimpleNamespace(
        pool=SimpleNamespace(size=2, busy=1, waiting=3),
        counters=lambda: [slot, Slot(-1)],
        statistics=ReactorStatistics(),
        connections={1: 1},
        polled_at_ns=5_000_000,
    )


def worked(requests: int) -> Slot:
    slot = Slot(0)
    slot.requests = slot.statuses[2] = requests
    slot.queue_histogram[3] = slot.service_histogram[10] = requests
    slot.served_ns = requests * 1_000_000
    return slot


def begin(board: Scoreboard, requests: int = 0, pid: int | None = None) -> tuple[int, Worker]:
    """A worker that serves and has published."""
    worker = Worker()
    row = board.claim(worker)
    worker.pid = pid or os.getpid()
    publish(board, row, requests)
    board.set(row, "pid", worker.pid)
    board.set(row, "state", SERVING)
    return row, worker


def publish(board: Scoreboard, row: int, requests: int) -> None:
    board.publish(row, reactor(worked(requests)), lost_threads=0, rss_bytes=7)


def test_every_reason_and_kind_of_the_reactor_has_a_field() -> None:
    statistics = ReactorStatistics()
    assert set(statistics.shed) == set(SHED)
    assert set(statistics.timeouts) == set(TIMEOUTS)


def test_row_shows_what_its_worker_published() -> None:
    board = Scoreboard()
    row, _ = begin(board, requests=4)
    [shown] = board.rows()
    assert (shown["row"], shown["state"], shown["pid"]) == (row, "serving", os.getpid())
    assert (shown["threads"], shown["busy"], shown["queued"], shown["connections"]) == (2, 1, 3, 1)
    assert (shown["requests"], shown["responses_2xx"], shown["rss_bytes"]) == (4, 4, 7)


def test_worker_without_a_process_is_neither_shown_nor_counted_on(gone: int) -> None:
    board = Scoreboard()
    row, _ = begin(board, requests=4, pid=gone)
    assert board.rows() == []
    assert not board.others_serve(row + 1)
    assert board.totals()[0]["requests"] == 4, "but what it did counts"


def test_row_is_used_again_when_its_process_is_gone(gone: int) -> None:
    board = Scoreboard()
    first, _ = begin(board, requests=4, pid=gone)
    second, _ = begin(board)
    assert second == first
    assert board.totals()[0]["requests"] == 4
    third, _ = begin(board, requests=5)
    assert third != first
    assert board.totals()[0]["requests"] == 9


def test_row_of_a_fork_that_failed_is_used_again() -> None:
    board = Scoreboard()
    assert board.claim(Worker()) == board.claim(Worker()) == 0


def test_draining_and_starting_workers_do_not_serve() -> None:
    board = Scoreboard()
    row, _ = begin(board)
    assert not board.others_serve(row)
    other, _ = begin(board)
    assert board.others_serve(row)
    board.set(other, "state", DRAINING)
    assert not board.others_serve(row)
    assert [shown["state"] for shown in board.rows()] == ["serving", "draining"]
    board.set(other, "state", ENDED)
    assert len(board.rows()) == 1


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=20))
def test_sums_never_fall_whatever_workers_come_and_go(steps: list[tuple[int, bool]]) -> None:
    board = Scoreboard()
    living: list[Worker] = []
    done = before = 0
    for requests, ends in steps:
        _, worker = begin(board, requests)
        living.append(worker)
        done += requests
        counters, histograms = board.totals()
        assert counters["requests"] == counters["responses_2xx"] == done >= before
        assert sum(histograms["queue_histogram"]) == histograms["service_histogram"][10] == done
        before = done
        if ends:
            living.pop(0).pid = 0


def test_process_is_alive_or_not(gone: int) -> None:
    assert is_alive(os.getpid())
    assert is_alive(1)
    assert not any(map(is_alive, (gone, 0, "[booting]", None)))


def test_peaks_are_of_the_time_since_the_last_look_and_maxima_of_all_time() -> None:
    board = Scoreboard()
    row, _ = begin(board)
    source = reactor(worked(0))
    source.statistics.queue_max = source.statistics.queue_peak = 40
    source.statistics.open_max = source.statistics.open_peak = 9
    board.publish(row, source, lost_threads=0, rss_bytes=0)
    assert [board.get(row, name) for name in ("queue_max", "queue_peak", "connections_peak")] == [40, 40, 9]
    board.publish(row, source, lost_threads=0, rss_bytes=0)
    assert [board.get(row, name) for name in ("queue_max", "queue_peak", "connections_peak")] == [40, 3, 1]
    assert board.get(row, "connections_max") == 9


class TestExposition:
    def families(self, board: Scoreboard) -> dict[str, Any]:
        content_type, text = exposition.expose(board, "")
        assert content_type.startswith("text/plain; version=")
        return {family.name: family for family in text_string_to_metric_families(text.decode())}

    def test_every_counter_is_told_once(self) -> None:
        families = self.families(Scoreboard())
        told = {sample.name for family in families.values() for sample in family.samples}
        for name in COUNTERS:
            if name not in ("queued_ns", "served_ns", "written_ns"):
                family = next((part for part in ("responses", "shed", "timeouts") if name.startswith(f"{part}_")), name)
                assert f"wsgiperf_server_{family}_total" in told

    def test_numbers_are_the_servers(self, gone: int) -> None:
        board = Scoreboard()
        begin(board, requests=3, pid=gone)
        begin(board)
        begin(board, requests=5)
        families = self.families(board)
        assert [s.value for s in families["wsgiperf_server_requests"].samples] == [8]
        assert {s.labels["worker"]: s.value for s in families["wsgiperf_server_busy"].samples} == {"0": 1, "1": 1}
        assert {s.labels["state"]: s.value for s in families["wsgiperf_server_workers"].samples} == {
            "serving": 2,
            "draining": 0,
        }

    def test_histogram_counts_up_to_its_bounds(self) -> None:
        board = Scoreboard()
        begin(board, requests=5)
        samples = self.families(board)["wsgiperf_server_service_seconds"].samples
        buckets = {float(s.labels["le"]): s.value for s in samples if s.name.endswith("_bucket")}
        assert buckets[0.000512] == 0
        assert buckets[0.001024] == buckets[float("inf")] == 5
        sums = {s.name: s.value for s in samples if "le" not in s.labels}
        assert sums["wsgiperf_server_service_seconds_count"] == 5
        assert sums["wsgiperf_server_service_seconds_sum"] == pytest.approx(0.005)

    def test_format_follows_the_accept_field(self) -> None:
        content_type, text = exposition.expose(Scoreboard(), "application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert text.endswith(b"# EOF\n")

    def test_buckets_lie_within_those_that_are_counted(self) -> None:
        assert HISTOGRAM_BUCKETS > exposition._LAST_BUCKET > exposition._FIRST_BUCKET
