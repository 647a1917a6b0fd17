"""Whether anybody comes round to the sockets of a worker, as its main thread sees it from outside."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger("django_wsgiperf.server")

_LONGEST_TURN_S = 2.0
"""The leader polls four times a second, or another thread does in its place; after this long something is wrong."""
_SECOND_LOOK_S = 0.5


class Pulse:
    """Looked at about once a second, and sooner when a signal comes. Times are of time.monotonic()."""

    def __init__(self) -> None:
        self._missed_at = 0.0
        self._told = False

    def beats(self, polled_at_s: float, now_s: float) -> bool:
        """Whether the sockets are polled. That they are not is logged, once."""
        if now_s - polled_at_s < _LONGEST_TURN_S:
            self._missed_at, self._told = 0.0, False
            return True
        if not self._missed_at:
            # Once may be a call that held the interpreter lock, or a machine with much to do: for the leader, too.
            self._missed_at = now_s
        elif now_s - self._missed_at >= _SECOND_LOOK_S and not self._told:
            self._told = True
            logger.critical(
                "No thread of worker %d has polled its sockets for %.1f s", os.getpid(), now_s - polled_at_s
            )
        return False
