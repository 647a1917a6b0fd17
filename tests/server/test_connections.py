"""Connections: what clients may do, in order or out of it, and that none of it holds a thread."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from django_wsgiperf.server import gateway

from .conftest import DEADLINE_S, Client, Server, early_client, eventually

Start = Callable[..., Server]
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def echo(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH", 0)))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1") + b" " + body]


class Gate:
    """An application that waits until it is let go; `/now` is answered at once."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.runs = 0

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] != "/now":
            self.runs += 1
            self.entered.release()
            assert self.open.wait(DEADLINE_S)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]


def test_keep_alive_serves_many_requests_on_one_connection(serve_app: Start) -> None:
    server = serve_app(echo)
    client = server.connect()
    assert [client.get(f"/{number}").body for number in range(50)] == [b"/%d " % number for number in range(50)]
    assert server.reactor.statistics.accepted == 1


def test_pipelined_requests_are_answered_in_order(serve_app: Start) -> None:
    client = serve_app(echo).connect()
    client.send(b"".join(b"POST /%d HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc" % n for n in range(100)))
    assert [client.response().body for _ in range(100)] == [b"/%d abc" % number for number in range(100)]


def test_bad_request_among_pipelined_ones_ends_the_connection(serve_app: Start) -> None:
    client = serve_app(echo).connect()
    client.send(REQUEST + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + REQUEST)
    assert [client.response().status, client.response().status] == [200, 400]
    assert client.closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n", 413),
    ],
)
def test_what_is_no_good_request_gets_its_status_and_a_closed_connection(
    serve_app: Start, sent: bytes, status: int
) -> None:
    server = serve_app(echo, body_bytes=1000)
    client = server.connect()
    client.send(sent)
    response = client.response()
    assert response.status == status
    assert response.headers["connection"] == "close"
    assert client.closed()
    assert server.get().status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"HEAD /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: nobody\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", 417),
        (b"HEAD /" + b"a" * 9000, 414),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ],
)
def test_refusal_of_head_has_no_body(serve_app: Start, sent: bytes, status: int) -> None:
    server = serve_app(echo, body_bytes=1000, trusted_proxies=("127.0.0.1",))
    for before in (b"", REQUEST):
        client = server.connect()
        client.send(before + sent)
        if before:
            assert client.response().status == 200
        head = client.rest()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert head.endswith(b"\r\nConnection: close\r\n\r\n")
        assert b"\r\nContent-Length: " in head


def test_expect_continue_is_answered_before_the_body_comes(serve_app: Start) -> None:
    client = serve_app(echo).connect()
    client.send(b"POST /a HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    line = client.sock.recv(100)
    assert line == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.response().body == b"/a abc"


def test_upgrade_is_answered_as_plain_http(serve_app: Start) -> None:
    client = serve_app(echo).connect()
    assert client.get("/ws", "Connection: Upgrade", "Upgrade: websocket").status == 200
    assert client.get("/next").status == 200


def test_request_in_single_bytes(serve_app: Start) -> None:
    client = serve_app(echo).connect()
    for byte in b"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n":
        client.send(bytes([byte]))
    assert client.response().body == b"/x ab"


def test_half_closed_client_still_gets_its_response(serve_app: Start) -> None:
    client = serve_app(echo).connect()
    client.send(REQUEST)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.response().status == 200
    assert client.closed()


@pytest.mark.parametrize("sent", [REQUEST, REQUEST * 2, REQUEST * 3, REQUEST + b"GET"])
def test_half_closed_client_is_let_go_when_it_has_all_its_responses(
    serve_app: Start, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "_WAITED_NS", 600 * 10**9)  # It has not left the queue, however busy the machine is.
    gate = Gate()
    server = serve_app(gate, keepalive_s=600.0)
    client = server.connect()
    client.send(REQUEST)
    assert gate.entered.acquire(timeout=DEADLINE_S)
    (connection,) = server.reactor.connections.values()
    client.send(sent)
    client.sock.shutdown(socket.SHUT_WR)
    eventually(lambda: connection.hung_up or connection.readable, "what it sent, and that it is all, is noticed")
    gate.open.set()
    assert [client.response().status for _ in range(1 + sent.count(REQUEST))] == [200] * (1 + sent.count(REQUEST))
    assert client.closed()


def test_half_closed_client_still_gets_the_last_response_whole(serve_app: Start) -> None:
    client = serve_app(big_list).connect()
    client.send(b"GET /big HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert len(client.response().body) == 8_000_000
    assert client.closed()


def test_half_closed_client_still_gets_its_stream_whole(serve_app: Start) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        entered.set()
        assert go_on.wait(DEADLINE_S)
        for _ in range(100):
            yield b"x" * 50_000

    server = serve_app(app)
    client = server.connect()
    client.send(REQUEST)
    assert entered.wait(DEADLINE_S)
    client.sock.shutdown(socket.SHUT_WR)
    eventually(lambda: any(c.gone for c in list(server.reactor.connections.values())), "its end is seen")
    go_on.set()
    assert client.response().body == b"first" + b"x" * 5_000_000
    assert client.closed()


def test_endless_stream_ends_when_its_client_has_gone(serve_app: Start) -> None:
    closed = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while not closed.wait(0.01):
                yield b"tick"
        finally:
            closed.set()

    client = Client(serve_app(app).port)
    client.send(REQUEST)
    assert client.sock.recv(15) == b"HTTP/1.1 200 OK"
    client.close()
    assert closed.wait(DEADLINE_S)


def test_last_piece_is_not_held_back_for_an_acknowledgement(serve_app: Start) -> None:
    server = serve_app(echo)
    server.connect().get()
    sockets = [connection.sock for connection in server.reactor.connections.values()]
    assert [sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0 for sock in sockets] == [True]


def test_large_bodies_both_ways(serve_app: Start) -> None:
    body = bytes(range(256)) * 32_768  # 8 MiB
    client = serve_app(echo).connect()
    head = b"POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
    sender = threading.Thread(target=client.send, args=(head + body,))
    sender.start()
    assert client.response().body == b"/x " + body
    sender.join()


def test_reset_in_mid_request_harms_nobody(serve_app: Start) -> None:
    server = serve_app(echo)
    for sent in (b"", b"GET", REQUEST[:-2], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", REQUEST):
        client = Client(server.port)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.send(sent)
        client.close()
    assert server.get().status == 200
    eventually(lambda: not server.reactor.connections, "all connections are gone")


def test_queued_request_of_a_client_that_left_is_not_run(serve_app: Start) -> None:
    gate = Gate()
    server = serve_app(gate, threads=1)
    first = server.connect()
    first.send(REQUEST)
    assert gate.entered.acquire(timeout=DEADLINE_S)
    second = Client(server.port)
    second.send(REQUEST)
    eventually(lambda: len(server.pool.queue) == 1, "the second request is queued")
    second.close()
    eventually(lambda: server.reactor.statistics.abandoned == 1, "it is dropped")
    assert not server.pool.queue
    gate.open.set()
    assert first.response().status == 200
    assert gate.runs == 1


def test_leader_reads_while_every_thread_is_busy(serve_app: Start) -> None:
    gate = Gate()
    server = serve_app(gate, threads=2)
    blocked = [server.connect() for _ in range(2)]
    for client in blocked:
        client.send(REQUEST)
        assert gate.entered.acquire(timeout=DEADLINE_S)
    server.reactor.reserved[b"/alive"] = lambda connection, request: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert server.get("/alive").status == 200
    waiting = server.connect()
    waiting.send(b"GET /now HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: len(server.pool.queue) == 1, "it is read and queued")
    gate.open.set()
    assert waiting.response().body == b"done"


SLOW = {
    "connects only": b"",
    "half a head": REQUEST[:20],
    "half a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
}


@pytest.mark.parametrize("kind", SLOW)
def test_fifty_slow_senders_hold_no_thread(serve_app: Start, kind: str) -> None:
    server = serve_app(echo, threads=2)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(Client(server.port)).send(SLOW[kind])
        eventually(lambda: len(server.reactor.connections) == 50, "all are connected")
        eventually(lambda: server.pool.busy == 0, "no slot is taken")
        assert [server.get().status for _ in range(5)] == [200] * 5
    eventually(lambda: not server.reactor.connections, "all connections are gone")


def test_fifty_idle_keep_alive_connections_hold_no_thread(serve_app: Start) -> None:
    server = serve_app(echo, threads=2)
    clients = [server.connect() for _ in range(50)]
    assert {client.get().status for client in clients} == {200}
    eventually(lambda: server.pool.busy == 0, "no slot is taken")
    assert server.get().status == 200


def big_list(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * 8_000_000] if environ["PATH_INFO"] == "/big" else [b"small"]


def big_generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/big":
        for _ in range(125):
            yield b"x" * 64_000
    else:
        yield b"small"


@pytest.mark.parametrize("app", [big_list, big_generator])
def test_fifty_readers_that_read_nothing_hold_no_thread(serve_app: Start, app: Any) -> None:
    server = serve_app(app, threads=2)
    clients = [server.connect() for _ in range(50)]
    for client in clients:
        client.send(b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: sum(slot.requests for slot in server.pool.slots) >= 50, "all responses are left to the leader")
    eventually(lambda: server.pool.busy == 0, "no slot is taken")
    held = [c.outbound._memory for c in list(server.reactor.connections.values()) if c.outbound is not None]
    assert sum(held) <= (len(clients) + 64) * server.reactor.settings.outbound_memory_bytes
    assert server.get("/small").body == b"small"
    assert clients[7].response().body == b"x" * 8_000_000, "and whoever reads on gets it all"


def test_endless_stream_of_a_reader_that_reads_nothing_takes_no_slot(serve_app: Start) -> None:
    def endless(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        while environ["PATH_INFO"] == "/endless":
            yield b"x" * 64_000
        yield b"small"

    server = serve_app(endless, threads=1, outbound_memory_bytes=100_000, outbound_spool_bytes=1_000_000, max_streams=2)
    clients = [Client(server.port) for _ in range(2)]
    for client in clients:
        client.send(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: sum(slot.detached for slot in server.pool.slots) == 2, "both have a thread of their own")
    assert server.get("/small").body == b"small"
    for client in clients:
        client.close()
    eventually(lambda: not any(slot.detached for slot in server.pool.slots), "the threads are back")
    assert server.get("/small").body == b"small"
    assert len(server.pool.slots) == 1


@pytest.mark.parametrize(
    ("sent", "option", "kind", "status"),
    [
        (b"", "header_timeout_s", "header", None),
        (b"GET / HT", "header_timeout_s", "header", 408),
        (SLOW["half a body"], "body_timeout_s", "body", 408),
        (REQUEST, "keepalive_s", "keepalive", 200),
    ],
)
def test_time_outs(serve_app: Start, sent: bytes, option: str, kind: str, status: int | None) -> None:
    with early_client(sent) as (client, listening):
        server = serve_app(echo, listening=listening, **{option: 0.1})
        if status is not None:
            assert client.response().status == status
        assert client.closed()
    assert server.reactor.statistics.timeouts[kind] == 1


def test_client_that_takes_nothing_is_cut_off(serve_app: Start) -> None:
    server = serve_app(big_list, write_timeout_s=0.2)
    client = server.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.send(b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: server.reactor.statistics.timeouts["write"] == 1, "the write time-out")
    eventually(lambda: not server.reactor.connections, "the connection is gone")


def test_client_that_pipelines_but_does_not_read_gets_no_further_response_made(serve_app: Start) -> None:
    runs: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        runs.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * 8_000_000]

    server = serve_app(app)
    client = server.connect()
    client.send(REQUEST * 50)
    eventually(lambda: len(runs) == 1, "the first response is made")
    assert server.get().status == 200
    assert len(runs) == 2
    assert all(len(client.response().body) == 8_000_000 for _ in range(3))


def test_connections_above_the_limit_wait(serve_app: Start) -> None:
    server = serve_app(echo, max_connections=2)
    first, _second = server.connect(), server.connect()
    eventually(lambda: len(server.reactor.connections) == 2, "both are there, and have not asked yet")
    third = server.connect()
    third.send(REQUEST)
    eventually(lambda: not server.reactor.acceptor.is_accepting, "accepting pauses")
    assert len(server.reactor.connections) == 2
    first.close()
    assert third.response().status == 200


def test_whoever_has_rested_longest_makes_room_for_a_newcomer(serve_app: Start) -> None:
    server = serve_app(echo, max_connections=3)
    clients = [server.connect() for _ in range(3)]
    assert [client.get().status for client in clients] == [200, 200, 200]
    resting = list(server.reactor.connections.values())
    eventually(lambda: not any(connection.busy for connection in resting), "all are at rest")
    for connection, seconds in zip(resting, (5, 20, 10), strict=True):
        connection.deadline -= seconds
    assert server.get().status == 200
    assert clients[1].closed()
    assert clients[0].get().status == 200
    assert clients[2].get().status == 200


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Set how many files this process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda files: resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def next_file() -> int:
    """The descriptor that would be opened next."""
    number = os.dup(0)
    os.close(number)
    return number


def let_rest(server: Server, seconds: float = 10) -> None:
    """Have all connections be as if they had not asked for so long."""
    connections = list(server.reactor.connections.values())
    eventually(lambda: not any(connection.busy for connection in connections), "all are at rest")
    for connection in connections:
        connection.deadline -= seconds


def test_connections_leave_some_of_the_files_that_may_be_open(
    serve_app: Start, file_limit: Callable[[int], None]
) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = next_file() + 100  # Whatever other tests have open.
    file_limit(lowered)
    server = serve_app(echo)
    file_limit(soft)  # The clients are in this process, too.
    room = lowered - min(lowered // 4, 256)
    clients = [server.connect() for _ in range(room)]
    assert {client.get().status for client in clients} == {200}
    let_rest(server)
    assert server.get().status == 200
    assert server.reactor.statistics.open_max == room


def test_resting_connections_make_room_where_no_file_can_be_opened(
    serve_app: Start, file_limit: Callable[[int], None]
) -> None:
    server = serve_app(echo)
    resting = server.connect()
    assert resting.get().status == 200
    let_rest(server)
    newcomer = socket.socket()
    file_limit(next_file())
    newcomer.settimeout(DEADLINE_S)
    newcomer.connect(("127.0.0.1", server.port))
    with Client(server.port, newcomer) as client:
        assert client.get().status == 200
    assert resting.closed()


def test_turn_that_fails_takes_no_event_from_others(
    serve_app: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve_app(echo)
    clients = [server.connect() for _ in range(4)]
    assert [client.get().status for client in clients] == [200] * 4
    eventually(lambda: not any(c.busy for c in server.reactor.connections.values()), "all are at rest")
    poller, intake = server.reactor._poller, server.reactor.intake
    poll, readable = poller.poll, intake.readable
    events: dict[int, int] = {}
    failed: list[int] = []

    def all_at_once(timeout_s: float) -> list[tuple[int, int]]:
        for fd, mask in poll(timeout_s):
            if fd in server.reactor.connections:
                events[fd] = events.get(fd, 0) | mask
        if len(events) < 4 and not failed:
            return []
        there = list(events.items())
        events.clear()
        return there

    def failing(connection: Any, now_ns: int) -> None:
        if not failed:
            failed.append(connection.fd)
            raise RuntimeError("a bug")
        readable(connection, now_ns)

    monkeypatch.setattr(server.reactor, "_poller", SimpleNamespace(poll=all_at_once, arm=poller.arm))
    monkeypatch.setattr(intake, "readable", failing)
    server.reactor.wake()
    for client in clients:
        client.send(REQUEST)
    eventually(lambda: sum(slot.requests for slot in server.pool.slots) == 7, "three of four are answered")
    assert "The reactor failed" in caplog.text
    monkeypatch.undo()
    server.reactor.wake()
    assert server.get().status == 200


def test_queue_past_its_length_gets_503_at_once(serve_app: Start) -> None:
    gate = Gate()
    server = serve_app(gate, threads=1, queue_length=1)
    running, queued, refused = (server.connect() for _ in range(3))
    running.send(REQUEST)
    assert gate.entered.acquire(timeout=DEADLINE_S)
    queued.send(REQUEST)
    eventually(lambda: len(server.pool.queue) == 1, "one is queued")
    response = refused.get()
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert server.reactor.statistics.shed["queue_length"] == 1
    gate.open.set()
    assert (running.response().status, queued.response().status) == (200, 200)
    assert refused.get("/now").status == 200, "the refused client's connection lives on"


def test_queue_past_its_deadline_gets_503(serve_app: Start) -> None:
    gate = Gate()
    server = serve_app(gate, threads=1, queue_deadline_s=0.1, queue_standing_deadline_s=0.1)
    running, queued = server.connect(), server.connect()
    running.send(REQUEST)
    assert gate.entered.acquire(timeout=DEADLINE_S)
    assert queued.get().status == 503
    assert server.reactor.statistics.shed["queue_deadline"] == 1
    gate.open.set()
    assert running.response().status == 200
    assert gate.runs == 1


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("sent", [b"", b"GET", SLOW["half a body"], SLOW["half a chunk"]])
def test_client_that_left_in_mid_request_is_let_go_at_once(serve_app: Start, sent: bytes, reset: bool) -> None:
    """Its last bytes and its end come as one event, and the event only once."""
    listening = socket.create_server(("127.0.0.1", 0))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(listening.getsockname()[1])) for _ in range(10)]
        for client in clients:
            if reset:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(sent)
    server = serve_app(echo, listening=listening)
    eventually(lambda: server.reactor.statistics.accepted == 10, "all were accepted")
    eventually(lambda: not server.reactor.connections, "none is kept for what will never come")


def test_application_finds_no_exception_that_is_not_its_own(serve_app: Start) -> None:
    """Who asks sys.exc_info() while the thread follows another that leads would find the pool's."""
    found: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        found.append(sys.exc_info()[0])
        time.sleep(0.003)  # Long enough for another thread to take the lead.
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    server = serve_app(app, threads=2)
    clients = [server.connect() for _ in range(8)]
    for _ in range(40):
        for client in clients:
            client.send(REQUEST)
        assert {client.response().status for client in clients} == {200}
    assert set(found) == {None}
