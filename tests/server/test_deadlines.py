"""Stuck requests: seen, interrupted, answered for, and their threads replaced."""

from __future__ import annotations

import ctypes
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_wsgiperf.server import deadlines
from django_wsgiperf.server.deadlines import DeadlineSupervisor

from .conftest import DEADLINE_S, Server, eventually

Start = Callable[..., Server]
REQUEST = b"GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n"


class Stuck:
    """An application whose /stuck does not end by itself until `released`; all else is answered at once."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.lock.acquire()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/stuck":
            self.entered.release()
            self.wait()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"fine"]

    def wait(self) -> None:
        raise NotImplementedError

    def let_go(self) -> None:
        self.released.set()
        self.lock.release()


class Sleeping(Stuck):
    def wait(self) -> None:
        while not self.released.is_set():
            time.sleep(0.01)


class Busy(Stuck):
    def wait(self) -> None:
        while not self.released.is_set():
            pass


class SwallowsExceptions(Stuck):
    def wait(self) -> None:
        while not self.released.is_set():
            try:
                time.sleep(0.01)
            except Exception:
                continue


class BlockedLock(Stuck):
    """A lock without a time-out is waited for outside the interpreter: only giving the thread up helps."""

    def wait(self) -> None:
        self.lock.acquire()
        self.lock.release()


class CCall(Stuck):
    """A call that does not come back by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = socket.socketpair()

    def wait(self) -> None:
        libc = ctypes.CDLL(None)
        with self.ours, self.theirs:
            libc.read(self.ours.fileno(), ctypes.create_string_buffer(1), 1)

    def let_go(self) -> None:
        self.theirs.send(b"x")
        super().let_go()


def watch(server: Server, until: Callable[[], bool], what: str) -> None:
    """Let the supervisor look until it has done its work, as the worker's main thread does."""

    def look() -> bool:
        server.supervisor.tick()
        return until()

    eventually(look, what)


def impatient(server: Server) -> DeadlineSupervisor:
    """A supervisor that gives a thread up soon; only for those that cannot come back."""
    return DeadlineSupervisor(server.reactor, grace_s=0.1)


def capacity_is_whole(server: Server, threads: int) -> bool:
    pool = server.pool
    return pool.busy == 0 and len(pool._free) == threads and len(pool._threads) == pool._wanted_threads


@pytest.mark.parametrize("app_class", [Sleeping, Busy, SwallowsExceptions])
def test_stuck_request_is_interrupted_and_answered_504(
    serve_app: Start, app_class: type[Stuck], caplog: pytest.LogCaptureFixture
) -> None:
    app = app_class()
    server = serve_app(app, threads=2, request_timeout_s=0.1)
    client = server.connect()
    before = {thread.name for thread in server.pool._threads}
    client.send(REQUEST)
    assert app.entered.acquire(timeout=DEADLINE_S)
    with caplog.at_level(logging.ERROR):
        watch(server, lambda: server.reactor.statistics.timeouts["request"] == 1, "the request is interrupted")
    assert client.response().status == 504
    assert client.closed()
    reports = [record.message for record in caplog.records if "past its deadline" in record.message]
    assert len(reports) == 1
    assert "in wait" in reports[0], "the stack is told"
    watch(server, lambda: capacity_is_whole(server, 2), "the thread is replaced")
    assert {thread.name for thread in server.pool._threads} != before
    assert server.get("/").body == b"fine"
    assert server.supervisor.lost_threads == 0


@pytest.mark.parametrize("app_class", [BlockedLock, CCall])
def test_thread_that_does_not_come_back_is_given_up(
    serve_app: Start, app_class: type[Stuck], caplog: pytest.LogCaptureFixture
) -> None:
    app = app_class()
    server = serve_app(app, threads=1, request_timeout_s=0.05)
    server.supervisor = impatient(server)
    client = server.connect()
    client.send(REQUEST)
    assert app.entered.acquire(timeout=DEADLINE_S)
    (exchange,) = (slot.task for slot in server.pool.slots if slot.task is not None)
    watch(server, lambda: server.supervisor.lost_threads == 1, "the thread is lost")
    response = client.response()
    assert response.status == 504
    assert client.closed()
    assert (exchange.code, exchange.sent > len(response.body) > 0) == (504, True), "as the access log will have it"
    assert server.get("/").body == b"fine", "another thread has taken its place"
    app.let_go()
    eventually(lambda: capacity_is_whole(server, 1), "the lost thread ends when it can")


def test_stuck_after_the_head_closes_the_connection_unfinished(serve_app: Start) -> None:
    released = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        while not released.is_set():
            time.sleep(0.01)

    server = serve_app(app, request_timeout_s=0.2)
    client = server.connect()
    client.send(REQUEST)
    watch(server, lambda: server.reactor.statistics.timeouts["request"] == 1, "the request is interrupted")
    data = client.rest()
    assert b"first" in data
    assert not data.endswith(b"0\r\n\r\n")


def test_interruption_at_the_very_end_never_hits_the_next_request(serve_app: Start) -> None:
    deadline_s = 0.02

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/edge":
            time.sleep(deadline_s)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return [b"fine"]

    server = serve_app(app, threads=2, request_timeout_s=deadline_s, validate=False)
    stop = threading.Event()

    def supervise() -> None:
        while not stop.is_set():
            server.supervisor.tick()

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    seen = set()
    try:
        for _ in range(150):
            client = server.connect()
            client.send(b"GET /edge HTTP/1.1\r\nHost: test\r\n\r\n")
            seen.add(client.response().status)
            client.close()
    finally:
        stop.set()
        supervisor.join()
    assert seen <= {200, 504}
    eventually(lambda: capacity_is_whole(server, 2), "no slot and no thread is missing")
    assert server.supervisor.lost_threads == 0
    assert server.get("/").status == 200


class Stream:
    """An application whose /stream yields until `stick` is set, and is stuck then; all else is answered at once."""

    def __init__(self, stuck: Stuck) -> None:
        self.stuck = stuck
        self.stick = threading.Event()
        self.closed = 0

    def __call__(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return self.pieces() if environ["PATH_INFO"] == "/stream" else [b"fine"]

    def pieces(self) -> Iterator[bytes]:
        try:
            while not self.stick.wait(0.01):
                yield b"piece"
            self.stuck.entered.release()
            self.stuck.wait()
        finally:
            self.closed += 1


def streaming(server: Server) -> bool:
    return any(slot.detached for slot in server.pool.slots)


def waits_for_client(server: Server) -> bool:
    return any(slot.task is not None and slot.task.waits_for_client for slot in server.pool.slots)


def lasted_for_three_deadlines(server: Server) -> None:
    """Have what runs now seem to have begun so long ago."""
    for slot in server.pool.slots:
        if slot.task is not None:
            slot.started_ns -= int(3e9 * DEADLINE_S)


@pytest.mark.parametrize("stuck", [Sleeping, Busy, SwallowsExceptions, BlockedLock])
def test_stream_that_is_stuck_between_two_pieces_is_interrupted(
    serve_app: Start, stuck: type[Stuck], caplog: pytest.LogCaptureFixture
) -> None:
    app = Stream(stuck())
    server = serve_app(app, threads=1, request_timeout_s=0.4)
    lost = stuck is BlockedLock
    if lost:
        server.supervisor = impatient(server)
    client = server.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: streaming(server), "it has a thread of its own")
    app.stick.set()
    assert app.stuck.entered.acquire(timeout=DEADLINE_S)
    with caplog.at_level(logging.ERROR):
        watch(server, lambda: server.reactor.statistics.timeouts["request"] == 1, "it is interrupted")
    data = client.rest()
    assert b"piece" in data
    assert not data.endswith(b"0\r\n\r\n"), "nobody takes it for whole"
    reports = [record.getMessage() for record in caplog.records if "after its last piece" in record.getMessage()]
    assert len(reports) == 1
    assert "/stream" in reports[0]
    assert "in wait" in reports[0], "the stack is told"
    assert server.get("/").body == b"fine"
    assert server.supervisor.lost_threads == int(lost)
    app.stuck.let_go()
    watch(server, lambda: app.closed == 1 and capacity_is_whole(server, 1), "its thread has ended, no other is missing")
    # The slot is given up a moment after the response is closed.
    watch(server, lambda: len(server.pool.slots) == 1, "nor is one too many")


def test_stream_that_keeps_yielding_may_last(serve_app: Start) -> None:
    app = Stream(Sleeping())
    app.stuck.released.set()
    server = serve_app(app, threads=1, request_timeout_s=DEADLINE_S)
    client = server.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: streaming(server), "it has a thread of its own")
    lasted_for_three_deadlines(server)
    for _ in range(3):
        server.supervisor.tick()
    app.stick.set()
    assert client.response().body.endswith(b"piece")
    assert server.reactor.statistics.timeouts["request"] == 0


def test_stream_that_yields_while_the_supervisor_makes_up_its_mind_is_left_alone(
    serve_app: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Stream(Sleeping())
    app.stuck.released.set()
    server = serve_app(app, threads=1, request_timeout_s=0.4)
    client = server.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: streaming(server), "it has a thread of its own")
    looks: list[int] = []

    def silent_first(slot: Any, exchange: Any, now: int) -> int:
        looks.append(now)
        return 0 if len(looks) > 1 else 10**12

    monkeypatch.setattr(deadlines, "_silent_ns", silent_first)
    supervisor = DeadlineSupervisor(server.reactor, grace_s=0.0)
    for _ in range(3):
        supervisor.tick()
    assert len(looks) > 2
    assert supervisor.lost_threads == 0
    assert not any(slot.abandoned or slot.interrupting for slot in server.pool.slots)
    app.stick.set()
    assert client.response().body.endswith(b"piece")


def test_stream_that_waits_for_its_client_is_not_stuck(serve_app: Start) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        for _ in range(200):
            yield b"x" * 50_000

    server = serve_app(app, threads=1, request_timeout_s=DEADLINE_S, outbound_memory_bytes=4096, outbound_spool_bytes=0)
    client = server.connect()
    client.send(REQUEST)
    eventually(lambda: streaming(server) and waits_for_client(server), "it waits for its client")
    lasted_for_three_deadlines(server)
    for slot in server.pool.slots:
        if slot.task is not None:
            slot.task.progressed_ns -= int(3e9 * DEADLINE_S)
    for _ in range(3):
        server.supervisor.tick()
    response: list[Any] = []
    reader = threading.Thread(target=lambda: response.append(client.response()))
    reader.start()
    watch(server, lambda: not reader.is_alive(), "it is read to its end")
    assert response[0].body == b"x" * 10_000_000
    assert server.reactor.statistics.timeouts == {**server.reactor.statistics.timeouts, "request": 0, "write": 0}


def test_stream_without_a_thread_of_its_own_has_the_deadline_of_any_request(serve_app: Start) -> None:
    """It keeps one of the pool's threads from all others."""
    app = Stream(Sleeping())
    server = serve_app(app, threads=1, request_timeout_s=0.3, max_streams=0)
    client = server.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
    watch(server, lambda: server.reactor.statistics.timeouts["request"] == 1, "it is interrupted")
    assert not client.rest().endswith(b"0\r\n\r\n")
    assert server.get("/").body == b"fine"
