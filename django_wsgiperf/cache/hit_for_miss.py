"""For which keys it is worth while to wait for another's answer, as far as the last answers told.

HitForMiss, which is Varnish's: the last answer could not be shared, so for a while nobody waits. Without it every
request for a private page would wait in line for an answer that is no use to it. KnownShared: the last answer was kept
and everybody's, so that who has a session may wait for the next one too; others' pages are mostly of no use to them. In
this process alone. Who makes a page sets and asks, mostly by flight.py's tickets.
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

    def renew(self, key: Key, ttl_s: float) -> None:
        """The next answer could not be shared either. Cheap where it is marked for some time yet."""
        until_s = self._until_s.get(key)
        if ttl_s > 0 and (until_s is None or until_s - self._clock() < ttl_s / 2):
            self.mark(key, ttl_s)

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


class KnownShared:
    """At most `max_keys` keys; the oldest goes when there are more. `_lock` guards writing; looking takes none."""

    def __init__(self, max_keys: int = 10_000) -> None:
        self._max_keys = max_keys
        self._lock = threading.Lock()
        self._keys: dict[Key, None] = {}
        forking.watch(self)

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def add(self, key: Key) -> None:
        """An answer of this key has been kept, for everybody."""
        if key not in self._keys:
            with self._lock:
                while len(self._keys) >= self._max_keys:
                    del self._keys[next(iter(self._keys))]
                self._keys[key] = None

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
