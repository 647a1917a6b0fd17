"""The whole server as on a system without epoll and eventfd, such as macOS: `selectors`, a pipe to wake the leader.

What single connections do is tested with both kinds of poller in one process (conftest.py); here are the workers that
share a listener, and what becomes of requests when one of them is replaced.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from .processes import ROOT, Load, Serve, amend, eventually, get, workers

Start = Callable[..., Serve]

# Read by Python before anything else of the server's is.
POORER_SYSTEM = """
import os, select
for module, names in (select, ("epoll", "EPOLLEXCLUSIVE")), (os, ("eventfd", "eventfd_read", "eventfd_write")):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""
SLOW = [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nhalf"]


@pytest.fixture
def poor(serve: Start, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """`manage.py serve` there."""
    folder = tmp_path_factory.mktemp("poor")
    (folder / "sitecustomize.py").write_text(POORER_SYSTEM)
    needed = "import os, select\nassert not hasattr(select, 'epoll') and not hasattr(os, 'eventfd')\n"
    amend(project / "site_wsgi.py", "from django.core", f"{needed}from django.core")

    def start(*arguments: str) -> Serve:
        return serve(*arguments, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")

    return start


def test_slow_clients_hold_neither_a_thread_nor_a_worker(poor: Start) -> None:
    server = poor("--threads", "2", "--workers", "2")
    port = server.wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both workers are there")
    with contextlib.ExitStack() as stack:
        for sent in SLOW * 17:
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(sent)
        with Load(port) as load:
            load.more(100)
        assert load.failures == []


def test_large_response_comes_whole_to_a_client_that_reads_late(poor: Start) -> None:
    port = poor("--threads", "1").wait_until_it_serves()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert get(port)[0] == 200, "the thread is free for others"
        assert client.makefile("rb").read().endswith(b"\r\n\r\n" + b"x" * 8_000_000)


def test_hup_and_term_lose_no_request(poor: Start) -> None:
    server = poor("--workers", "2", "--drain-delay", "1s")
    port = server.wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both workers are there")
    before = workers(port)
    with Load(port, balanced=True) as load:
        load.more(20)
        server.signal(signal.SIGHUP)
        eventually(lambda: len(workers(port)) == 2 and not workers(port) & before, "both workers are replaced")
        load.more(20)
        server.signal(signal.SIGTERM)
        eventually(lambda: load.has_gone, "the balancer has sent everybody away")
    assert load.failures == []
    assert server.wait() == 0
