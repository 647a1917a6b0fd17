"""Answers that the application has ready, as those of the response cache: sent by the leader, without a thread.

So they are given while every thread of the pool is stuck, and wait for nobody. An application that has such answers
has a method for them, recall(), which looks and never waits; whatever it does not answer takes the usual way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from . import response
from .accesslog import AccessLog
from .gateway import Exchange
from .outbound import ClientGone
from .response import Headers, ResponseError
from .unwaiting import UnwaitingLog

if TYPE_CHECKING:
    from .connection import Connection
    from .http1 import Request
    from .reactor import AccessLogHook, Reactor

logger = logging.getLogger("django_wsgiperf.server")

MAX_BYTES: Final = 262_144
"""A longer body is sent by a thread of the pool: to copy it, or to encrypt it, takes too long for the leader."""


class Page(Protocol):
    """A body, and a place for the head that was written for it."""

    body: bytes
    written: tuple[Headers, bytes] | None
    """The list of fields, and the head of a kept connection with them but for its last line."""


Found = tuple[Page, str, Headers, str | None]
"""A page, its status, the fields of its head, which nobody may change, and a request's own X-Request-ID, if any.

For other fields it is another list, so that a head that was written can be told by its list."""

Recall = Callable[[dict[str, Any], int], Found | None]
"""The answer to a request at hand, with a body of so many bytes at most; None where there is none. Never waits."""


class AtOnce:
    """One worker's part in reactor.py. The leader's."""

    def __init__(self, reactor: Reactor, recall: Recall) -> None:
        self._reactor = reactor
        self._recall = recall
        self._hook: AccessLogHook | None = None
        """The reactor's, when it was last looked at."""
        self._log: UnwaitingLog | None = None
        self.slot = reactor.own
        """Counts them, as the slots of the pool count the others."""

    def answers(self, connection: Connection, request: Request, now_ns: int) -> bool:
        """Answer a complete request without a body, if its answer is at hand. `now_ns` is when the turn began.

        The connection is not busy meanwhile: it has a request, and no thread."""
        reactor = self._reactor
        log = self._log
        if reactor.access_log is not self._hook or (log is not None and log.is_outdated):
            self._hook = reactor.access_log
            if log is not None:
                log.close()
            log = self._log = UnwaitingLog(self._hook) if isinstance(self._hook, AccessLog) else None
        if self._hook is not None and (log is None or log.would_wait()):
            return False  # Somebody's hook may take its time, and nobody may read what is written.
        began_ns = time.monotonic_ns()
        try:
            found = self._recall(request.environ, MAX_BYTES)
        except Exception:
            # The same will happen in a thread of the pool, where there is somebody to answer for it.
            logger.debug("The application failed to look for an answer", exc_info=True)
            return False
        if found is None:
            return False
        page, status, headers, name = found
        keep_alive = request.keep_alive and not reactor.draining
        if reactor.surplus and keep_alive and reactor.sends_away(connection):
            keep_alive = False
        body, written = page.body, page.written
        if written is not None and written[0] is headers and keep_alive and not request.http10:
            head = written[1]
        else:
            try:
                whole, _, framing, length, keep_alive = reactor.heads.write(
                    status, headers, request.method == "HEAD", request.http10, keep_alive, len(body)
                )
            except ResponseError:
                return False
            if length != len(body) if framing == response.LENGTH else body:
                return False
            head = whole[:-2]
            if keep_alive and not request.http10:
                page.written = (headers, head)
        data = head + b"\r\n" if name is None else b"%bX-Request-ID: %b\r\n\r\n" % (head, name.encode("latin-1"))
        sent = len(data) + len(body)
        try:
            connection.write(reactor, data, body)
        except ClientGone:
            keep_alive = False
        ended_ns = time.monotonic_ns()
        queued_ns, took_ns = began_ns - now_ns, ended_ns - began_ns
        self.slot.count(int(status[0]), sent, queued_ns, took_ns)
        if log is not None:
            self._write_down(log, connection, request, status, headers, sent, queued_ns, took_ns)
        if reactor.on_request is not None:
            reactor.on_request()
        reactor.finished_at_ns = ended_ns
        if keep_alive and connection.outbound is None and reactor.keepalive_s:
            connection.request = None
            connection.deadline = ended_ns / 1e9 + reactor.keepalive_s
            if connection.inbox:
                reactor.again(connection)
        else:
            connection.busy = True  # finished() is what gives it back.
            reactor.finished(connection, keep_alive)
        return True

    def _write_down(
        self,
        log: UnwaitingLog,
        connection: Connection,
        request: Request,
        status: str,
        headers: Headers,
        sent: int,
        queued_ns: int,
        took_ns: int,
    ) -> None:
        """Have the request written down as one that a thread ran."""
        exchange = Exchange(self._reactor, connection, request, 0)
        exchange.start_response(status, headers)
        exchange.code, exchange.sent, exchange.head_sent = int(status[:3]), sent, True
        try:
            log.write(log.line(exchange, queued_ns, took_ns))
        except Exception:
            logger.exception("The access log failed")


def at_once(reactor: Reactor) -> AtOnce | None:
    """What answers at once for the reactor's application; None where that has no such answers."""
    recall: Recall | None = getattr(reactor.application, "recall", None)
    return None if recall is None else AtOnce(reactor, recall)
