"""The exports under a server of another make: processes of the project ask each other, whichever is asked first."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from .processes import Serve, amend, eventually, get, is_running

Begin = Callable[..., Serve]
TOKEN = "correct-horse"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for sockets, with a path that is short enough."""
    path = Path(tempfile.mkdtemp(prefix="wp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def port(project: Path, folder: Path, serve: Begin) -> int:
    """gunicorn's own worker of threads, two processes, with the pages in the project's addresses."""
    amend(
        project / "site_settings.py",
        "MIDDLEWARE = [",
        'MIDDLEWARE = ["django_wsgiperf.middleware.RequestTimingMiddleware", ',
    )
    amend(
        project / "site_settings.py",
        'WSGIPERF = {"SERVER": {"STATS_ALLOW": ["127.0.0.1", "unix"]}}',
        f'WSGIPERF = {{"METRICS": {{"STORE": "memory"}}, "SERVER": {{"STATS_TOKEN": "{TOKEN}"}}}}',
    )
    amend(project / "site_urls.py", "from django.urls import path", "from django.urls import include, path")
    amend(project / "site_urls.py", 'path("", pid),', 'path("", pid), path("-/", include("django_wsgiperf.urls")),')
    server = serve(
        address="",
        command=[
            *(sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "4", "--workers", "2"),
            *("--bind", "127.0.0.1:0", "site_wsgi:application"),
        ],
        DJANGO_SETTINGS_MODULE="site_settings",
        WSGIPERF_CONTROL_DIR=str(folder),
    )
    return server.wait_until_it_serves()


def samples(port: int) -> dict[str, float]:
    """Name and labels -> value; nothing while a process that was asked is gone."""
    try:
        status, text = get(port, "/-/metrics", Authorization=f"Bearer {TOKEN}")
    except (OSError, http.client.HTTPException):
        return {}
    assert status == 200, text
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def counted(port: int) -> dict[str, float]:
    """Requests for the page by the number of the process."""
    pattern = re.compile(r"wsgiperf_http_requests_total,method=GET,process=(\d+),route=/,status=200")
    return {found[1]: value for name, value in samples(port).items() if (found := pattern.fullmatch(name))}


def counted_by_both(port: int) -> dict[str, float]:
    """The same as soon as both have answered, for which a busy machine may not give them the time."""
    found: dict[str, float] = {}

    def told() -> bool:
        found.clear()
        found.update(counted(port))
        return set(found) == {"0", "1"}

    eventually(told, lambda: f"both are told of: {found}")
    return found


def asked(port: int) -> int:
    """The process that answered."""
    return int(get(port)[1].split()[-1])


def test_every_process_has_a_series_of_its_own_and_one_that_comes_after_it_begins_anew(port: int) -> None:
    pids: set[int] = set()
    times = 0

    def both() -> bool:
        nonlocal times
        times += 1
        pids.add(asked(port))
        return len(pids) == 2

    eventually(both, "both serve")
    eventually(lambda: sum(counted(port).values()) == times, lambda: f"{counted(port)} of {times}")
    before = counted_by_both(port)
    victim = pids.pop()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not is_running(victim), "it is gone")
    [survivor] = pids

    def another() -> bool:
        pids.add(asked(port))
        return bool(pids - {survivor})

    eventually(another, "another has come")
    now = counted_by_both(port)  # It has the free number.
    fallen = [number for number in now if now[number] < before[number]]
    grown = [number for number in now if now[number] >= before[number]]
    assert len(grown) >= 1, "the survivor's series went on"
    assert len(fallen) <= 1, "only the series of the one that was killed may begin anew"


def test_closed_without_the_token(port: int) -> None:
    assert get(port, "/-/metrics")[0] == get(port, "/-/stats")[0] == 404
    assert get(port, "/-/stats", Authorization=f"Bearer {TOKEN}")[0] == 200
