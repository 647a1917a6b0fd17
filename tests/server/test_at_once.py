"""Answers that the application has ready: sent by the leader, whatever the threads do, and counted like others."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_wsgiperf.server import unwaiting
from django_wsgiperf.server.accesslog import AccessLog
from django_wsgiperf.server.at_once import MAX_BYTES
from django_wsgiperf.server.listening import tls_context
from django_wsgiperf.server.scoreboard import Scoreboard
from django_wsgiperf.server.statistics import statistics
from django_wsgiperf.server.unwaiting import UnwaitingLog

from .conftest import DEADLINE_S, Client, Server, eventually
from .test_tls import TLS, secured

Start = Callable[..., Server]
FIELDS = [("Content-Type", "text/plain"), ("Age", "3")]


def raising(error: type[Exception]) -> Callable[..., Any]:
    def fails(*args: object) -> Any:
        raise error

    return fails


class Page:
    """What stands in for a page of the cache."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.written: tuple[list[tuple[str, str]], bytes] | None = None


class Ready:
    """An application that has /ready at hand, and whatever else `pages` has; /stuck waits for its gate."""

    def __init__(self) -> None:
        self.pages = {"/ready": Page(b"at hand")}
        self.fields = FIELDS
        self.status = "200 OK"
        self.name: str | None = None
        self.methods = ("GET",)
        self.gate = threading.Event()
        self.recalled: list[str] = []
        self.called: list[str] = []

    def recall(self, environ: dict[str, Any], max_bytes: int) -> Any:
        path = environ["PATH_INFO"]
        self.recalled.append(environ["REQUEST_METHOD"] + path)
        assert "wsgi.input" not in environ
        page = self.pages.get(path)
        if page is None or environ["REQUEST_METHOD"] not in self.methods or len(page.body) > max_bytes:
            return None
        return page, self.status, self.fields, self.name

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        path = environ["PATH_INFO"]
        self.called.append(path)
        environ["wsgi.input"].read()
        if path == "/stuck":
            assert self.gate.wait(DEADLINE_S)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return [b"made"]


@pytest.fixture
def ready() -> Ready:
    return Ready()


@pytest.fixture
def start(serve_app: Start, ready: Ready) -> Start:
    def begin(**options: Any) -> Server:
        return serve_app(ready, validate=False, **options)

    return begin


def test_answered_while_every_thread_is_stuck(start: Start, ready: Ready) -> None:
    server = start(threads=2)
    stuck = [server.connect() for _ in range(4)]
    for client in stuck:
        client.send(b"GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: ready.called == ["/stuck"] * 2, "both threads are stuck")
    with Client(server.port) as client:
        for _ in range(3):
            assert client.get("/ready").body == b"at hand"
    ready.gate.set()
    assert [client.response().body for client in stuck] == [b"made"] * 4
    assert "/ready" not in ready.called


def test_head_is_as_any_other(start: Start) -> None:
    response = start().get("/ready")
    assert (response.status, response.reason, response.body) == (200, "OK", b"at hand")
    assert response.headers.keys() == {"content-type", "age", "date", "content-length"}
    assert response.headers["content-length"] == "7"


def test_head_is_written_once_for_its_list(start: Start, ready: Ready) -> None:
    with Client(start().port) as client:
        first = client.get("/ready")
        written = ready.pages["/ready"].written
        assert client.get("/ready").headers == first.headers
        assert written is not None
        assert ready.pages["/ready"].written is written
        ready.fields = [("Age", "4")]
        assert client.get("/ready").headers["age"] == "4"
        assert ready.pages["/ready"].written is not written


def test_name_of_a_request_is_in_its_answer_alone(start: Start, ready: Ready) -> None:
    with Client(start().port) as client:
        ready.name = "one"
        assert client.get("/ready").headers["x-request-id"] == "one"
        ready.name = "two"
        response = client.get("/ready")
        assert (response.headers["x-request-id"], response.body) == ("two", b"at hand")
        ready.name = None
        assert "x-request-id" not in client.get("/ready").headers


def test_pipelined_requests_are_answered_in_order_however_they_are(start: Start) -> None:
    client = start().connect()
    paths = ["/ready", "/made", "/ready", "/ready", "/made"] * 20
    client.send(b"".join(b"GET %b HTTP/1.1\r\nHost: test\r\n\r\n" % path.encode() for path in paths))
    assert [client.response().body for _ in paths] == [b"at hand" if path == "/ready" else b"made" for path in paths]


def test_request_in_single_bytes(start: Start) -> None:
    client = start().connect()
    for _ in range(2):
        for byte in b"GET /ready HTTP/1.1\r\nHost: test\r\n\r\n":
            client.send(bytes([byte]))
        assert client.response().body == b"at hand"


@pytest.mark.parametrize(
    ("request_line", "field", "stays"),
    [
        ("GET /ready HTTP/1.1", "Connection: close", False),
        ("GET /ready HTTP/1.0", "Accept: */*", False),
        ("GET /ready HTTP/1.0", "Connection: keep-alive", True),
    ],
)
def test_connection_ends_as_its_client_wants(
    start: Start, ready: Ready, request_line: str, field: str, stays: bool
) -> None:
    server = start()
    server.get("/ready")  # A head that is there must not be used.
    client = server.connect()
    client.send(f"{request_line}\r\nHost: test\r\n{field}\r\n\r\n".encode())
    response = client.response()
    assert response.body == b"at hand"
    if stays:
        assert response.headers["connection"] == "keep-alive"
        assert client.get("/ready").body == b"at hand"
    else:
        assert response.headers["connection"] == "close"
        assert client.closed()
    assert not ready.called


def test_connection_ends_while_the_server_drains(start: Start) -> None:
    server = start()
    client = server.connect()
    assert client.get("/ready").body == b"at hand"
    server.reactor.draining = True
    assert client.get("/ready").headers["connection"] == "close"
    assert client.closed()


def test_connection_goes_to_another_worker_where_it_is_better_served(start: Start) -> None:
    server = start()
    client = server.connect()
    client.get("/ready")
    server.reactor.surplus = 1
    assert client.get("/ready").headers["connection"] == "close"
    assert client.closed()
    assert server.reactor.surplus == 0


def test_no_keep_alive_is_no_keep_alive(start: Start) -> None:
    client = start(keepalive_s=0.0).connect()
    assert client.get("/ready").headers["connection"] == "close"
    assert client.closed()


def test_others_take_the_usual_way(start: Start, ready: Ready) -> None:
    with Client(start().port) as client:
        client.send(b"HEAD /ready HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.response("HEAD").headers["content-length"] == "4"
        client.send(b"POST /ready HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        assert client.response().body == b"made"
    assert ready.called == ["/ready", "/ready"]
    assert ready.recalled == ["HEAD/ready"], "a request with a body is not asked for"


def test_head_and_304_end_with_their_head(start: Start, ready: Ready) -> None:
    ready.methods = ("GET", "HEAD")
    ready.pages["/ready"] = Page(b"")
    ready.fields = [("Content-Length", "7")]
    server = start()
    with Client(server.port) as client:
        client.send(b"HEAD /ready HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.response("HEAD").headers["content-length"] == "7"
        ready.status, ready.fields = "304 Not Modified", [("ETag", '"1"')]
        response = client.get("/ready")
        assert (response.status, "content-length" in response.headers) == (304, False)
        ready.status, ready.fields = "200 OK", []
        assert client.get("/ready").headers["content-length"] == "0"
    assert not ready.called


def test_own_pages_of_the_server_come_first(start: Start, ready: Ready) -> None:
    server = start()
    server.reactor.reserved[b"/ready"] = lambda connection, request: b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"
    assert server.get("/ready").body == b"own"
    assert not ready.recalled


@pytest.mark.parametrize("wrong", ["exception", "status", "field", "length"])
def test_what_cannot_be_sent_is_left_to_a_thread(
    start: Start, ready: Ready, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrong == "exception":
        monkeypatch.setattr(ready, "recall", lambda environ, max_bytes: 1 / 0)
    ready.status = "wrong" if wrong == "status" else "200 OK"
    if wrong == "field":
        ready.fields = [("A", "b\r\nc: d")]
    if wrong == "length":
        ready.fields = [("Content-Length", "99")]
    server = start()
    with Client(server.port) as client:
        assert [client.get("/ready").body for _ in range(2)] == [b"made"] * 2
    assert ready.called == ["/ready"] * 2


def test_long_body_is_a_threads(start: Start, ready: Ready) -> None:
    ready.pages["/long"] = Page(bytes(MAX_BYTES))
    ready.pages["/longer"] = Page(bytes(MAX_BYTES + 1))
    server = start()
    assert server.get("/long").body == bytes(MAX_BYTES)
    assert server.get("/longer").body == b"made"
    assert ready.called == ["/longer"]


def test_client_that_does_not_read_gets_no_more_than_its_socket_takes(start: Start, ready: Ready) -> None:
    ready.pages["/long"] = Page(os.urandom(MAX_BYTES))
    server = start()
    client = server.connect()
    client.get("/ready")
    count = 100
    client.send(b"GET /long HTTP/1.1\r\nHost: test\r\n\r\n" * count)
    (connection,) = server.reactor.connections.values()
    eventually(lambda: connection.outbound is not None, "the socket is full")
    assert len(ready.recalled) < count
    assert server.get("/ready").body == b"at hand", "nobody else waits for that one"
    assert all(client.response().body == ready.pages["/long"].body for _ in range(count))
    assert client.get("/ready").body == b"at hand"


def test_client_that_has_gone_harms_nobody(start: Start, ready: Ready) -> None:
    ready.pages["/long"] = Page(bytes(MAX_BYTES))
    server = start()
    for _ in range(20):
        client = server.connect()
        client.send(b"GET /long HTTP/1.1\r\nHost: test\r\n\r\n" * 50)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    eventually(lambda: not server.reactor.connections, "all are forgotten")
    assert server.get("/ready").body == b"at hand"


def test_half_closed_client_still_gets_its_answer(start: Start) -> None:
    client = start().connect()
    client.send(b"GET /ready HTTP/1.1\r\nHost: test\r\n\r\n" * 3)
    client.sock.shutdown(socket.SHUT_WR)
    assert [client.response().body for _ in range(3)] == [b"at hand"] * 3
    assert client.closed()


def test_over_tls(start: Start, ready: Ready) -> None:
    ready.pages["/long"] = Page(os.urandom(MAX_BYTES))
    server = start(tls=tls_context(str(TLS / "certificate.pem"), str(TLS / "key.pem")))
    with secured(server) as client:
        for _ in range(3):
            assert client.get("/ready").body == b"at hand"
            assert client.get("/long").body == ready.pages["/long"].body
    assert not ready.called


def test_counted_like_any_other(start: Start, ready: Ready) -> None:
    server = start()
    board = Scoreboard()
    with Client(server.port) as client:
        for path in ("/ready", "/made", "/ready"):
            client.get(path)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.closed()
    eventually(lambda: not server.pool.busy, "the thread has counted")
    numbers = statistics(server.reactor, board, 0, stacks=False)
    assert numbers["requests"] == 3
    assert numbers["responses"]["2xx"] == 3
    assert sum(numbers["service_histogram_us"].values()) == sum(numbers["queue_histogram_us"].values()) == 3
    own = server.reactor.own
    assert own.requests == own.statuses[2] == 2
    assert own.served_ns > 0
    assert own.sent_bytes > 2 * len(b"at hand")
    board.publish(0, server.reactor, lost_threads=0, rss_bytes=0)
    assert board.get(0, "requests") == board.get(0, "responses_2xx") == 3


def test_written_into_the_access_log(start: Start, ready: Ready, tmp_path: Path) -> None:
    server = start()
    server.reactor.access_log = AccessLog("json", str(tmp_path / "log"))
    ready.status = "404 Not Found"
    assert server.get("/ready?q=1").status == 404
    eventually(lambda: (tmp_path / "log").read_bytes().endswith(b"\n"), "the line is written")
    (line,) = (tmp_path / "log").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["path"], entry["query"], entry["status"], entry["method"]) == ("/ready", "q=1", 404, "GET")
    assert entry["bytes"] == server.reactor.own.sent_bytes
    assert not ready.called


def test_log_that_is_opened_again_is_followed(start: Start, ready: Ready, tmp_path: Path) -> None:
    log = AccessLog("combined", str(tmp_path / "gone" / "log"))
    server = start()
    server.reactor.access_log = log
    assert server.get("/ready?lost").body == b"at hand"
    (tmp_path / "gone").mkdir()
    log.reopen()
    assert server.get("/ready?kept").body == b"at hand"
    eventually(lambda: (tmp_path / "gone" / "log").read_bytes().endswith(b"\n"), "the line is written")
    (line,) = (tmp_path / "gone" / "log").read_text().splitlines()
    assert "/ready?kept" in line
    assert not ready.called


class Pipe:
    """A log that is a pipe, and both of its ends."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        self.log = AccessLog("combined", str(path))

    def fill(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.writer, bytes(4096))

    def read(self) -> bytes:
        """All that is there, but for what fill() has written."""
        found = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                found += os.read(self.reader, 65_536)
        return found.replace(b"\0", b"")


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    made = Pipe(tmp_path / "pipe")
    yield made
    os.close(made.reader)
    os.close(made.writer)
    os.close(made.log.fd)


def test_log_that_is_a_pipe_has_each_line_once(start: Start, ready: Ready, pipe: Pipe) -> None:
    server = start()
    server.reactor.access_log = pipe.log
    found: list[bytes] = []
    for number in range(50):
        assert server.get(f"/ready?{number}").body == b"at hand"

    def written() -> bool:
        found.extend(pipe.read().splitlines())
        return len(found) == 50

    eventually(written, "all is written")
    assert [line.split()[6] for line in found] == [b"/ready?%d" % number for number in range(50)]
    assert not ready.called


def test_nobody_waits_for_a_log_that_nobody_reads(start: Start, ready: Ready, pipe: Pipe) -> None:
    server = start()
    server.reactor.access_log = pipe.log
    pipe.fill()
    client = server.connect()
    assert client.get("/ready").body == b"made", "a thread of the pool waits for the reader, once it has answered"
    assert not server.reactor.own.requests
    found: list[bytes] = []

    def goes_on() -> bool:
        found.append(pipe.read())
        return b"/ready" in b"".join(found) and not server.pool.busy

    eventually(goes_on, "the thread goes on")
    assert client.get("/ready").body == b"at hand"


def test_line_that_a_pipe_does_not_take_after_all_is_left_to_a_thread(pipe: Pipe) -> None:
    log = UnwaitingLog(pipe.log)
    assert not log.would_wait()
    pipe.fill()
    assert log.would_wait()
    log.write(b"a line\n")  # Comes back.
    found: list[bytes] = []
    eventually(lambda: found.append(pipe.read()) or b"".join(found) == b"a line\n", "it is written")  # type: ignore[func-returns-value]
    eventually(lambda: not log.would_wait(), "there is room")
    log.close()


def test_log_that_is_a_socket_is_not_waited_for(tmp_path: Path) -> None:
    """As that of systemd's journal."""
    ours, theirs = socket.socketpair()
    log = AccessLog("combined", str(tmp_path / "log"))
    os.dup2(ours.fileno(), log.fd)
    unwaiting = UnwaitingLog(log)
    sent = 0
    while not unwaiting.would_wait():
        unwaiting.write(b"x" * 999 + b"\n")
        sent += 1000
    ours.close()
    received = 0
    while received < sent:
        received += len(theirs.recv(65_536))
    assert not unwaiting.would_wait()
    theirs.close()
    unwaiting.close()
    os.close(log.fd)


def test_log_that_cannot_be_opened_once_more_is_a_threads(
    start: Start, ready: Ready, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwaiting.os, "open", raising(PermissionError))
    server = start()
    server.reactor.access_log = pipe.log
    assert server.get("/ready").body == b"made"
    assert not ready.recalled


def test_hook_of_somebody_else_is_no_matter_of_the_leaders(start: Start, ready: Ready) -> None:
    server = start()
    told = threading.Event()
    server.reactor.access_log = lambda exchange, slot, queued_ns, took_ns: told.set()
    assert server.get("/ready").body == b"made"
    assert told.wait(DEADLINE_S)
    assert not ready.recalled


def test_many_clients_at_once(start: Start, ready: Ready) -> None:
    server = start(threads=3)
    failures: list[object] = []

    def ask(number: int) -> None:
        with Client(server.port) as client:
            for turn in range(60):
                path = "/ready" if (turn + number) % 3 else "/made"
                body = client.get(path).body
                if body != (b"at hand" if path == "/ready" else b"made"):
                    failures.append((path, body))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not failures
    eventually(lambda: server.reactor.own.requests == 8 * 40, "the last one is counted")
    assert len(ready.called) == 8 * 20
