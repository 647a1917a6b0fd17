"""The last numbers of a process are sent as it ends, whichever way its server ends it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.metrics.processes import script, settings_of
from tests.server.processes import DEADLINE_S, Serve, environment, eventually, get, write_project

from .test_otlp import Collector, collector, metrics_of

__all__ = ["collector"]

HOUR = 3600.0
"""Between two sendings: what arrives is the last one."""
THREAD = "wsgiperf-otlp"
URLS = """
import threading
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse(",".join(each.name for each in threading.enumerate())))]
"""
WSGI = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""


def requests_in(collector: Collector) -> int:
    """Those that the last sending told of."""
    data = metrics_of(collector.wait())["http.server.request.duration"].exponential_histogram.data_points
    return sum(point.count for point in data)


def ask_until_it_sends(port: int) -> int:
    """How many requests it took."""
    asked = 0

    def sends() -> bool:
        nonlocal asked
        asked += 1
        return THREAD in get(port)[1]

    eventually(sends, "numbers are sent")
    return asked


@pytest.fixture
def project(tmp_path: Path, collector: Collector) -> Path:
    """A site that is measured, and sends its numbers."""
    write_project(tmp_path)
    (tmp_path / "site_urls.py").write_text(URLS)
    (tmp_path / "site_wsgi.py").write_text(WSGI)
    address = f"{collector.address}/v1/metrics"
    metrics = {"STORE": "memory", "OTLP": True, "OTLP_INTERVAL_S": HOUR, "OTLP_ENDPOINT": address}
    with (tmp_path / "site_settings.py").open("a") as file:
        file.write('MIDDLEWARE = ["django_wsgiperf.middleware.RequestTimingMiddleware"]\n')
        file.write(f"WSGIPERF = {{'METRICS': {metrics!r}}}\n")
    return tmp_path


def test_of_serve(project: Path, collector: Collector) -> None:
    server = Serve(project, "--threads", "2")
    try:
        asked = ask_until_it_sends(server.wait_until_it_serves())
        server.signal(signal.SIGTERM)
        server.wait()
    finally:
        server.stop()
    assert requests_in(collector) == asked


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_of_gunicorns_own_workers(project: Path, collector: Collector, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-k", kind, "-b", f"fd://{number}", "site_wsgi:application"],
            cwd=project,
            env=environment({"PYTHONPATH": f"{project}:{Path.cwd()}"}),
            pass_fds=[number],
            stderr=subprocess.DEVNULL,
        )
        try:
            asked = ask_until_it_sends(listening.getsockname()[1])
            server.send_signal(signal.SIGTERM)
            assert server.wait(DEADLINE_S) == 0
        finally:
            server.kill()
            server.wait()
    assert requests_in(collector) == asked


def test_of_a_process_that_python_ends(collector: Collector, tmp_path: Path) -> None:
    """What was counted last is summed first."""
    address = f"{collector.address}/v1/metrics"
    settings = settings_of("memory", tmp_path, OTLP=True, OTLP_INTERVAL_S=HOUR, OTLP_ENDPOINT=address)
    started = "from django_wsgiperf.metrics.exports import otlp\nwhile otlp._pusher is None: time.sleep(0.01)\n"
    process = script(settings, f"count(1)\n{started}count(4)\n")
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")
    assert requests_in(collector) == 5
