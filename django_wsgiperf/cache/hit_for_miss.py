"""For which keys it is worth while to wait for another's answer, as far as the last answers told.

Engine.hit_for_miss, which is Varnish's: the last answer could not be shared, so for a while nobody waits. Without it
every request for a private page would wait in line for an answer that is no use to it. Engine.known_shared: the last
answer was kept and everybody's, so that who has a session may wait for the next one too; others' pages are mostly of no
use to them. While such a page is in memory it shows so itself; the mark comes when it is found to be purged, or too
old for any use. One that was driven out before anybody asked for it again is as one never seen. In this process alone.
Who makes a page sets and asks, mostly by flight.py's tickets.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

Key = str | bytes
ALWAYS: Final = float("inf")


class Marks:
    """At most `max_keys` marks, each for a time; the oldest goes when there are more.

    There is no lock: each step is one of the dict's own. Two threads at once may have one mark more or less, which is
    a wait more or less, until one of them has ended."""

    def __init__(self, max_keys: int = 10_000, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        # A plain dict looks for its oldest key past the places of all that went before.
        self._until_s: OrderedDict[Key, float] = OrderedDict()
        self.until_s: Callable[[Key], float | None] = self._until_s.get
        """Until when it is marked, by the clock; None where it is not."""

    def __len__(self) -> int:
        return len(self._until_s)

    def mark(self, key: Key, ttl_s: float) -> None:
        """For `ttl_s` seconds from now."""
        marks = self._until_s
        if key in marks:
            # Anew at the end of the line.
            marks.pop(key, None)
        marks[key] = self._clock() + ttl_s
        if len(marks) > self._max_keys:
            marks.popitem(last=False)

    def renew(self, key: Key, ttl_s: float) -> None:
        """It is so with the next answer too. Cheap where it is marked for some time yet."""
        until_s = self._until_s.get(key)
        if ttl_s > 0 and (until_s is None or until_s - self._clock() < ttl_s / 2):
            self.mark(key, ttl_s)

    def unmark(self, key: Key) -> None:
        """It is not so any more."""
        if key in self._until_s:
            self._until_s.pop(key, None)

    def is_marked(self, key: Key) -> bool:
        """Whether the last answer said so, and its time is not over."""
        marks = self._until_s
        until_s = marks.get(key)
        if until_s is None:
            return False
        if self._clock() < until_s:
            return True
        # It may have been marked anew. No call in between.
        if key in marks and marks[key] == until_s:
            del marks[key]
        return False
