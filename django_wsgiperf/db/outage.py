"""What a pool knows of a server that refuses connections: since when, its last words, and when to ask again.

Decides only; no lock, no thread, no clock of its own. Pool tells it how each attempt ended and asks before the next.
"""

from __future__ import annotations

import copy
import random

_FIRST_DELAY_S = 0.05
_MAX_DELAY_S = 2.0
_FEW = 8
"""Attempts at a time that show a server well again; each success after an outage doubles how many are allowed."""


def is_refusal(error: Exception) -> bool:
    """Whether an error on connecting tells of the server, by its name in PEP 249, and not of a mistake in a program."""
    return isinstance(error, OSError) or any(
        kind.__name__ in ("OperationalError", "InterfaceError") for kind in type(error).__mro__
    )


def _without_frames(error: Exception) -> Exception:
    """A copy without the traceback, which would keep alive all that was going on, connections included."""
    try:
        return copy.copy(error)
    except Exception:  # Not every class can be made anew from its arguments.
        return OSError(f"{type(error).__name__}: {error}")


class Outage:
    """Healthy, failing (one attempt at a time, ever further apart), or recovering (few at a time). Pool's lock held.

    For `patience_s` seconds from the first failure it is worth waiting: a restart takes about as long. A server that
    has never answered is given no patience, since that is more often a mistake in the settings than an outage."""

    __slots__ = (
        "_last_failure_ns",
        "_limit",
        "_patience_ns",
        "error",
        "failures",
        "reached",
        "retry_at_ns",
        "since_ns",
    )

    def __init__(self, patience_s: float) -> None:
        self._patience_ns = int(patience_s * 1e9)
        self._limit = 0
        self._last_failure_ns = 0
        self.reached = False
        """An attempt has succeeded once."""
        self.error: Exception | None = None
        """The last refusal, a copy; None while the server is not known to refuse."""
        self.failures = 0
        self.since_ns = 0
        self.retry_at_ns = 0

    def allows(self, attempts: int, now_ns: int) -> bool:
        """Whether one more attempt may begin beside `attempts` others."""
        return not self._limit or (attempts < self._limit and (self.error is None or now_ns >= self.retry_at_ns))

    def gives_up(self, now_ns: int) -> bool:
        """Whether whoever has no other hope than a new connection should be told so now."""
        return self.error is not None and (not self.reached or now_ns - self.since_ns >= self._patience_ns)

    def failed(self, error: Exception, started_ns: int, now_ns: int) -> bool:
        """An attempt begun at `started_ns` failed. True when this is news: the server was thought well until now."""
        news = self.error is None
        if news:
            self.since_ns = started_ns
            self.failures = 0
        self.error = _without_frames(error)
        if not news and started_ns < self._last_failure_ns:
            # Begun before the last failure was known: many that fail together are one refusal, not many.
            return False
        self.failures += 1
        self._limit = 1
        self._last_failure_ns = now_ns
        # The first is repeated at once (the database may have been created this moment). Chance keeps processes apart.
        delay_s = min(_MAX_DELAY_S, _FIRST_DELAY_S * 2 ** (self.failures - 2)) if self.failures > 1 else 0.0
        self.retry_at_ns = now_ns + int(delay_s * random.uniform(0.8, 1.2) * 1e9)
        return news

    def succeeded(self) -> bool:
        """An attempt succeeded. True when this is news: the server was refusing until now."""
        news = self.error is not None
        self.reached = True
        self.error = None
        if self._limit:
            self._limit = self._limit * 2 if self._limit < _FEW else 0
        return news

    def describe(self, now_ns: int) -> str:
        """For people, while there is an outage."""
        since_s, left_s = (now_ns - self.since_ns) / 1e9, max(0, self.retry_at_ns - now_ns) / 1e9
        return f"The server has refused for {since_s:.1f} s and is asked again in {left_s:.1f} s. It said: {self.error}"
