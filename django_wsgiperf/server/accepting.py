"""From a listening socket to connections: which are accepted, and when none is.

The leader's. What a connection sends is read in intake.py.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django_wsgiperf.conf import ServerSettings

from .addresses import parse_address, server_name
from .connection import Connection
from .files import FileWrapper
from .handover import Channel
from .poller import Poller
from .proxy import Complaints

if TYPE_CHECKING:
    from .reactor import Reactor

_ACCEPTS_IN_A_ROW = 64
_PAUSE_S = 0.5
_FILES_SPARED = 256
"""Of the files that the process may open, so many or a quarter are not for connections: the application opens some,
bodies are spooled to others."""


@dataclass(slots=True)
class Listener:
    """A listening socket, and the part of the environ that its requests share."""

    sock: socket.socket | Channel
    base_environ: dict[str, Any]
    tls: ssl.SSLContext | None = None
    unix: bool = False
    channel: Channel | None = None
    """Where its idle connections go when this worker does, and where those of other workers come from."""


class Acceptor:
    """The listeners of one worker. Begins to accept at once."""

    def __init__(self, reactor: Reactor, listeners: Iterable[Listener], poller: Poller) -> None:
        self.listeners: dict[int, Listener] = {}
        for listener in listeners:
            self.listeners[listener.sock.fileno()] = listener
            if listener.channel is not None:
                self.listeners[listener.channel.fileno()] = replace(listener, sock=listener.channel)
            if not listener.unix and isinstance(listener.sock, socket.socket):
                # Inherited by what is accepted. Else each last piece of a stream waits 40 ms for the client to
                # acknowledge the piece before it.
                listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stopping = False
        """Take what the kernel has accepted already, then nothing more."""
        self._reactor = reactor
        self._poller = poller
        self._accepting = False
        self._again_at = 0.0
        self._header_timeout_s = reactor.settings.header_timeout_s
        self._complain = Complaints()
        chosen, possible = reactor.settings.max_connections, connections_possible()
        self._most = min(chosen, possible)
        self._all_taken = f"max_connections ({chosen}) connections are open"
        if possible < chosen:
            self._all_taken = (
                f"{possible} connections are open; for more, raise the limit of open files (ulimit -n, LimitNOFILE)"
            )
        self.accept(True)

    def sweep(self, now: float) -> None:
        """About four times a second: go on after a pause, or stop when that was asked for."""
        if self._again_at and now >= self._again_at and not self.stopping:
            self._again_at = 0.0
            self.accept(True)
        if self.stopping and self.listeners:
            self.accept_the_rest()

    def accept(self, accepting: bool) -> None:
        """Begin or stop taking connections from the listeners."""
        if accepting == self._accepting:
            return
        self._accepting = accepting
        self.listen(accepting)

    @property
    def is_accepting(self) -> bool:
        return self._accepting and not self.stopping

    def listen(self, listening: bool) -> None:
        """Have new connections reported, or leave them to other workers for a while. Leader only."""
        for fd in self.listeners:
            if listening:
                self._poller.add_listener(fd)
            else:
                self._poller.remove(fd)

    def take(self, listener: Listener) -> None:
        reactor = self._reactor
        most, sharing = self._most, reactor.sharing
        for taken in range(_ACCEPTS_IN_A_ROW if sharing is None else sharing.allowance(reactor, _ACCEPTS_IN_A_ROW)):
            if len(reactor.connections) >= most:
                if taken:
                    return  # The listener tells again if somebody else waits.
                if not reactor.timers.make_room(most):
                    self._pause(self._all_taken)
                    return
            try:
                sock, address = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                scarce = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
                if error.errno in scarce and not reactor.timers.make_room(len(reactor.connections)):
                    self._pause(os.strerror(error.errno))
                # Otherwise the client left between its SYN and our accept: the next one, please.
                return
            self._open(sock, address, listener)

    def accept_the_rest(self) -> None:
        """Take what the kernel has accepted for us, then close the listeners: who comes later is refused at once.

        A listener that is open and that nobody accepts from would let its clients wait for nothing."""
        was_accepting, accepted = self._accepting, -1
        # First of all, for the kernel wakes one worker for a connection, and this one will not come for it.
        self.accept(False)
        while was_accepting and self._reactor.statistics.accepted != accepted:
            accepted = self._reactor.statistics.accepted
            for listener in self.listeners.values():
                self.take(listener)
        listeners, self.listeners = self.listeners, {}
        for listener in listeners.values():
            listener.sock.close()

    def hand_on(self) -> bool:
        """Give the idle connections to the worker that stays; those it cannot get remain here. Leader only.

        False when some have to wait until it has taken those before them."""
        reactor = self._reactor
        for connection in list(reactor.connections.values()):
            channel = connection.listener.channel
            if (
                channel is not None
                and connection.idle
                and not (connection.lingering or connection.handshaking or connection.gone)
                # Who the client is, as a proxy tells it, would have to be told on.
                and connection.told is None
                and not (reactor.proxies is not None and reactor.proxies.expects_header(connection))
            ):
                if not channel.send(connection):
                    return False
                # The descriptor lives on elsewhere: to close it here does not take it out of the poller.
                self._poller.remove(connection.fd)
                reactor.close(connection)
        return True

    def _pause(self, reason: str) -> None:
        self._complain("New connections wait: %s", reason)
        self._again_at = time.monotonic() + _PAUSE_S
        self.accept(False)

    def _open(self, sock: socket.socket, address: Any, listener: Listener) -> None:
        now, proxies = time.monotonic(), self._reactor.proxies
        sock.setblocking(False)
        peer, port = ("", "") if listener.unix else (address[0], str(address[1]))
        if peer.startswith("::ffff:") or "%" in peer:
            peer = str(parse_address(peer))
        connection = Connection(sock, peer, port, listener, now + self._header_timeout_s)
        if proxies is not None and proxies.expects_header(connection):
            connection.preamble = connection.handshaking = True
        elif listener.tls is not None:
            connection.handshaking = True
            try:
                connection.begin_tls()
            except OSError:
                sock.close()  # The client has left already.
                return
        connections = self._reactor.connections
        connections[connection.fd] = connection
        if listener.channel is listener.sock:
            listener.channel.welcome(connection, self._reactor.keepalive_s)
        self._poller.add(connection.fd)
        statistics = self._reactor.statistics
        statistics.accepted += 1
        if len(connections) > statistics.open_peak:
            statistics.open_peak = len(connections)
            statistics.open_max = max(statistics.open_max, statistics.open_peak)


def connections_possible() -> int:
    """How many connections the limit of open files leaves room for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else files - min(files // 4, _FILES_SPARED)


def base_environ(settings: ServerSettings, sock: socket.socket, *, tls: bool, multiprocess: bool) -> dict[str, Any]:
    """The part of the environ that does not change from request to request (PEP 3333)."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        host, port = server_name(name[0]), str(name[1])
    else:
        # PEP 3333 wants a port, and a URL made of these is to be a good one.
        host, port = "localhost", "443" if tls else "80"
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_SOFTWARE": "django-wsgiperf",
        "REMOTE_ADDR": "",
        "REMOTE_PORT": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if tls else "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }
