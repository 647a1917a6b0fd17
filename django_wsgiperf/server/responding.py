"""The response of one PEP 3333 call: from what the application gives to bytes on its connection.

Knows the connection's writing side, and how a body may come: whole, in pieces, as a file, by write(). The call itself,
and what becomes of one that fails, is gateway.py's. Everything here runs in the pool thread that has the exchange.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import response
from .connection import Connection
from .files import FileWrapper, plain_file
from .outbound import ClientGone
from .response import Headers, ResponseError

if TYPE_CHECKING:
    from .http1 import Environ, Request
    from .reactor import Reactor
    from .slots import Slot

logger = logging.getLogger("django_wsgiperf.server")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_LONG_STREAM_NS = 1_000_000_000
"""A streaming response that has taken this long, or half the request's deadline, gets a thread beside the pool."""


class Responding:
    """The writing half of an Exchange, which fills it in: one class for each would cost a call, and one more object."""

    __slots__ = (
        "_headers",
        "_status",
        "closing",
        "code",
        "connection",
        "environ",
        "framing",
        "head_sent",
        "keep_alive",
        "left",
        "progressed_ns",
        "reactor",
        "request",
        "sent",
        "slot",
        "waits_for_client",
    )

    reactor: Reactor
    connection: Connection
    request: Request
    environ: Environ
    slot: Slot
    keep_alive: bool
    head_sent: bool
    code: int
    framing: int
    left: int
    """Bytes that Content-Length promises and that have not come yet."""
    sent: int
    closing: bool
    """The response went wrong after its head: only closing the connection tells the client."""
    progressed_ns: int
    """When the application last gave a piece of a streamed body, by time.monotonic_ns()."""
    waits_for_client: bool
    _status: str
    _headers: Headers

    def start_response(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # PEP 3333: break the cycle through the traceback.
        elif self._status:
            raise AssertionError("start_response() was called a second time without exc_info")
        self._status = status
        self._headers = headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece of the body, with the head before the first. Raises ClientGone."""
        if type(data) is not bytes:
            data = _as_bytes(data)
        if not data and not self.head_sent:
            return
        head = b"" if self.head_sent else self._begin(None)
        if self.framing == response.NONE:
            data = b""
        elif self.framing == response.LENGTH:
            data = self._within_length(data)
        elif self.framing == response.CHUNKED and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._put(head, data)
        if data:
            self.progressed_ns = time.monotonic_ns()
        outbound = self.connection.outbound
        if outbound is not None and outbound.full:
            self._wait_for_client()

    # -- the shapes of a body

    def _send_whole(self, body: bytes) -> None:
        if type(body) is not bytes:
            body = _as_bytes(body)
        if self.head_sent:  # write() was used before.
            self.write(body)
            self._end()
            return
        head = self._begin(len(body))
        if self.framing == response.NONE:
            body = b""
        elif self.left != len(body):
            body = self._within_length(body)
            self._put(head, body)
            self._end()
            return
        self.left = 0
        if self.slot.abandoned:
            raise ClientGone
        self.sent += len(head) + len(body)
        self.connection.write(self.reactor, head, body)

    def _send_pieces(self, iterator: Iterator[bytes]) -> None:
        reactor, slot = self.reactor, self.slot
        long_ns = slot.started_ns + _LONG_STREAM_NS
        if reactor.settings.request_timeout_s:
            long_ns = min(long_ns, slot.started_ns + int(reactor.settings.request_timeout_s * 5e8))
        for piece in iterator:
            # A client that has closed its end may have closed its sending side only; one that is gone fails the write.
            self.write(piece)
            if self.progressed_ns > long_ns and not slot.detached:
                reactor.detach(slot)
            if self.framing == response.NONE and self.head_sent:
                break  # HEAD: the head is out, and the body would be thrown away.
        self._end()

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Leave a regular file to the kernel; False when it is none, or is to be read after all."""
        file = plain_file(wrapper.filelike)
        if file is None:
            return False
        try:
            fd = file.fileno()
            info = os.fstat(fd)
            offset = file.tell()
        except (AttributeError, OSError, ValueError):
            return False
        if not stat.S_ISREG(info.st_mode) or self.head_sent:
            return False
        size = max(info.st_size - offset, 0)
        head = self._begin(size)
        if self.framing == response.LENGTH:
            if self.left > size:
                self._put(head, b"")
                raise ResponseError(f"Content-Length is {self.left}, but the file has only {size} bytes left")
            size, self.left = self.left, 0
        elif self.framing == response.CLOSE:
            pass
        else:
            size = 0
        if size:
            outbound = self.connection.leave(self.reactor)
            outbound.append(head)
            outbound.append_file(fd, offset, size)
            self.sent += len(head) + size
            self.reactor.push(self.connection)
        else:
            self._put(head, b"")
        return True

    # -- pieces of the above

    def _begin(self, length: int | None) -> bytes:
        """The head, decided by what the application said; from here on it counts as sent."""
        if not self._status:
            raise ResponseError("the application sent a body without calling start_response()")
        request, reactor = self.request, self.reactor
        head, self.code, self.framing, self.left, self.keep_alive = reactor.heads.write(
            self._status,
            self._headers,
            request.method == "HEAD",
            request.http10,
            request.keep_alive
            and not reactor.draining
            and not (reactor.surplus and reactor.sends_away(self.connection)),
            length,
        )
        slot = self.slot
        if slot.interrupting:
            self._meet_interrupt()
        if self.framing == response.CLOSE:
            self.connection.end_openly(True)
        self.head_sent = True
        if slot.interrupting:
            self._meet_interrupt()  # The supervisor reads head_sent after it has set `interrupting`.
        return head

    def _put(self, head: bytes, data: bytes) -> None:
        if self.slot.abandoned:
            raise ClientGone
        self.sent += len(head) + len(data)
        if head:
            self.connection.write(self.reactor, head, data)
        elif data:
            self.connection.write(self.reactor, data)

    def _within_length(self, data: bytes) -> bytes:
        if len(data) > self.left:
            self.closing = True
            logger.error(
                "%s %s sent more than its Content-Length; the rest was cut off",
                self.request.method,
                self.request.path.decode(),
            )
            data = data[: self.left]
        self.left -= len(data)
        return data

    def _end(self) -> None:
        """The body is complete: say so, or close the connection where it is not."""
        if not self.head_sent:
            self._put(self._begin(0), b"")
        elif self.framing == response.CHUNKED:
            self._put(b"", b"0\r\n\r\n")
        if self.framing == response.LENGTH and self.left:
            self.closing = True
            logger.error(
                "%s %s sent %d bytes less than its Content-Length; the connection was closed",
                self.request.method,
                self.request.path.decode(),
                self.left,
            )
        else:
            # A write() that comes later, in close() or so, is to reach no other response, and what goes wrong there to
            # take nothing from this one.
            self.framing = response.NONE

    def _wait_for_client(self) -> None:
        """The client is slower than the application: wait, with a thread that the pool does not count on."""
        outbound = self.connection.outbound
        assert outbound is not None
        self.waits_for_client = True
        if not self.reactor.detach(self.slot):
            logger.warning("A client too slow for its response was cut off: max_streams others are waited for")
            raise ClientGone
        outbound.wait_for_room(self._check_abandoned)
        # In this order: the supervisor must not find an old time and nobody waiting.
        self.progressed_ns = time.monotonic_ns()
        self.waits_for_client = False

    def _check_abandoned(self) -> None:
        if self.slot.abandoned:
            raise ClientGone

    def _meet_interrupt(self) -> None:
        """Somebody is about to interrupt this thread, or has: wait for it, and let the exception come out here.

        Between PyThreadState_SetAsyncExc() and the exception lie only a few byte codes of this thread."""
        with self.slot.guard:
            pass
        for _ in range(1000):
            pass  # The interpreter looks for asynchronous exceptions wherever it jumps back.


def _as_bytes(data: Any) -> bytes:
    """A copy, for the application may fill its buffer anew before the client has taken this. Raises ResponseError."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ResponseError(f"a body is made of bytes, not {type(data).__name__}")
    return bytes(data)
