"""How a response ends: what a socket did not take is flushed, the connection is kept or closed, and neither too soon.

finished() and push() are called by the thread that ran the request, flush() by the leader, and by anybody who finds
the connection writable. The bytes wait in outbound.py.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import TYPE_CHECKING

from .connection import NEVER, Connection
from .outbound import FLUSH_BYTES, ClientGone
from .poller import Poller
from .slots import HISTOGRAM_BUCKETS

if TYPE_CHECKING:
    from .reactor import Reactor

_LINGER_S = 2.0
_LAST_BUCKET = HISTOGRAM_BUCKETS - 1


class Outgoing:
    """One worker's part in reactor.py."""

    def __init__(self, reactor: Reactor, poller: Poller) -> None:
        self._reactor = reactor
        self._poller = poller
        self._edge_triggered = poller.edge_triggered
        self._statistics = reactor.statistics
        self._write_timeout_s = reactor.settings.write_timeout_s

    def finished(self, connection: Connection, keep_alive: bool) -> None:
        """The response was handed to the connection; give it back to the leader. Any thread."""
        connection.request = None
        if connection.body is not None:
            self._reactor.release_request(connection)
        outbound = connection.outbound
        if outbound is not None:
            if outbound.pending:
                connection.write_began_ns = time.monotonic_ns()
            else:
                connection.outbound = outbound = None
        if keep_alive and self._reactor.keepalive_s and outbound is None:
            connection.deadline = time.monotonic() + self._reactor.keepalive_s
            connection.busy = False
            if connection.readable or connection.inbox or not self._edge_triggered:
                self._reactor.hand_over(connection)
            return
        if not keep_alive:
            connection.lingering = True
            if outbound is None and connection.open_ended and not connection.broken:
                connection.end_openly(False)
            if outbound is None:
                if connection.gone:
                    connection.deadline = 0.0
                else:
                    self.shut(connection)
        else:
            connection.deadline = time.monotonic() + self._write_timeout_s
        connection.busy = False
        self._reactor.hand_over(connection)

    def shut(self, connection: Connection) -> None:
        """Say that no more will come. Closing at once could take the response's last bytes from the client."""
        connection.deadline = time.monotonic() + _LINGER_S
        if isinstance(connection.sock, ssl.SSLSocket):
            # RFC 8446 section 6.1: without this, the end is like that of a connection which somebody has cut.
            with contextlib.suppress(OSError, ValueError):
                connection.sock.unwrap()  # Sends the notice, and would wait for the client's.
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            connection.deadline = 0.0

    def push(self, connection: Connection) -> None:
        """Send what the outbound buffer holds as far as the socket takes it, and leave the rest to the leader."""
        outbound = connection.outbound
        assert outbound is not None
        try:
            outbound.flush(connection.sock)
        except OSError as error:
            connection.gone = True
            raise ClientGone from error
        if outbound.pending:
            self._reactor.hand_over(connection)

    def flush(self, connection: Connection) -> None:
        outbound = connection.outbound
        if outbound is None:
            return
        try:
            sent = outbound.flush(connection.sock)
        except OSError:
            connection.gone = True
            outbound.close()
            if not connection.busy:
                self._reactor.close(connection)
            return
        if outbound.pending:
            if sent or connection.deadline == NEVER:
                connection.deadline = time.monotonic() + self._write_timeout_s
            if sent >= FLUSH_BYTES:
                self._reactor.again(connection)  # The socket would take more: nothing else will tell.
            else:
                self._poller.arm(connection.fd, True)
        elif connection.busy:
            connection.deadline = NEVER
        else:
            connection.outbound = None
            if connection.write_began_ns:
                self._count_write(connection)
            if connection.lingering:
                if connection.open_ended:
                    connection.end_openly(False)
                self.shut(connection)
            else:
                connection.deadline = time.monotonic() + self._reactor.keepalive_s
                self._reactor.again(connection)

    def _count_write(self, connection: Connection) -> None:
        took_ns = time.monotonic_ns() - connection.write_began_ns
        connection.write_began_ns = 0
        self._statistics.written_ns += took_ns
        self._statistics.write_histogram[min((took_ns // 1000).bit_length(), _LAST_BUCKET)] += 1
