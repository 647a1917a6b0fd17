"""What the server writes of a request into its log: one line, whatever the client has put into the path."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import DEADLINE_S, eventually
from .test_deadlines import Start, impatient, watch

FORGED = "%0d%0a[CRITICAL]%20forged%1b[31m"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="django_wsgiperf.server"):
        yield caplog


def assert_only(logged: pytest.LogCaptureFixture, text: str) -> None:
    """There is one record, which has the path as the client has sent it."""
    eventually(lambda: bool(logged.records), "something is logged")
    [message] = [record.getMessage() for record in logged.records]
    first = message.split("\n")[0]
    assert text in first
    assert FORGED in first
    assert "\n[CRITICAL]" not in message
    assert "\x1b" not in message


def failing(environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError("a bug")


def short(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    yield b"x"


def long(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    yield b"xxxx"


@pytest.mark.parametrize(
    ("app", "text"), [(failing, "Error in the application"), (short, "less than"), (long, "more than")]
)
def test_application_that_goes_wrong(serve_app: Start, logged: pytest.LogCaptureFixture, app: Any, text: str) -> None:
    client = serve_app(app, validate=False).connect()
    client.send(f"GET /{FORGED} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    client.rest()
    assert_only(logged, text)


@pytest.mark.parametrize("reacts", [True, False])
def test_request_that_takes_too_long(serve_app: Start, logged: pytest.LogCaptureFixture, reacts: bool) -> None:
    entered, released = threading.Event(), threading.Lock()
    released.acquire()

    def app(environ: Any, start_response: Any) -> Any:
        entered.set()
        if not reacts:
            released.acquire()
        while released.locked():
            time.sleep(0.01)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    server = serve_app(app, request_timeout_s=0.05)
    try:
        client = server.connect()
        client.send(f"GET /{FORGED} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        assert entered.wait(DEADLINE_S)
        watch(server, lambda: bool(logged.records), "it is interrupted")
        assert_only(logged, "past its deadline")
        if not reacts:
            logged.clear()
            server.supervisor = impatient(server)
            watch(server, lambda: any("Thread lost" in each.getMessage() for each in logged.records), "it is given up")
            logged.records[:] = [each for each in logged.records if "Thread lost" in each.getMessage()]
            assert_only(logged, "Thread lost")
    finally:
        released.release()


def test_request_that_is_interrupted_on_demand(serve_app: Start, logged: pytest.LogCaptureFixture) -> None:
    threads: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        threads.append(threading.get_ident())
        while True:
            time.sleep(0.01)

    server = serve_app(app)
    client = server.connect()
    client.send(f"GET /{FORGED} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    eventually(lambda: bool(threads), "it runs")
    assert server.supervisor.interrupt(threads[0], lambda: True)
    assert client.response().status == 504
    assert_only(logged, "on demand")
