"""Pages that the leader answers itself, without a thread of the pool: /-/live, /-/ready, /-/stats and /-/metrics.

They work while every thread is stuck, which is when they are needed. Nothing here may block: what has to ask a
database or a cache is in readiness.py, what has to ask other processes in numbers.py, in threads of their own.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from . import exposition
from .access import Access
from .numbers import STATISTICS, Numbers
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

    def __init__(
        self,
        reactor: Reactor,
        board: Scoreboard,
        place: int,
        readiness: Readiness,
        numbers: Numbers | None = None,
    ) -> None:
        self._reactor = reactor
        self._board = board
        self._place = place
        self._readiness = readiness
        self._access = Access(reactor.settings.stats_token, reactor.settings.stats_allow)
        self._numbers = numbers or Numbers(board)
        self._waiting: list[tuple[Connection, Request]] = []
        self._waiting_for_numbers: list[tuple[Connection, Request, str, float]] = []
        self._can_expose = bool(reactor.settings.metrics_path) and exposition.is_available()
        self._has_hinted = False
        reactor.reserved = self._responders()
        reactor.on_sweep = self._answer_the_waiting
        readiness.on_done = reactor.sweep_soon
        self._numbers.on_done = reactor.sweep_soon

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

    def write_down(self) -> None:
        """Have what was counted written into the server's ledger, in the thread that puts numbers together."""
        self._numbers.write_down()

    def stop(self) -> None:
        """Ask nobody any more."""
        self._readiness.stop()
        self._numbers.stop()

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
        waiting_for_numbers, self._waiting_for_numbers = self._waiting_for_numbers, []
        for connection, request, kind, asked_at in waiting_for_numbers:
            page = self._numbers_page(request, kind, asked_at)
            if page is None:
                self._waiting_for_numbers.append((connection, request, kind, asked_at))
            else:
                self._reactor.answer_reserved(connection, request, page)

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

    def _stats(self, connection: Connection, request: Request) -> bytes | None:
        if not self._may_read(connection, request):
            # Not 403: who may not see the page need not know that it is there.
            return self._not_found(request)
        return self._with_numbers(connection, request, STATISTICS)

    def _metrics(self, connection: Connection, request: Request) -> bytes | None:
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
        return self._with_numbers(connection, request, exposition.format_of(request.environ.get("HTTP_ACCEPT", "")))

    def _with_numbers(self, connection: Connection, request: Request, kind: str) -> bytes | None:
        asked_at = time.monotonic()
        if len(self._waiting_for_numbers) >= _WAITING_MAX:
            asked_at = float("-inf")  # As if it had waited for long.
        page = self._numbers_page(request, kind, asked_at)
        if page is None:
            self._waiting_for_numbers.append((connection, request, kind, asked_at))
        return page

    def _numbers_page(self, request: Request, kind: str, asked_at: float) -> bytes | None:
        try:
            answer = self._numbers.answer(kind, asked_at)
        except TimeoutError:
            # The server's own are at hand, and wanted when nothing else can be had.
            answer = self._numbers.servers_own(kind)
        if answer is None:
            return None
        body = answer.body.decode()
        if kind == STATISTICS:
            # This worker's own are of this moment.
            stacks = "stacks=1" in request.environ["QUERY_STRING"].split("&")
            own = json.dumps(statistics(self._reactor, self._board, self._place, stacks=stacks))
            body = own if body == "{}" else f"{own[:-1]}, {body[1:]}"
        return self._text(request, 200, body, content_type=answer.content_type)

    def _may_read(self, connection: Connection, request: Request) -> bool:
        address = address_for_access(connection, request.environ, self._reactor.proxies)
        return self._access.allows(request.environ.get("HTTP_AUTHORIZATION", ""), address)

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
