"""Thousands of idle connections when workers are replaced: each can ask again, and nothing is left behind."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Client
from .processes import Serve, eventually, is_running, workers

#: The processes of one test take turns on a busy machine; each wait has a limit of its own.
pytestmark = pytest.mark.timeout(600)
Start = Callable[..., Serve]

CROWD = min(3000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300)
"""This process, and one of the workers, may have to have all of them open."""


class Visitor:
    """One that keeps its connection for as long as the server does not say that it will close it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = Client(port)

    def pid(self) -> int:
        """Of the worker that has answered."""
        response = self.client.get()
        if response.headers.get("connection") == "close":
            self.client.close()
            self.client = Client(self.port)
        return int(response.body.split()[-1])


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd")) if Path("/proc/self").exists() else 0


def test_crowd_of_kept_connections_outlives_every_hup(serve: Start) -> None:
    server = serve("--workers", "2", "--keepalive", "3600s")
    port = server.wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both serve")
    before = workers(port)
    most_files = max(open_files(pid) for pid in before) + 10
    visitors = [Visitor(port) for _ in range(CROWD)]
    try:
        assert {visitor.pid() for visitor in visitors} <= before
        for _ in range(2):
            server.signal(signal.SIGHUP)
            old = before
            eventually(lambda old=old: len(workers(port)) == 2 and not workers(port) & old, "new ones serve")
            eventually(lambda old=old: not any(map(is_running, old)), "the old ones are gone")
            before = workers(port)
            assert {visitor.pid() for visitor in visitors} <= before
    finally:
        for visitor in visitors:
            visitor.client.close()
    eventually(lambda: max(open_files(pid) for pid in before) <= most_files, "no descriptor is left open")
