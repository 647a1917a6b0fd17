"""Idle connections that one worker gives to another: which they are, and that their clients do not notice."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from django_wsgiperf.server.handover import Channel

from .conftest import Server, eventually

ServeApp = Callable[..., Server]
Channels = tuple[Channel, Channel]


def named(name: bytes) -> Any:
    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(name)))])
        return [name]

    return application


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    """One channel as two processes have it."""
    first = Channel()
    both = first, Channel([socket.socket(fileno=os.dup(fd)) for fd in first.fds])
    yield both
    for channel in both:
        channel.close()
        channel._out.close()


def let_go(server: Server) -> None:
    """Have the server take nothing more and give its idle connections away."""
    server.reactor.stop_accepting()
    eventually(lambda: not server.reactor.acceptor.listeners, "it has stopped")
    server.reactor.on_sweep = server.reactor.acceptor.hand_on
    server.reactor.sweep_soon()


class TestHandingOn:
    def test_kept_and_new_connections_are_answered_by_who_stays(self, serve_app: ServeApp, channels: Channels) -> None:
        old = serve_app(named(b"old"), channel=channels[0])
        serve_app(named(b"new"), channel=channels[1])
        kept, silent = old.connect(), old.connect()
        assert kept.get().body == b"old"
        eventually(lambda: len(old.reactor.connections) == 2, "both are accepted")
        let_go(old)
        eventually(lambda: not old.reactor.connections, "they are gone")
        for client in (kept, silent, kept):
            response = client.get()
            assert response.body == b"new"
            assert "connection" not in response.headers

    def test_connections_wait_for_a_successor_to_come(self, serve_app: ServeApp, channels: Channels) -> None:
        old = serve_app(named(b"old"), channel=channels[0])
        impatient, patient = old.connect(), old.connect()
        for client in (impatient, patient):
            client.get()
        let_go(old)
        eventually(lambda: not old.reactor.connections, "they are gone")
        patient.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        impatient.close()
        serve_app(named(b"new"), channel=channels[1])
        assert patient.response().body == b"new"

    def test_more_connections_than_fit_at_once_all_arrive(self, serve_app: ServeApp, channels: Channels) -> None:
        old, new = serve_app(named(b"old"), channel=channels[0]), serve_app(named(b"new"), channel=channels[1])
        clients = [old.connect() for _ in range(400)]
        eventually(lambda: len(old.reactor.connections) == 400, "all are accepted")
        let_go(old)
        eventually(lambda: len(new.reactor.connections) == 400, "all have arrived")
        assert {client.get().body for client in clients} == {b"new"}

    def test_what_is_not_idle_stays(self, serve_app: ServeApp, channels: Channels) -> None:
        old, new = serve_app(named(b"old"), channel=channels[0]), serve_app(named(b"new"), channel=channels[1])
        half, idle = old.connect(), old.connect()
        half.send(b"GET / HTTP/1.1\r\n")
        eventually(lambda: len(old.reactor.connections) == 2, "both are accepted")
        eventually(lambda: any(c.inbox for c in old.reactor.connections.values()), "half a head is there")
        let_go(old)
        eventually(lambda: len(old.reactor.connections) == 1, "the idle one is gone")
        assert idle.get().body == b"new"
        # Before it is answered: then it is idle too, and the next sweep gives it away.
        assert len(new.reactor.connections) == 1
        half.send(b"Host: test\r\n\r\n")
        assert half.response().body == b"old"

    def test_connection_whose_client_a_proxy_named_stays(self, serve_app: ServeApp, channels: Channels) -> None:
        trust = {"proxy_protocol": True, "trusted_proxies": ("127.0.0.1",)}
        old = serve_app(named(b"old"), channel=channels[0], **trust)
        serve_app(named(b"new"), channel=channels[1], **trust)
        client = old.connect()
        client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n")
        assert client.get().body == b"old"
        swept = threading.Event()
        let_go(old)

        def on_sweep() -> None:
            old.reactor.acceptor.hand_on()
            swept.set()

        old.reactor.on_sweep = on_sweep
        assert swept.wait(60), "it has given away what it could"
        assert client.get().body == b"old"

    def test_kept_connection_keeps_its_time(self, serve_app: ServeApp, channels: Channels) -> None:
        """One that has been served may be idle for longer than a new one may take to ask."""
        times = {"keepalive_s": 1200.0}
        old = serve_app(named(b"old"), channel=channels[0], **times)
        new = serve_app(named(b"new"), channel=channels[1], **times)
        kept, silent = old.connect(), old.connect()
        kept.get()
        eventually(lambda: len(old.reactor.connections) == 2, "both are accepted")
        let_go(old)
        eventually(lambda: len(new.reactor.connections) == 2, "they have arrived")
        ports = {client.sock.getsockname()[1]: client for client in (kept, silent)}
        by_client = {ports[int(c.peer_port)]: c for c in list(new.reactor.connections.values())}
        assert by_client[kept].served == 1
        assert by_client[kept].deadline > by_client[silent].deadline + 500


class TestChannel:
    def test_dead_connection_is_no_connection(self, channels: Channels) -> None:
        channel, _ = channels
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            sock, _ = listening.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        socket.send_fds(channel._out, [b"1"], [sock.fileno()])
        sock.close()
        with pytest.raises(OSError, match="not connected"):
            channel.accept()
        with pytest.raises(BlockingIOError):
            channel.accept()
