"""The numbers of the whole server for /-/metrics and /-/stats, put together in a thread of their own.

As with readiness.py, the leader never waits: it asks, gets an answer that is younger than a second or None, and asks
again at its next turn. What the other workers know comes over the control channel and from the ledger, by way of the
metrics' own exports, which are there only where Django is configured. No HTTP here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from . import exposition, process
from .scoreboard import Scoreboard

logger = logging.getLogger("django_wsgiperf.server")

STATISTICS: Final = "statistics"
"""What is asked for; any other text is an Accept field, and asks for the metrics in that format."""
FRESH_S: Final = 1.0
PATIENCE_S: Final = 3.0
"""So long a request waits for numbers; then it gets older ones, or none."""
OLDEST_S: Final = 5.0
"""What is older may be less than what another worker has told meanwhile, and Prometheus takes a counter that fell for
one that began anew, and counts all of it again. A gap is better."""
_GATHER_S: Final = 1.0
_KINDS_MAX: Final = 16
"""Formats that are remembered: there are fewer."""


class Answer:
    """Bytes and their content type, and when they were made."""

    __slots__ = ("at", "body", "content_type")

    def __init__(self, content_type: str, body: bytes) -> None:
        self.at = time.monotonic()
        self.content_type = content_type
        self.body = body


class Numbers:
    """Of one worker. answer() is the leader's; on_done is called in the thread."""

    def __init__(self, board: Scoreboard, *, gather: Callable[[float], Any] | None = None) -> None:
        self._board = board
        self._gather = gather or _gather
        self.on_done: Callable[[], None] | None = None
        """Called in the thread when there is something new."""
        self._wanted: dict[str, float] = {}
        """Kind -> when it was last asked for. Added to by the leader, taken from by the thread; single operations."""
        self._answers: dict[str, Answer] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        """Held by the one that starts the thread: the leader, or the worker's main thread."""
        self._is_stopping = False
        self._is_to_write_down = False

    def answer(self, kind: str, asked_at: float) -> Answer | None:
        """The numbers as `kind` wants them; None where asking again soon will tell more. `asked_at`: since when
        (time.monotonic()) the request waits. Raises TimeoutError when it has waited long and there are none, or very
        old ones only."""
        now = time.monotonic()
        found = self._answers.get(kind)
        if found is not None and found.at >= min(asked_at, now - FRESH_S):
            return found
        if now - asked_at >= PATIENCE_S or self._is_stopping:
            if found is None or found.at < now - OLDEST_S:
                raise TimeoutError
            return found
        if kind not in self._wanted:
            self._wanted[kind] = now
            self._wake.set()
            self._start()
        return None

    def write_down(self) -> None:
        """Have the ledger up to date, should this process be killed. At once for the caller, whichever thread it is."""
        self._is_to_write_down = True
        self._wake.set()
        self._start()

    def servers_own(self, kind: str) -> Answer:
        """Without the project's: what is on the scoreboard, at once."""
        return self._made(kind, None)

    def stop(self) -> None:
        """Let the thread end; it is not waited for."""
        self.on_done = None
        self._is_stopping = True
        self._wake.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._is_stopping:
                self._thread = threading.Thread(target=self._run, name="wsgiperf-numbers", daemon=True)
                self._thread.start()

    # -- in the thread

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._is_stopping:
                return
            if self._is_to_write_down:
                self._is_to_write_down = False
                try:
                    process.write_down_counts()
                except Exception:
                    logger.warning("What was counted could not be written down", exc_info=True)
            kinds = list(self._wanted)
            if not kinds:
                continue
            try:
                gathered = self._gather(_GATHER_S)
            except Exception:
                logger.warning("The numbers of the project could not be gathered", exc_info=True)
                gathered = None
            for kind in kinds:
                try:
                    answer = self._made(kind, gathered)
                    if len(self._answers) >= _KINDS_MAX and kind not in self._answers:
                        self._answers.clear()
                    self._answers[kind] = answer
                except Exception:
                    logger.warning("The numbers could not be written as %.100r", kind, exc_info=True)
                finally:
                    self._wanted.pop(kind, None)
            on_done = self.on_done
            if on_done is not None:
                on_done()

    def _made(self, kind: str, gathered: Any) -> Answer:
        if kind == STATISTICS:
            return Answer("application/json", _sections(gathered))
        return Answer(*exposition.expose(self._board, kind, gathered))


def _gather(timeout_s: float) -> Any:
    """The project's numbers; None where no project is loaded."""
    from django.conf import settings

    if not settings.configured:
        return None
    from django_wsgiperf.metrics.exports import gather

    return gather.gather(timeout_s)


def _sections(gathered: Any) -> bytes:
    if gathered is None:
        return b"{}"
    from django_wsgiperf.metrics.exports import statistics

    return statistics.encoded(gathered)
