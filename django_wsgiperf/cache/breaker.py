"""A circuit breaker: when something outside has failed a few times, it is left alone for a while, then tried by one.

It decides and counts; what to do without is the caller's affair (store.py). Two lines in the log tell of an outage,
one when the breaker opens and one when it has closed for good: what comes back, fails once more and comes back again,
as a server does while it starts, is one outage. Callers ask allows() before and report succeeded() or failed() after.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from . import forking

logger = logging.getLogger("django_wsgiperf.cache")

_FLAPPING: Final = 30.0
"""Closed for less than this many times the longest rest, it has not proven well: its rests go on growing."""


@dataclass(frozen=True, slots=True)
class BreakerNumbers:
    """What a breaker has seen."""

    is_open: bool
    failures: int
    openings: int
    avoided: int
    """Calls that were not made while it was open."""


class Breaker:
    """Opens after `threshold` failures in a row, for `first_rest_s` seconds, and up to `longest_rest_s` when a trial
    fails too. One caller at a time is let through for a trial; its success closes the breaker. An outage is over, and
    the log told so, when it has been closed for `settles_s` seconds, by the next success or settle().

    `lost` and `regained` are the log lines, with the title and in `lost` the error put into them. `_lock` guards all
    fields; callers of allows() and succeeded() read without it while all is well."""

    def __init__(
        self,
        title: str,
        *,
        lost: str,
        regained: str,
        threshold: int = 3,
        first_rest_s: float = 0.25,
        longest_rest_s: float = 2.0,
        settles_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.is_open = False
        self._lost = lost
        self._regained = regained
        self._threshold = threshold
        self._first_rest_s = first_rest_s
        self._longest_rest_s = longest_rest_s
        self._settles_s = settles_s
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        # The log has been told that it is lost, and not yet that it is back.
        self._is_outage = False
        self._rest_s = first_rest_s
        self._retry_at_s = 0.0
        self._opened_at_s = 0.0
        self._closed_at_s = float("-inf")
        self._failures = 0
        self._openings = 0
        self._avoided = 0
        forking.watch(self)

    def allows(self) -> bool:
        """Whether to make a call now. While open, True for one caller once in a rest: the trial."""
        if not self.is_open:
            return True
        with self._lock:
            now_s = self._clock()
            if now_s < self._retry_at_s:
                self._avoided += 1
                return False
            # The next trial is due after another rest even if nobody hears how this one ends.
            self._retry_at_s = now_s + self._rest_s
            return True

    def succeeded(self) -> None:
        """A call went well."""
        if not self._in_a_row and not self._is_outage:
            return
        with self._lock:
            self._in_a_row = 0
            if self.is_open:
                self.is_open = False
                self._closed_at_s = self._clock()
        self.settle()

    def settle(self) -> None:
        """Time has gone by, perhaps enough for an outage to be over. For those whose calls are few."""
        if not self._is_outage or self.is_open:
            return
        with self._lock:
            if not self._is_outage or self.is_open or self._clock() - self._closed_at_s < self._settles_s:
                return
            self._is_outage = False
            lasted_s = self._closed_at_s - self._opened_at_s
        logger.warning(f"{self._regained} (after %.1f s)", self.title, lasted_s)

    def failed(self, error: Exception) -> None:
        """A call failed, and `error` is why."""
        with self._lock:
            now_s = self._clock()
            self._failures += 1
            self._in_a_row += 1
            if self.is_open:
                self._rest_s = min(self._longest_rest_s, self._rest_s * 2)
                self._retry_at_s = now_s + self._rest_s
                return
            if self._in_a_row < self._threshold:
                return
            if now_s - self._closed_at_s < _FLAPPING * self._longest_rest_s:
                self._rest_s = min(self._longest_rest_s, self._rest_s * 2)
            else:
                self._rest_s = self._first_rest_s
            self.is_open = True
            self._openings += 1
            self._retry_at_s = now_s + self._rest_s
            if self._is_outage:
                # The same one goes on.
                return
            self._is_outage = True
            self._opened_at_s = now_s
        logger.warning(self._lost, self.title, error)

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()

    def numbers(self) -> BreakerNumbers:
        """For people and metrics."""
        with self._lock:
            return BreakerNumbers(self.is_open, self._failures, self._openings, self._avoided)
