"""Connections that speak TLS: what differs from plain ones is how they begin, how they are read, and how they end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_wsgiperf.server.listening import tls_context

from .conftest import DEADLINE_S, Client, Server, eventually
from .test_connections import Gate

Start = Callable[..., Server]
TLS = Path(__file__).parent / "tls"
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
BODY = bytes(range(256)) * 16_384  # 4 MiB


@pytest.fixture
def tls() -> ssl.SSLContext:
    return tls_context(str(TLS / "certificate.pem"), str(TLS / "key.pem"))


def secured(server: Server) -> Client:
    """A client that takes an end without TLS's own notice of it for what it may be, an attack."""
    context = ssl.create_default_context(cafile=str(TLS / "certificate.pem"))
    context.check_hostname = False
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
    return Client(0, context.wrap_socket(sock, suppress_ragged_eofs=False))


def echo(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH", 0)))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


def pieces(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for at in range(0, len(BODY), 65_536):
        yield BODY[at : at + 65_536]


def test_large_bodies_both_ways(serve_app: Start, tls: ssl.SSLContext) -> None:
    with secured(serve_app(echo, tls=tls)) as client:
        head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        client.send(head + BODY)
        assert client.response().body == BODY


def test_response_that_the_socket_takes_a_part_of_goes_on_where_it_was(serve_app: Start, tls: ssl.SSLContext) -> None:
    whole = BODY * 4  # More than the kernel takes for a client that does not read, and that is more than a MiB.

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [whole]

    server = serve_app(app, tls=tls)
    with secured(server) as client:
        client.send(REQUEST)
        eventually(
            lambda: any(not c.busy and c.outbound is not None for c in list(server.reactor.connections.values())),
            "the rest of the response waits for the client",
        )
        assert client.response().body == whole


def test_pipelined_requests_are_answered_in_order(serve_app: Start, tls: ssl.SSLContext) -> None:
    with secured(serve_app(echo, tls=tls)) as client:
        client.send(b"".join(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d" % n for n in range(1000)))
        assert [client.response().body for _ in range(1000)] == [b"%04d" % number for number in range(1000)]


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"])
def test_end_of_the_response_cannot_be_taken_for_a_cut(serve_app: Start, tls: ssl.SSLContext, head: bytes) -> None:
    with secured(serve_app(pieces, tls=tls)) as client:
        client.send(head)
        assert client.response().body == BODY
        assert client.closed()


def test_client_that_pipelines_while_it_waits_has_not_left(serve_app: Start, tls: ssl.SSLContext) -> None:
    gate = Gate()
    server = serve_app(gate, threads=1, tls=tls)
    with secured(server) as client:
        client.send(REQUEST)
        assert gate.entered.acquire(timeout=DEADLINE_S)
        (connection,) = server.reactor.connections.values()
        client.send(REQUEST)
        eventually(lambda: connection.readable, "the second request is noticed")
        assert not connection.gone
        gate.open.set()
        assert [client.response().body for _ in range(2)] == [b"done", b"done"]


def test_client_that_leaves_while_it_waits_is_noticed(serve_app: Start, tls: ssl.SSLContext) -> None:
    gate = Gate()
    server = serve_app(gate, threads=1, tls=tls)
    with secured(server) as client:
        client.send(REQUEST)
        assert gate.entered.acquire(timeout=DEADLINE_S)
        (connection,) = server.reactor.connections.values()
    eventually(lambda: connection.gone, "the client's end is noticed")
    gate.open.set()
    eventually(lambda: not server.reactor.connections, "the connection is closed")


def test_fifty_half_handshakes_hold_no_thread(serve_app: Start, tls: ssl.SSLContext) -> None:
    server = serve_app(echo, tls=tls)
    hello = ssl.MemoryBIO()
    client_side = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="test")
    with pytest.raises(ssl.SSLWantReadError):
        client_side.do_handshake()
    half = hello.read()[:-10]
    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    for sock in waiting:
        sock.sendall(half)
    with secured(server) as client:
        assert client.get().status == 200
    for sock in waiting:
        sock.close()


@pytest.mark.parametrize("body", [b"", b"x" * 100_000])
def test_plain_http_is_told_what_to_write(serve_app: Start, tls: ssl.SSLContext, body: bytes) -> None:
    server = serve_app(echo, tls=tls)
    with Client(server.port) as client:
        # With something left unread, to close would be to reset, which takes the answer from the client.
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        response = client.response()
        assert response.status == 400
        assert response.body == b"this port speaks HTTPS; write https:// in the address\n"
    with secured(server) as client:
        assert client.get().status == 200
