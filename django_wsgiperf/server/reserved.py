"""Pages that the leader answers itself, without a thread of the pool: /-/live, /-/ready, /-/stats and /-/metrics.

They work while every thread is stuck, which is when they are needed. Nothing here may block: what has to ask a
database or a cache is in readiness.py, in a thread of its own.
"""

from __future__ import annotations

import hmac
import json
import logging
from typing import TYPE_CHECKING

from . import exposition
from .addresses import AddressList
from .proxy import address_for_access
from .response import plain_response
from .statistics import statistics

if TYPE_CHECKING:
    from .connection import Connection
    from .http1 import Request
    from .reactor import Reactor, Responder
    from .readiness import Readiness
    from .scoreboard import Scoreboard

logger = logging.getLogger("django_wsgiperf.server")

_WAITING_MAX = 64
"""So many may wait for a readiness check at once; more get what the last one found."""


class ReservedPages:
    """The server's own pages of one worker, whose row of the board is `place`."""

    def __init__(self, reactor: Reactor, board: Scoreboard, place: int, readiness: Readiness) -> None:
        self._reactor = reactor
        self._board = board
        self._place = place
        self._readiness = readiness
        self._allowed = AddressList(reactor.settings.stats_allow)
        self._waiting: list[tuple[Connection, Request]] = []
        self._can_expose = bool(reactor.settings.metrics_path) and exposition.is_available()
        self._has_hinted = False
        reactor.reserved = self._responders()
        reactor.on_sweep = self._answer_the_waiting
        readiness.on_done = reactor.sweep_soon

    def _responders(self) -> dict[bytes, Responder]:
        """Path to responder, for the paths that are set."""
        settings = self._reactor.settings
        pages: dict[str, Responder] = {
            settings.live_path: self._live,
            settings.ready_path: self._ready,
            settings.stats_path: self._stats,
            settings.metrics_path: self._metrics,
        }
        return {path.encode(): responder for path, responder in pages.items() if path}

    # -- for everybody

    def _live(self, connection: Connection, request: Request) -> bytes:
        return self._text(request, 200, "alive\n")

    def _ready(self, connection: Connection, request: Request) -> bytes | None:
        answer = self._readiness_page(request, patient=len(self._waiting) < _WAITING_MAX)
        if answer is None:
            self._waiting.append((connection, request))
        return answer

    def _answer_the_waiting(self) -> None:
        """In the leader, after a readiness check has ended or taken long."""
        waiting, self._waiting = self._waiting, []
        for connection, request in waiting:
            answer = self._readiness_page(request, patient=True)
            if answer is None:
                self._waiting.append((connection, request))
            else:
                self._reactor.answer_reserved(connection, request, answer)

    def _readiness_page(self, request: Request, *, patient: bool) -> bytes | None:
        # A worker that is being replaced goes, but the server stays.
        if self._board.stopping or (self._reactor.draining and not self._board.others_serve(self._place)):
            return self._text(request, 503, "draining\n")
        failures = self._readiness.answer(patient=patient)
        if failures is None:
            return None
        if failures:
            return self._text(request, 503, "not ready\n" + "".join(f"{failure}\n" for failure in failures))
        return self._text(request, 200, "ready\n")

    # -- for those who are allowed

    def _stats(self, connection: Connection, request: Request) -> bytes:
        if not self._may_read(connection, request):
            # Not 403: who may not see the page need not know that it is there.
            return self._not_found(request)
        stacks = "stacks=1" in request.environ["QUERY_STRING"].split("&")
        numbers = statistics(self._reactor, self._board, self._place, stacks=stacks)
        return self._text(request, 200, json.dumps(numbers), content_type="application/json")

    def _metrics(self, connection: Connection, request: Request) -> bytes:
        if not self._may_read(connection, request):
            return self._not_found(request)
        if not self._can_expose:
            if not self._has_hinted:
                self._has_hinted = True
                logger.warning(
                    "%s was asked for, but prometheus-client is not installed: "
                    "pip install 'django-wsgiperf[prometheus]'",
                    self._reactor.settings.metrics_path,
                )
            return self._not_found(request)
        content_type, text = exposition.expose(self._board, request.environ.get("HTTP_ACCEPT", ""))
        return self._text(request, 200, text.decode(), content_type=content_type)

    def _may_read(self, connection: Connection, request: Request) -> bool:
        settings = self._reactor.settings
        if settings.stats_token:
            scheme, _, token = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
            same = hmac.compare_digest(token.strip().encode("latin-1"), settings.stats_token.encode())
            if same and scheme.lower() == "bearer":
                return True
        return address_for_access(connection, request.environ, self._reactor.proxies) in self._allowed

    def _not_found(self, request: Request) -> bytes:
        return self._text(request, 404, "Not Found\n")

    def _text(self, request: Request, code: int, text: str, content_type: str = "text/plain; charset=utf-8") -> bytes:
        return plain_response(
            code,
            text,
            keep_alive=request.keep_alive and not self._reactor.draining,
            date=self._reactor.heads.date(),
            content_type=content_type,
            bodiless=request.method == "HEAD",
        )
