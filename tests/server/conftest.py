"""A real server in this process, on a loopback socket, for any WSGI application.

`serve_app(app, threads=2, **settings)` starts the reactor and the pool; afterwards everything must have ended.
"""

from __future__ import annotations

import contextlib
import faulthandler
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.server.accepting import Listener, base_environ
from django_wsgiperf.server.deadlines import DeadlineSupervisor
from django_wsgiperf.server.handover import Channel
from django_wsgiperf.server.poller import EpollPoller, SelectorPoller
from django_wsgiperf.server.reactor import Reactor
from django_wsgiperf.server.threadpool import ThreadPool

from .patience import PATIENT
from .processes import Serve, write_project
from .validation import validated

DEADLINE_S = 60.0


class Client:
    """A raw connection that reads responses one by one."""

    def __init__(self, port: int, sock: socket.socket | None = None) -> None:
        self.sock = sock or socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self._file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def response(self, method: str = "GET") -> Response:
        """The next response; EOFError when the connection has been closed instead."""
        if not self._file.peek(1):
            raise EOFError
        parsed = http.client.HTTPResponse(_Borrowed(self._file), method=method)  # type: ignore[arg-type]
        parsed.begin()
        body = b"" if parsed.status == 100 else parsed.read()
        return Response(parsed.status, parsed.reason, parsed.getheaders(), body)

    def get(self, path: str = "/", *fields: str) -> Response:
        lines = "".join(f"{field}\r\n" for field in fields)
        self.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode())
        return self.response()

    def closed(self) -> bool:
        """Whether the server has closed, or does before the deadline, with nothing more to read."""
        return not self._file.read(1)

    def rest(self) -> bytes:
        return self._file.read()

    def close(self) -> None:
        self._file.close()
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Borrowed:
    """What HTTPResponse takes for a socket: it may close the file it is given, but not ours."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def makefile(self, mode: str) -> Any:
        return _Unclosed(self._file)


class _Unclosed:
    def __init__(self, file: io.BufferedReader) -> None:
        self.read, self.readline, self.readinto, self.read1 = file.read, file.readline, file.readinto, file.read1
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        pass


class Response:
    def __init__(self, status: int, reason: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.reason = reason
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body


class Server:
    """A running reactor and pool; `port` is 0 on a unix socket."""

    def __init__(self, reactor: Reactor, pool: ThreadPool, listening: socket.socket) -> None:
        self.reactor = reactor
        self.pool = pool
        # A busy machine lets nobody be given up; a test about that has a supervisor that is less patient.
        self.supervisor = DeadlineSupervisor(reactor, grace_s=DEADLINE_S)
        address = listening.getsockname()
        self.port: int = address[1] if isinstance(address, tuple) else 0
        self._listening = listening
        self._clients: list[Client] = []

    def connect(self) -> Client:
        client = Client(self.port)
        self._clients.append(client)
        return client

    def get(self, path: str = "/", *fields: str) -> Response:
        """One request on a connection of its own."""
        with Client(self.port) as client:
            return client.get(path, *fields)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        assert self.pool.stop(DEADLINE_S), "a pool thread did not end"
        self.reactor.shut_down()
        self._listening.close()


@contextlib.contextmanager
def early_client(sent: bytes) -> Iterator[tuple[Client, socket.socket]]:
    """A client, and the socket to serve, before anybody serves it: no time-out is faster than what it has sent."""
    listening = socket.create_server(("127.0.0.1", 0))
    with Client(listening.getsockname()[1]) as client:
        client.send(sent)
        yield client, listening


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for what another thread is about to do; only a failure takes long."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            faulthandler.dump_traceback()  # Who waits for what is the first question then.
            pytest.fail(f"never happened: {what}")
        threading.Event().wait(0.005)


@pytest.fixture(params=[EpollPoller, SelectorPoller], ids=["epoll", "selector"])
def serve_app(request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Start servers; `validate=False` leaves wsgiref.validate out, for applications that misbehave on purpose.

    `listening` is an open socket to serve instead of a free port, `tls` what to speak on it, `channel` where its idle
    connections may be handed on."""
    servers: list[Server] = []

    def start(
        app: Any,
        threads: int = 2,
        validate: bool = True,
        listening: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
        channel: Channel | None = None,
        **options: Any,
    ) -> Server:
        settings = ServerSettings(threads=threads, **{**PATIENT, **options})
        listening = listening or socket.create_server(("127.0.0.1", 0), backlog=512)
        listening.setblocking(False)
        environ = base_environ(settings, listening, tls=tls is not None, multiprocess=False)
        listener = Listener(listening, environ, tls, unix=listening.family == socket.AF_UNIX, channel=channel)
        reactor = Reactor(settings, validated(app) if validate else app, [listener], request.param())
        pool = reactor.pool = ThreadPool(reactor, threads)
        pool.start()
        server = Server(reactor, pool, listening)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a small Django project."""
    return write_project(tmp_path)


@pytest.fixture
def serve(project: Path) -> Iterator[Callable[..., Serve]]:
    """Start `manage.py serve` of the project, on a port of its own unless an address is given."""
    started: list[Serve] = []

    def start(*arguments: str, **options: Any) -> Serve:
        started.append(Serve(project, *arguments, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()
