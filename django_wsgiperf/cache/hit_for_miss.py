"""Keys whose last answer could not be shared: for a while nobody waits for another's answer to the same request.

Varnish's hit-for-miss. Without it every request for a private page would wait in line for an answer that is no use to
it. In this process alone; whoever learns better takes the mark away. flight.py sets and asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from . import forking

Key = str | bytes


class HitForMiss:
    """At most `max_keys` marks; the oldest goes when there are more. `_lock` guards writing; is_marked() takes none."""

    def __init__(self, max_keys: int = 10_000, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._until_s: dict[Key, float] = {}
        self.until_s: Callable[[Key], float | None] = self._until_s.get
        """Until when it is marked, by the clock; None where it is not."""
        forking.watch(self)

    def __len__(self) -> int:
        return len(self._until_s)

    def mark(self, key: Key, ttl_s: float) -> None:
        """For `ttl_s` seconds from now."""
        until_s = self._clock() + ttl_s
        with self._lock:
            # Anew at the end of the line.
            self._until_s.pop(key, None)
            while len(self._until_s) >= self._max_keys:
                del self._until_s[next(iter(self._until_s))]
            self._until_s[key] = until_s

    def unmark(self, key: Key) -> None:
        """Its answers can be shared after all."""
        if key in self._until_s:
            with self._lock:
                self._until_s.pop(key, None)

    def is_marked(self, key: Key) -> bool:
        """Whether requests for it are not to wait for each other."""
        until_s = self._until_s.get(key)
        if until_s is None:
            return False
        if self._clock() < until_s:
            return True
        with self._lock:
            # It may have been marked anew.
            if self._until_s.get(key) == until_s:
                del self._until_s[key]
        return False

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
