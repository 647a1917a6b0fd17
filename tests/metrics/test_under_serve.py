"""The whole way under `manage.py serve`: requests counted, seen while they run, interrupted, and written at the end."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.processes import Serve, amend, eventually, get, write_project
from tests.server.processes import run as manage

SETTINGS = """
MIDDLEWARE = ["django_wsgiperf.middleware.RequestTimingMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
WSGIPERF = {"SERVER": {"STATS_ALLOW": ["127.0.0.1", "unix"]}, "METRICS": {"INTERVAL_S": 1.0, "RELEASE": "v1"}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A site that is measured, with its tables."""
    write_project(tmp_path)
    amend(tmp_path / "site_settings.py", 'MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]', "")
    with (tmp_path / "site_settings.py").open("a") as file:
        file.write(SETTINGS)
    assert manage(tmp_path, "migrate", "--verbosity", "0").returncode == 0
    return tmp_path


@pytest.fixture
def serve(project: Path) -> Iterator[Callable[..., Serve]]:
    started: list[Serve] = []

    def start(*arguments: str) -> Serve:
        started.append(Serve(project, *arguments))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def asked(project: Path, expression: str) -> Any:
    """What another process finds: `query` is at hand."""
    code = f"import json\nfrom django_wsgiperf.metrics import query\nprint(json.dumps({expression}))"
    result = manage(project, "shell", "--no-imports", "-c", code)
    assert result.returncode == 0, result.stderr
    told: Any = json.loads(result.stdout.splitlines()[-1])
    return told


def test_last_minute_is_written_when_the_server_ends(project: Path, serve: Callable[..., Serve]) -> None:
    server = serve("--workers", "2", "--threads", "2")
    port = server.wait_until_it_serves()
    for _ in range(30):
        assert get(port)[0] == 200
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert asked(project, "[(row.route, row.totals.requests) for row in query.routes('1h')]") == [["/", 30]]
    marks = asked(project, "[(mark.kind, mark.text[-2:]) for mark in query.overview('1h').marks]")
    assert sorted(marks) == [["start", "v1"]] * 2 + [["stop", "v1"]] * 2
    point = "[(p.threads, p.queue_peak is not None, p.busy_share is not None) for p in query.overview('1h').series"
    assert [True, True] in [each[1:] for each in asked(project, f"{point} if p.threads]")]


def test_workers_are_seen_before_their_first_request(project: Path, serve: Callable[..., Serve]) -> None:
    server = serve("--workers", "2", "--threads", "3")
    server.wait_until_it_serves()
    rows = (
        "[(row.pid, row.threads, row.reachable, row.release, row.server is not None) for row in query.live().processes"
    )

    def both() -> bool:
        # The process that asks is one of them.
        found = [each[1:] for each in asked(project, f"{rows} if row.threads]")]
        return found == [[3, True, "v1", True]] * 2

    eventually(both, "both workers answer")


def test_running_request_is_seen_and_interrupted_from_another_process(
    project: Path, serve: Callable[..., Serve]
) -> None:
    server = serve("--threads", "2")
    port = server.wait_until_it_serves()
    statuses: list[int] = []
    (project / "busy").touch()
    client = threading.Thread(target=lambda: statuses.append(get(port, "/?while=busy")[0]))
    client.start()
    found: list[Any] = []

    def seen() -> bool:
        found[:] = asked(
            project,
            "[(r.process, r.key, r.method, r.interruptible, [l for l in r.stack if 'site_urls' in l]) "
            "for r in query.live(stacks=True).running]",
        )
        return len(found) == 1

    eventually(seen, "the request is seen")
    process, key, method, interruptible, stack = found[0]
    assert (method, interruptible) == ("GET", True)
    assert stack, "where it is, is told"
    assert asked(project, f"query.interrupt({process!r}, {key!r})") is True
    client.join(60)
    assert statuses == [504]
    assert get(port)[0] == 200
    assert asked(project, f"query.interrupt({process!r}, {key!r})") is False

    def counted() -> bool:
        return "504" in asked(project, "query.overview('1h').totals.statuses")

    eventually(counted, "the interrupted request is counted")
