"""/-/metrics and /-/stats of a server with several workers: one answer for all of them, and sums that never fall."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.metrics.exports.test_statistics import checked

from .processes import Serve, amend, eventually, get, is_running, stats, workers

#: The processes of one test take turns on a busy machine; each wait has a limit of its own.
pytestmark = pytest.mark.timeout(600)
Begin = Callable[..., Serve]
ROUTE = "/"


@pytest.fixture
def site(project: Path) -> Path:
    """The project with its requests timed."""
    amend(
        project / "site_settings.py",
        "MIDDLEWARE = [",
        'MIDDLEWARE = ["django_wsgiperf.middleware.RequestTimingMiddleware", ',
    )
    amend(project / "site_settings.py", "WSGIPERF = {", 'WSGIPERF = {"METRICS": {"STORE": "memory", "INTERVAL_S": 1}, ')
    return project


def metrics(port: int, accept: str = "text/plain") -> dict[str, float]:
    """Name{labels in the order of the alphabet} -> value."""
    status, text = get(port, "/-/metrics", Accept=accept)
    assert status == 200, text
    families: Any = (parse_openmetrics if "openmetrics" in accept else parse_text)(text)
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def counted(port: int) -> float:
    """Requests for the page by all workers, those that are gone included; -1 where that is not told.

    So it is by a worker that is killed in mid-answer, and by one that a busy machine gives no time to gather."""
    try:
        found = metrics(port)
    except (OSError, http.client.HTTPException):
        return -1
    if "wsgiperf_processes_unreachable" not in found:
        return -1
    return found.get(f"wsgiperf_http_requests_total,method=GET,route={ROUTE},status=200", 0)


def ask(port: int, times: int) -> None:
    for _ in range(times):
        assert get(port)[0] == 200


def test_all_workers_are_one_series_in_both_forms(site: Path, serve: Begin) -> None:
    port = serve("--workers", "2").wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both serve")
    ask(port, 30)
    eventually(lambda: counted(port) == 30, lambda: f"all are counted: {counted(port)}")
    found: dict[str, float] = {}

    def complete() -> bool:
        found.clear()
        found.update(metrics(port, "application/openmetrics-text; version=1.0.0"))
        return found.get("wsgiperf_processes_unreachable") == 0

    eventually(complete, lambda: f"both have answered in time: {found}")
    assert found[f"wsgiperf_http_request_duration_seconds_count,route={ROUTE}"] == 30
    assert found[f"wsgiperf_http_request_duration_seconds_bucket,le=+Inf,route={ROUTE}"] == 30
    assert found["wsgiperf_server_workers,state=serving"] == 2
    assert {name for name in found if name.startswith("wsgiperf_process_threads")} == {
        "wsgiperf_process_threads,process=0",
        "wsgiperf_process_threads,process=1",
    }


def test_statistics_have_the_project_beside_the_server(site: Path, serve: Begin) -> None:
    port = serve("--workers", "2").wait_until_it_serves()
    ask(port, 10)
    told: dict[str, Any] = {}

    def complete() -> bool:
        told.clear()
        told.update(stats(port))  # Without the project's where that takes too long.
        counted = [(route["route"], route["requests"]) for route in told.get("routes", ())]
        return counted == [(ROUTE, 10)] and len(told["processes"]) == len(told["workers"]) == 2

    eventually(complete, lambda: f"both answer in time: {json.dumps(told)}")
    checked(told)
    assert {each["pid"] for each in told["processes"]} == {each["pid"] for each in told["workers"]}
    assert told["totals"]["response_s"]["count"] == 10


def test_sums_do_not_fall_when_a_worker_is_killed(site: Path, serve: Begin) -> None:
    port = serve("--workers", "2").wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both serve")
    ask(port, 40)
    eventually(lambda: counted(port) == 40, "all are counted")
    for expected in (40, 45):
        kill_one(port, expected)
        ask(port, 5)
        eventually(partial(has_counted, port, expected + 5), lambda: f"all are counted: {counted(port)}")


def has_counted(port: int, requests: float) -> bool:
    return counted(port) == requests


def kill_one(port: int, expected: float) -> None:
    """Kill a worker; from then on until another has come the sums stay what they were."""
    victim = min(workers(port))
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not is_running(victim), "it is gone")
    # For a second the one that is left may tell what it knew before.
    eventually(partial(has_counted, port, expected), lambda: f"its sums are told: {counted(port)}")
    assert {counted(port) for _ in range(10)} <= {-1, expected}
    eventually(lambda: len(workers(port) - {victim}) == 2, "another has come")
    assert counted(port) in (-1, expected)


def test_sums_do_not_fall_when_workers_are_replaced(site: Path, serve: Begin) -> None:
    server = serve("--workers", "2")
    port = server.wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both serve")
    before = workers(port)
    ask(port, 20)
    eventually(lambda: counted(port) == 20, "all are counted")
    server.signal(signal.SIGHUP)
    told = [20.0]

    def replaced() -> bool:
        told.append(counted(port))
        return len(workers(port)) == 2 and not workers(port) & before

    eventually(replaced, "new workers serve")
    eventually(lambda: not any(map(is_running, before)), "the old ones are gone")
    told.append(counted(port))
    assert {value for value in told if value >= 0} == {20}


def test_frozen_worker_costs_neither_the_answer_nor_its_sums(site: Path, serve: Begin) -> None:
    port = serve("--workers", "2").wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both serve")
    ask(port, 30)
    eventually(lambda: counted(port) == 30, "all are counted")
    frozen = max(workers(port))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        # A connection that the other worker has: the frozen one would not answer.
        while True:
            connection.request("GET", "/-/stats")
            if json.loads(connection.getresponse().read())["pid"] != frozen:
                break
            connection.close()
        os.kill(frozen, signal.SIGSTOP)
        texts: list[str] = []

        def tells_of_it() -> bool:
            connection.request("GET", "/-/metrics")
            texts.append(connection.getresponse().read().decode())
            return "wsgiperf_processes_unreachable 1.0" in texts[-1]

        eventually(tells_of_it, lambda: f"it is missed: {texts[-1]}")
        sample = re.compile(r"^wsgiperf_http_requests_total\{.*\} (.*)$", re.MULTILINE)
        told = [text for text in texts if "wsgiperf_processes_unreachable" in text]
        assert {tuple(sample.findall(text)) for text in told} == {("30.0",)}
    finally:
        os.kill(frozen, signal.SIGCONT)
        connection.close()


def test_sockets_are_gone_with_the_server(site: Path, serve: Begin) -> None:
    folder = Path(tempfile.mkdtemp(prefix="wp"))
    try:
        server = serve("--workers", "2", WSGIPERF_CONTROL_DIR=str(folder))
        port = server.wait_until_it_serves()
        eventually(lambda: len(workers(port)) == 2, "both serve")
        assert sum(path.is_socket() for path in folder.glob("*/*")) == 2
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert [path for path in folder.glob("*/*") if path.is_socket()] == []
    finally:
        shutil.rmtree(folder)


def test_plain_gunicorn_tells_the_same(site: Path, serve: Begin) -> None:
    server = serve(
        address="",
        command=[
            *(sys.executable, "-m", "gunicorn", "-k", "django_wsgiperf.server.worker.PooledWorker"),
            *("--workers", "2", "--bind", "127.0.0.1:0", "site_wsgi:application"),
        ],
        DJANGO_SETTINGS_MODULE="site_settings",
    )
    port = server.wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both serve")
    ask(port, 10)
    eventually(lambda: counted(port) == 10, lambda: f"all are counted: {counted(port)}")
