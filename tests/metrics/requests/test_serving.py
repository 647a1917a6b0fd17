"""Under `serve`: the queue, clients that leave, requests that are interrupted, and the server's own access log."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import StreamingHttpResponse

from django_wsgiperf.metrics.record import Record
from django_wsgiperf.server.accesslog import AccessLog
from tests.server.conftest import DEADLINE_S, Client
from tests.server.live import PooledServer, pooled_servers

from .conftest import Measured
from .site import hooks

Serve = Callable[..., PooledServer]


@pytest.fixture
def serve(measured: Measured) -> Iterator[Serve]:
    """Starts the server of `serve`, with a thread pool, for the measured site."""
    with pooled_servers(validate=False) as start:
        yield start


def eventually(condition: Callable[[], Any], while_waiting: Callable[[], Any] = int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        while_waiting()
        time.sleep(0.005)


def get(server: PooledServer, path: str) -> int:
    with Client(server.server_address[1]) as client:
        return client.get(path).status


def one(measured: Measured) -> Record:
    """The only record, once it is there."""
    eventually(lambda: measured.records)
    (record,) = measured.records
    return record


def test_the_queue_is_known(measured: Measured, serve: Serve) -> None:
    entered, release = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert release.wait(DEADLINE_S)

    hooks["view"] = hold
    server = serve(threads=1)
    first = threading.Thread(target=get, args=(server, "/hooked/"))
    first.start()
    assert entered.wait(DEADLINE_S)
    second = threading.Thread(target=get, args=(server, "/plain/"))
    second.start()
    eventually(lambda: server.pool.waiting)
    waits_ns = time.monotonic_ns()
    eventually(lambda: time.monotonic_ns() > waits_ns)
    held_ns = time.monotonic_ns() - waits_ns
    release.set()
    first.join()
    second.join()
    eventually(lambda: len(measured.records) == 2)
    queued = {record.route: record.queue_ns for record in measured.records}
    assert queued["/plain/"] >= held_ns > 0
    assert queued["/hooked/"] >= 0
    (record,) = (record for record in measured.records if record.route == "/plain/")
    assert record.write_ns > 0
    assert sum(record.parts_ns().values()) == record.queue_ns + record.total_ns


def test_a_client_that_leaves_is_told_from_a_failure(measured: Measured, serve: Serve) -> None:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * 1_000_000

    hooks["view"] = lambda: StreamingHttpResponse(pieces())
    server = serve(threads=2)
    client = Client(server.server_address[1])
    client.send(b"GET /hooked/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert client.sock.recv(1000)
    client.close()
    record = one(measured)
    assert (record.aborted, record.exception, record.status) == (True, "", 200)


@pytest.mark.parametrize("in_stream", [False, True])
def test_a_request_that_the_server_interrupts(measured: Measured, serve: Serve, in_stream: bool) -> None:
    def work() -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            pass

    def pieces() -> Iterator[bytes]:
        work()
        yield b"too late"

    hooks["view"] = (lambda: StreamingHttpResponse(pieces())) if in_stream else work
    server = serve(threads=2, request_timeout_s=0.2)
    statuses: list[int] = []
    asking = threading.Thread(target=lambda: statuses.append(get(server, "/hooked/")))
    asking.start()
    eventually(lambda: not asking.is_alive(), while_waiting=server.supervisor.tick)
    record = one(measured)
    assert statuses == [504]
    assert (record.status, record.route, record.aborted) == (504, "/hooked/", False)


def test_the_access_log_has_the_numbers(measured: Measured, serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    server = serve(AccessLog("json", str(file)), threads=2)
    assert get(server, "/queries/3/") == 200
    eventually(lambda: file.read_bytes().endswith(b"\n"))
    entry = json.loads(file.read_text())
    record = one(measured)
    assert entry["route"] == "/queries/<int:times>/"
    assert entry["request_id"] == record.request_id
    assert (entry["queries"], entry["cache_hits"], entry["page_cache"]) == (3, 0, "")
    assert entry["db_ms"] == round(record.db_ns / 1e6, 3)
    assert entry["queue_ms"] >= 0


def test_a_file_is_handed_over_and_its_request_ends(measured: Measured, serve: Serve) -> None:
    server = serve(threads=2)
    assert get(server, "/file/") == 200
    record = one(measured)
    assert (record.body_bytes, record.aborted) == (1000, False)


def test_an_async_view_is_measured(measured: Measured, serve: Serve) -> None:
    server = serve(threads=2)
    assert get(server, "/asynchronous/") == 200
    assert one(measured).db["default"].queries == 3


def test_requests_of_many_threads_do_not_mix(measured: Measured, serve: Serve) -> None:
    server = serve(threads=4)

    def ask(times: int) -> None:
        for _ in range(10):
            assert get(server, f"/queries/{times}/?{times}") == 200

    threads = [threading.Thread(target=ask, args=(times,)) for times in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(measured.records) == 40)
    counts = sorted(record.db["default"].queries for record in measured.records)
    assert counts == sorted(list(range(1, 5)) * 10)
