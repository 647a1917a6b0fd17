"""A client's connection: its socket, what has been read and not yet used, and what is still to be written.

Who may touch it: the leader while `busy` is False; while it is True, its exchange's thread has the writing side and
the leader only leaves marks (`readable`, `gone`). The thread gives it back through Reactor.finished().
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Any

from .outbound import TLS_PIECE_BYTES, WOULD_BLOCK, ClientGone, Outbound

if TYPE_CHECKING:
    from .accepting import Listener
    from .bodies import Body
    from .http1 import Request
    from .reactor import Reactor

_COPY_MAX_BYTES = 65_536

NEVER = float("inf")


class Connection:
    """One accepted socket. `deadline` is on the clock of time.monotonic(), in seconds."""

    __slots__ = (
        "body",
        "body_started",
        "broken",
        "busy",
        "deadline",
        "fd",
        "gone",
        "handshaking",
        "head_checked",
        "hung_up",
        "inbox",
        "lingering",
        "listener",
        "open_ended",
        "outbound",
        "peer",
        "peer_port",
        "preamble",
        "readable",
        "request",
        "served",
        "sock",
        "told",
        "write_began_ns",
    )

    def __init__(self, sock: socket.socket, peer: str, peer_port: str, listener: Listener, deadline: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.peer_port = peer_port
        self.listener = listener
        self.deadline = deadline
        self.inbox = b""
        """Bytes read beyond the last request: a part of the next head, or pipelined requests."""
        self.head_checked = 0
        """How far HeadParser.check_start() has come with the inbox."""
        self.request: Request | None = None
        self.body: Body | None = None
        self.body_started = 0.0
        self.served = 0
        self.outbound: Outbound | None = None
        self.busy = False
        """A complete request of it is queued or running."""
        self.readable = False
        """The socket became readable while the connection was busy."""
        self.gone = False
        """The client has closed its end; what it asked for may be dropped if it was not begun."""
        self.hung_up = False
        """The end of what the client sends is there to be read, behind what it has sent."""
        self.lingering = False
        """Everything is sent and our end is shut; what the client still sends is read and thrown away."""
        self.open_ended = False
        """The end of the connection is that of its response, and so is a reset until the response is whole."""
        self.broken = False
        """The response went wrong, and only the end of the connection tells."""
        self.handshaking = False
        """A PROXY protocol header or a TLS handshake is still to come."""
        self.preamble = False
        """A PROXY protocol header is still to come."""
        self.write_began_ns = 0
        """When the thread left the rest of a response to the leader; 0 while nothing is left."""
        self.told: dict[str, Any] | None = None
        """What a PROXY protocol header said of the client: variables for the environ of each request."""

    def begin_tls(self) -> None:
        """From here on the socket speaks TLS, beginning with a handshake that is still to be done. Raises OSError."""
        assert self.listener.tls is not None
        # Raises for a client that has left, whose socket wrap_socket() would take and, failing, leave open.
        self.sock.getpeername()
        self.sock = self.listener.tls.wrap_socket(
            self.sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )

    def end_tls(self) -> None:
        """Speak plainly to a client that has done so, by mistake."""
        self.sock = socket.socket(fileno=self.sock.detach())
        self.sock.setblocking(False)

    def end_openly(self, open_ended: bool) -> None:
        """Set `open_ended`. The kernel keeps to it however this process ends, except on unix sockets."""
        self.open_ended = open_ended
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", open_ended, 0))

    @property
    def idle(self) -> bool:
        return not (self.busy or self.inbox or self.request is not None or self.outbound is not None)

    def left_by_client(self, *, hung_up: bool) -> bool:
        """Whether the client has closed its end and nothing it sent is left to read. Only asked after an event.

        `hung_up`: the event said that the client's end is closed. With TLS there is no other way to learn it while
        something is left to read, which then is the notice that nothing more will come."""
        if hung_up and isinstance(self.sock, ssl.SSLSocket):
            return True
        try:
            return not socket.socket.recv(self.sock, 1, socket.MSG_PEEK)  # TLS sockets have no flags of their own.
        except WOULD_BLOCK:
            return False
        except OSError:
            return True

    def write(self, reactor: Reactor, data: bytes, more: bytes | memoryview = b"") -> None:
        """Send `data` and `more`; what the socket does not take now is left to the leader. Never blocks.

        Raises ClientGone when the connection is broken."""
        if self.outbound is not None and self.outbound.pending:
            is_all = self.outbound.append(data)
            if more:
                is_all = self.outbound.append(more) or is_all
            if is_all:
                reactor.hand_over(self)  # The leader has flushed everything since we looked.
            return
        if reactor.tls and len(data) + len(more) > TLS_PIECE_BYTES:
            outbound = self.leave(reactor)
            outbound.append(data)
            if more:
                outbound.append(more)
            reactor.push(self)
            return
        try:
            if more:
                if len(more) <= _COPY_MAX_BYTES or reactor.tls:
                    data = data + more
                    sent = self.sock.send(data)
                    more = b""
                else:
                    sent = self.sock.sendmsg((data, more))
            else:
                sent = self.sock.send(data)
        except WOULD_BLOCK:
            sent = 0
        except OSError as error:
            self.gone = True
            raise ClientGone from error
        if sent == len(data) + len(more):
            return
        if sent < len(data):
            self.leave(reactor).append(memoryview(data)[sent:])
            sent = len(data)
        if more:
            self.leave(reactor).append(memoryview(more)[sent - len(data) :])
        reactor.hand_over(self)

    def leave(self, reactor: Reactor) -> Outbound:
        """The buffer for what the socket does not take, made when first needed."""
        if self.outbound is None:
            self.outbound = reactor.new_outbound()
        return self.outbound
