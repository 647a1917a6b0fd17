"""The benchmark of the response cache without load: who takes part, the crowd, and how a run is judged and shown."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.benchmarks.cache import __main__ as main
from tests.benchmarks.cache import crowd, inprocess, nginx, purging
from tests.benchmarks.cache.scenarios import CROWD, HITS, INPROCESS, PURGE
from tests.benchmarks.cache.setups import LOCMEM, NGINX, ORIGIN_SETUP, REDIS, SERVE, SETUPS, SHARED
from tests.benchmarks.common import machine, report
from tests.benchmarks.common.results import Measurement, Remark, Run
from tests.services import Found, Missing

ABOUT = {
    "date": "2026-01-01",
    "machine": machine.shape(),
    "versions": {"Django": "5.2", "nginx": "1.22.1"},
    "threads": 12,
    "rounds": 2,
    "seconds": 1.0,
    "pinning": "nothing pinned to a core",
    "command": "python -m tests.benchmarks.cache",
}

BENCHMARK = main.Cache()


def measured(scenario: str, subject: str, *values: dict[str, float]) -> list[Measurement]:
    return [
        Measurement(scenario=scenario, subject=subject, round=number, values=value)
        for number, value in enumerate(values)
    ]


def rates(subject: str, *values: float) -> list[Measurement]:
    return measured(HITS, subject, *({"rate": value} for value in values))


@pytest.fixture
def run() -> Run:
    """A run in which everything was measured, two rounds each."""
    found = Run(about=ABOUT)
    found.measurements += rates(SERVE, 40.0, 20.0)
    found.measurements += rates(SHARED, 5.0, 5.0)
    found.measurements += rates(NGINX, 50.0, 40.0)
    found.measurements += rates(LOCMEM, 2.0, 1.0)
    found.measurements += rates(REDIS, 1.0, 1.0)
    crowds = {"fastest_ms": 201.0, "median_ms": 205.0, "slowest_ms": 240.0}
    found.measurements += measured(CROWD, SERVE, {"renders": 1, **crowds}, {"renders": 1, **crowds})
    found.measurements += measured(INPROCESS, inprocess.MIDDLEWARE, {"us": 80.0}, {"us": 90.0})
    found.measurements += measured(INPROCESS, inprocess.MISS, {"us": 120.0}, {"us": 240.0})
    found.measurements += measured(INPROCESS, inprocess.MISS_PLAIN, {"us": 100.0}, {"us": 200.0})
    found.measurements += measured(PURGE, purging.MEMORY, {"ms": 0.1, "entries": 1e6}, {"ms": 0.3, "entries": 1e6})
    return found


def test_only_our_setups_have_our_cache_and_only_djangos_have_djangos() -> None:
    for name, setup in SETUPS.items():
        facts = setup.settings("redis://127.0.0.1:6379/9")
        assert facts["wsgiperf"]["ENABLED"] == (name in (SERVE, SHARED))
        assert bool(facts["before"]) == bool(facts["after"]) == (name in (LOCMEM, REDIS))
        assert ("pages" in facts["caches"]) == setup.needs_redis == (name in (SHARED, REDIS))
    assert not ORIGIN_SETUP.settings("")["wsgiperf"]["ENABLED"]


def test_rates_are_judged_by_ratios_of_one_round(run: Run) -> None:
    measured = {
        verdict.what: (verdict.measured, verdict.word)
        for verdict in report.judged(BENCHMARK, run)
        if verdict.scenario == HITS
    }
    assert list(measured.values()) == [(0.65, "met"), (20.0, "met"), (30.0, "not met"), (5.0, "met")]


def test_the_other_targets_are_judged(run: Run) -> None:
    judged = {(verdict.scenario, verdict.what): verdict.measured for verdict in report.judged(BENCHMARK, run)}
    assert judged[CROWD, "times the page is made"] == 1
    assert judged[CROWD, "ms until all are answered"] == 240.0
    assert judged[INPROCESS, "us for a hit by the middleware"] == 85.0
    assert judged[INPROCESS, "us that a miss costs more"] == 30.0
    assert judged[PURGE, "ms for a million entries"] == pytest.approx(0.2)


def test_what_was_not_measured_is_not_judged() -> None:
    run = Run(about=ABOUT)
    assert report.judged(BENCHMARK, run) == []
    run.measurements += rates(SERVE, 40.0)
    assert {verdict.word for verdict in report.judged(BENCHMARK, run)} == {"not measured"}


def test_the_report_shows_each_scenario_in_both_forms(run: Run) -> None:
    run.note("nginx was not measured")
    run.fail("something failed")
    text = report.terminal(BENCHMARK, run)
    pages = {scenario: report.markdown(BENCHMARK, run, scenario) for scenario in run.scenarios()}
    for scenario in (HITS, CROWD, INPROCESS, PURGE):
        assert BENCHMARK.titles[scenario] in text
        assert f"#### {BENCHMARK.titles[scenario]}" in pages[scenario]
    for shown in (text, *pages.values()):
        assert machine.line(ABOUT["machine"]) in shown
        assert "nginx was not measured" in shown
        assert "something failed" in shown
    for shown in (text, pages[HITS]):
        assert "nginx proxy_cache" in shown
    for shown in (text, pages[PURGE]):
        assert "1,000,000" in shown
    head, rows = BENCHMARK.table(run, HITS)
    assert [row[0] for row in rows] == [setup.title for setup in SETUPS.values()]
    assert {len(row) for row in rows} == {len(head)}


def test_a_peer_that_is_not_here_is_noted_and_under_ci_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(key: str) -> Found | Missing:
        return Missing("none was found") if key == "nginx" else Found("redis://127.0.0.1:6379/", "here", "7")

    monkeypatch.setattr(services, "find", find)
    monkeypatch.delenv("CI", raising=False)
    run = Run(about=ABOUT)
    assert NGINX not in [setup.name for setup in main.available(list(SETUPS), run)]
    assert run.notes == [Remark("nginx proxy_cache was not measured: none was found")]
    monkeypatch.setenv("CI", "true")
    run = Run(about=ABOUT)
    main.available(list(SETUPS), run)
    assert run.failures == [Remark("nginx proxy_cache was not measured: none was found")]


def test_nginx_keeps_to_its_folder_and_forgets_earlier_runs(tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    (folder / "cache").mkdir(parents=True)
    (folder / "cache" / "old").touch()
    command = nginx.command(Path("/usr/sbin/nginx"), folder, 8001, 8000)
    assert command == ["/usr/sbin/nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    written = (folder / "nginx.conf").read_text()
    assert "listen 127.0.0.1:8001 " in written
    assert "server 127.0.0.1:8000;" in written
    assert "worker_processes 1;" in written
    assert not (folder / "cache").exists()
    paths = [line.split()[-1] for line in written.splitlines() if "_temp_path /" in line]
    assert len(paths) == 5
    assert all(path.startswith(str(folder)) for path in paths)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener


def answer_all(listener: socket.socket, clients: int, answer: bytes) -> threading.Thread:
    """Answer so many clients, but only when all of them have asked."""

    def work() -> None:
        connections = [listener.accept()[0] for _ in range(clients)]
        for connection in connections:
            connection.recv(65_536)
        for connection in connections:
            connection.sendall(answer)
            connection.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_crowd_asks_all_at_once_and_is_counted_to_the_last(listening: socket.socket) -> None:
    thread = answer_all(listening, 20, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")
    answers = crowd.ask(listening.getsockname()[1], "/slow", 20)
    thread.join(30)
    assert len(answers.times_ms) == 20
    assert answers.times_ms == sorted(answers.times_ms)
    assert answers.slowest_ms == answers.times_ms[-1]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b""])
def test_a_crowd_that_does_not_get_the_page_is_a_failure(listening: socket.socket, answer: bytes) -> None:
    thread = answer_all(listening, 3, answer)
    with pytest.raises(crowd.CrowdError, match="instead of the page"):
        crowd.ask(listening.getsockname()[1], "/slow", 3)
    thread.join(30)
