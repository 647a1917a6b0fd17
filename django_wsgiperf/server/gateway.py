"""One PEP 3333 call: a complete request in, its response written to the connection (responding.py), or what went wrong.

Knows the application and the connection's writing side; the pool, sockets and time-outs are others' business.
Everything here runs in the pool thread that has the exchange, but for abandon(), which the supervisor calls.
"""

from __future__ import annotations

import contextlib
import logging
import operator
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import process, response
from .connection import Connection
from .files import FileWrapper
from .outbound import ClientGone
from .responding import Responding
from .response import Headers, plain_response

if TYPE_CHECKING:
    from .http1 import Request
    from .reactor import Reactor
    from .slots import Slot

logger = logging.getLogger("django_wsgiperf.server")

WSGIApplication = Callable[[Any, Any], Iterable[bytes]]

# Iterators over something that exists already: their rest can be sent as one piece without making anybody wait.
_LIST_ITERATOR: type = type(iter([]))
_TUPLE_ITERATOR: type = type(iter(()))

_WAITED_NS = 5_000_000
"""A request that was begun sooner has not been in the queue: its client may have shut its sending side only."""


class Interrupted(BaseException):
    """Raised asynchronously in a request that has run past its deadline. No `except Exception` stops it."""

    status_code = 504
    """What the client is answered."""


class Exchange(Responding):
    """A request and its response. `ready_ns` is when the request was complete, by time.monotonic_ns()."""

    __slots__ = ("blocks", "computes", "ready_ns", "timed")

    def __init__(self, reactor: Reactor, connection: Connection, request: Request, ready_ns: int) -> None:
        self.reactor = reactor
        self.connection = connection
        self.request = request
        self.environ = request.environ
        self.ready_ns = ready_ns
        self.timed = False
        self.blocks = False
        self.computes = False
        self.keep_alive = request.keep_alive
        self._status = ""
        self._headers = []
        self.head_sent = False
        self.code = 0
        self.framing = response.NONE
        self.left = -1
        self.sent = 0
        self.closing = False
        self.progressed_ns = 0
        self.waits_for_client = False

    @property
    def status_line(self) -> str:
        """The status as it was sent: the application's words, or the number alone where the server answered for it."""
        return self._status if self._status.startswith(str(self.code)) else str(self.code)

    @property
    def response_headers(self) -> Headers:
        """The application's header fields."""
        return self._headers

    # -- called by the pool

    def run(self, slot: Slot) -> None:
        self.slot = slot
        reactor = self.reactor
        connection = self.connection
        queued_ns = slot.started_ns - self.ready_ns
        if queued_ns > _WAITED_NS:
            refusal = reactor.refuses(self, queued_ns)
            if refusal is not None:
                reactor.refuse(self, refusal)
                return
        self.environ["wsgiperf.queue_ns"] = queued_ns
        # A system call, and so for routes alone that are known to be slow.
        cpu_ns = time.thread_time_ns() if self.timed else -1
        interrupted = False
        try:
            slot.in_application = True
            self._call()
            slot.in_application = False
            if slot.interrupting:
                self._meet_interrupt()
        except ClientGone:
            self.closing = True
        except Interrupted:
            interrupted = True
        except BaseException as error:
            if process.is_stray:
                process.end_stray()
            self._fail(error)
        if slot.in_application:
            slot.in_application = False
            try:
                if slot.interrupting:
                    self._meet_interrupt()
            except Interrupted:
                interrupted = True
        if interrupted:
            self._time_out()
        slot.interrupting = False
        if slot.abandoned:
            return
        if self.closing:
            self.cut_off()
        # Only now may another request of this client begin: its response has been handed over whole.
        ended_ns = time.monotonic_ns()
        if cpu_ns >= 0:
            cpu_ns = time.thread_time_ns() - cpu_ns
        reactor.record(self, slot, queued_ns, ended_ns, cpu_ns)
        reactor.finished(connection, self.keep_alive and not self.closing)

    def _call(self) -> None:
        result = self.reactor.application(self.environ, self.start_response)
        if process.is_stray:
            process.end_stray()
        try:
            iterator = iter(result)
            kind = type(iterator)
            if kind is _LIST_ITERATOR or kind is _TUPLE_ITERATOR:
                if operator.length_hint(iterator) == 1:
                    self._send_whole(next(iterator))
                else:
                    self._send_whole(b"".join(iterator))
            elif type(result) is FileWrapper and self._send_file(result):
                pass
            else:
                self._send_pieces(iterator)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    # -- what can go wrong

    def _fail(self, error: BaseException) -> None:
        """An exception that the application let through: 500, or an aborted connection where a head is out."""
        logger.error(
            "Error in the application: %s %s",
            self.request.method,
            self.request.path.decode(),
            exc_info=(type(error), error, error.__traceback__),
        )
        self._answer(500, "Internal Server Error\n")

    def _time_out(self) -> None:
        self.reactor.timed_out(self.slot)
        self._answer(504, "The application took too long.\n")

    def _answer(self, code: int, text: str) -> None:
        self.closing = True
        if self.head_sent or self.slot.abandoned:
            return
        self.head_sent = True
        self.code = code
        data = plain_response(code, text, date=self.reactor.heads.date(), bodiless=self.request.method == "HEAD")
        self.sent += len(data)
        with contextlib.suppress(ClientGone):
            self.connection.write(self.reactor, data)

    def cut_off(self) -> None:
        """The response stays as it is. Where only the connection's end tells that it is whole, and it is not, that is a
        reset."""
        connection = self.connection
        if connection.open_ended and self.framing == response.CLOSE:
            connection.broken = connection.gone = True
            if connection.outbound is not None:
                connection.outbound.close()
