"""From bytes on a connection to a complete request: the head, the body, what comes before them, and what is refused.

The leader's. Parsing is in http1.py and bodies.py, which know no sockets; what becomes of a complete request is for
overload.py to say.
"""

from __future__ import annotations

import logging
import ssl
import time
from io import BytesIO
from typing import TYPE_CHECKING

from .at_once import at_once
from .bodies import Body
from .connection import NEVER, Connection
from .gateway import Exchange
from .http1 import CHUNKED, HEAD_END, HeadParser, HTTPError, Limits, Request
from .outbound import WOULD_BLOCK, ClientGone
from .poller import Poller
from .preamble import take_preamble
from .response import plain_response

if TYPE_CHECKING:
    from .reactor import Reactor

logger = logging.getLogger("django_wsgiperf.server")

_READ_BYTES = 16_384
_BODY_READ_BYTES = 262_144
_READS_IN_A_ROW = 16
_TURN_NS = 5_000_000
"""A turn of the leader's that has taken so long goes on with one read of each connection. Time, and not only bytes:
16 KiB in chunks of one byte take 4 ms to decode."""
_BODY_GRACE_S = 10.0
"""An upload may be slower than body_min_rate for this long before it is given up."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Intake:
    """One worker's part in reactor.py. `tls`: some of its listeners speak it."""

    def __init__(self, reactor: Reactor, poller: Poller, *, tls: bool) -> None:
        settings = reactor.settings
        self._reactor = reactor
        self._settings = settings
        self._statistics = reactor.statistics
        self._admit = reactor.overload.admit
        self._at_once = at_once(reactor)
        self._tls = tls
        self._parser = HeadParser(Limits(settings.head_bytes, settings.head_fields, settings.target_bytes))
        self._poller = poller
        self._edge_triggered = poller.edge_triggered
        self._header_timeout_s = settings.header_timeout_s
        self._body_min_rate = settings.body_min_rate

    def readable(self, connection: Connection, now_ns: int) -> None:
        """Read what is there and do what it completes; leaves at the first request, or when nothing is left."""
        connection.readable = False
        if connection.handshaking and not self._handshake(connection):
            return
        inbox = connection.inbox
        if inbox and not connection.head_checked and inbox != b"\r" and not connection.lingering:
            # Requests that have not been looked at: it comes back for them. What is behind them was told of now only.
            connection.readable = True
            return
        size = _BODY_READ_BYTES if connection.body is not None and connection.body.is_plain else _READ_BYTES
        for _ in range(_READS_IN_A_ROW):
            try:
                data = connection.sock.recv(size)
            except WOULD_BLOCK:
                break
            except OSError:
                self._reactor.close(connection)
                return
            if not data:
                self._client_closed(connection)
                return
            self._statistics.received_bytes += len(data)
            if connection.lingering:
                continue
            served = connection.served
            try:
                self._feed(connection, data, now_ns)
            except HTTPError as error:
                self.bad_request(connection, error)
                return
            if connection.busy:
                # What follows is the next request's; it is read when this one is answered.
                # Dekker with finished(), as in Reactor.poll().
                connection.readable = len(data) == size or self._tls or connection.hung_up
                if connection.readable and not connection.busy:
                    self._reactor.again(connection)  # type: ignore[unreachable]  # another thread has run it
                if not self._edge_triggered:
                    self._poller.arm(connection.fd, False)  # To learn that the client leaves.
                return
            if connection.inbox and connection.served != served:
                connection.readable = True
                return  # It was answered here, and the next request is seen to when it comes back.
            if connection.outbound is not None or (len(data) < size and not self._tls and not connection.hung_up):
                break
            if time.monotonic_ns() - now_ns > _TURN_NS:
                self._reactor.again(connection)
                return
        else:
            self._reactor.again(connection)  # The others' turn first.
            return
        self._poller.arm(connection.fd, connection.outbound is not None)

    def _feed(self, connection: Connection, data: bytes, now_ns: int) -> None:
        """Take bytes of a request. Raises HTTPError."""
        body = connection.body
        if body is not None:
            connection.inbox = body.feed(data)
            connection.deadline = self._body_deadline(connection, body, now_ns / 1e9)
            if body.complete:
                self._complete(connection, now_ns)
            return
        if connection.inbox:
            data = connection.inbox + data
        elif connection.served:
            connection.deadline = now_ns / 1e9 + self._header_timeout_s
        self.begin_request(connection, data, now_ns)

    def begin_request(self, connection: Connection, data: bytes, now_ns: int) -> None:
        if data.startswith(b"\r\n"):
            data = data[2:]  # RFC 9112 section 2.2: an empty line before a request line is forgiven.
        end = data.find(HEAD_END) + 4
        if end == 3:
            connection.inbox = data
            if data and data != b"\r":
                connection.head_checked = self._parser.check_start(data, connection.head_checked)
            return
        connection.head_checked = 0
        if end == len(data):
            head = data
            connection.inbox = b""
        else:
            head = data[:end]
            connection.inbox = data[end:]
        try:
            request = self._parser.parse(head, connection.listener.base_environ)
            environ = request.environ
            environ["REMOTE_ADDR"] = connection.peer
            environ["REMOTE_PORT"] = connection.peer_port
            if self._reactor.proxies is not None:
                self._reactor.proxies.apply(connection, environ)
        except HTTPError:
            connection.inbox = data  # For bad_request(), to which the method matters.
            raise
        connection.request = request
        if not self._reactor.keepalive_s:
            request.keep_alive = False
        if request.content_length:
            self._begin_body(connection, request, now_ns)
        else:
            self._complete(connection, now_ns)

    def _begin_body(self, connection: Connection, request: Request, now_ns: int) -> None:
        settings = self._settings
        body = Body(request.content_length, settings.body_bytes, settings.body_memory_bytes)
        connection.body = body
        connection.body_started = now_ns / 1e9
        if connection.inbox:
            connection.inbox = body.feed(connection.inbox)
        connection.deadline = self._body_deadline(connection, body, connection.body_started)
        if body.complete:
            self._complete(connection, now_ns)
        elif request.expect_continue and not body.received:
            try:
                connection.write(self._reactor, _CONTINUE)
            except ClientGone:
                self._reactor.close(connection)

    def _body_deadline(self, connection: Connection, body: Body, now: float) -> float:
        """When the next piece of the body has to be here: after a pause at most, and at the least rate on average."""
        deadline = now + self._settings.body_timeout_s
        if self._body_min_rate:
            due = connection.body_started + _BODY_GRACE_S + body.received / self._body_min_rate
            deadline = min(deadline, due)
        return deadline

    def _complete(self, connection: Connection, now_ns: int) -> None:
        """A request is whole: answer it here if it asks for one of the server's own pages, or for one that the
        application has ready; else queue it."""
        request = connection.request
        assert request is not None
        environ = request.environ
        body = connection.body
        connection.served += 1
        responder = self._reactor.reserved.get(request.path)
        ready = self._at_once
        if ready is not None and responder is None and body is None and ready.answers(connection, request, now_ns):
            return
        environ["wsgi.input"] = BytesIO() if body is None else body.open()
        if body is not None and request.content_length == CHUNKED:
            environ["CONTENT_LENGTH"] = str(body.received)
        connection.busy = True
        connection.deadline = NEVER
        if responder is not None:
            self._reactor.answer_from(responder, connection, request)
            return
        self._admit(Exchange(self._reactor, connection, request, now_ns))

    def _client_closed(self, connection: Connection) -> None:
        if connection.outbound is not None and connection.outbound.pending:
            # It has shut its sending side only, perhaps; what it asked for is still owed to it.
            connection.gone = True
            return
        self._reactor.close(connection)

    def _handshake(self, connection: Connection) -> bool:
        """Take what comes before HTTP, a PROXY header and TLS, as far as it is there; whether that is all of it."""
        try:
            if connection.preamble:
                assert self._reactor.proxies is not None
                if not take_preamble(connection, self._reactor.proxies):
                    self._poller.arm(connection.fd, False)
                    return False
                if connection.listener.tls is not None:
                    connection.begin_tls()
            if isinstance(connection.sock, ssl.SSLSocket):
                connection.sock.do_handshake()
        except WOULD_BLOCK as error:
            self._poller.arm(connection.fd, isinstance(error, ssl.SSLWantWriteError))
            return False
        except OSError as error:
            connection.handshaking = False
            if getattr(error, "reason", None) == "HTTP_REQUEST":
                connection.end_tls()
                self.bad_request(connection, HTTPError(400, "this port speaks HTTPS; write https:// in the address"))
                return False
            logger.debug("Handshake failed: %s", error)
            self._reactor.close(connection)
            return False
        connection.handshaking = False
        return True

    def bad_request(self, connection: Connection, error: HTTPError) -> None:
        self._statistics.bad_requests += 1
        request = connection.request
        is_head = connection.inbox.startswith(b"HEAD ") if request is None else request.method == "HEAD"
        connection.inbox = b""
        self._answer_and_close(
            connection,
            plain_response(error.status, f"{error.detail}\n", date=self._reactor.heads.date(), bodiless=is_head),
        )

    def _answer_and_close(self, connection: Connection, data: bytes) -> None:
        """Leader only, on a connection that no thread has."""
        try:
            connection.write(self._reactor, data)
        except ClientGone:
            self._reactor.close(connection)
            return
        self._reactor.release_request(connection)
        connection.busy = True  # finished() is what gives it back.
        self._reactor.finished(connection, keep_alive=False)
