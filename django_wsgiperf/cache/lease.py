"""One process among several makes a missing page: leases in the shared store, each for one key and a limited time.

A lease is a courtesy, not a lock: when the store is out of order, or a lease runs out before the page is made, it is
made twice. When it runs out, one of those who wait takes it, for as much longer as it has waited: a crowd makes a page
of k times `ttl_s` log2(k + 1) times, rounded up, in however many processes. Within a process flight.py has seen to it
before that one thread alone comes here.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from typing import Final, TypeVar

from .store import GuardedStore

T = TypeVar("T")

_FIRST_REST_S: Final = 0.02
_LONGEST_REST_S: Final = 0.1
_PATIENCE: Final = 30


class Lease:
    """The right to make a page, until release() or `ttl_s` are over. Usable as a context manager."""

    __slots__ = ("_key", "_store", "_token")

    def __init__(self, store: GuardedStore, key: str, token: bytes | None) -> None:
        self._store = store
        self._key = key
        self._token = token

    @property
    def is_known(self) -> bool:
        """Whether the store has it. If not, the store is out of order, and others may make the page as well."""
        return self._token is not None

    def release(self) -> None:
        """Let others have it. Does nothing the second time."""
        token, self._token = self._token, None
        if token is not None:
            self._store.delete_if(self._key, token)

    def claim(self) -> tuple[str, bytes]:
        """The key and the value that are to go when it is released; an empty key where there is nothing to go."""
        return (self._key, self._token) if self._token is not None else ("", b"")

    def released(self) -> None:
        """They are gone."""
        self._token = None

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Wish:
    """What the next look into the store is to ask for besides: the lease, before anything is looked for."""

    __slots__ = ("key", "ttl_s", "value", "was_added")

    def __init__(self, key: str, value: bytes, ttl_s: float) -> None:
        self.key = key
        self.value = value
        self.ttl_s = ttl_s
        self.was_added: bool | None = None
        """None where that cannot be known."""


class Leases:
    """Leases of `ttl_s` seconds, which is how long making a page may take before another process tries: who has waited
    for one takes it for so much longer."""

    def __init__(
        self,
        store: GuardedStore,
        *,
        ttl_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.ttl_s = ttl_s
        self.patience_s = _PATIENCE * ttl_s
        """When to make the page without: by then four others have tried."""
        self._store = store
        self._clock = clock
        self._sleep = sleep

    def take(self, key: str) -> Lease | None:
        """The lease for making `key`; None when another process has it."""
        token = b"L" + secrets.token_bytes(12)
        added = self._store.add(f"lease:{key}", token, self.ttl_s)
        if added is False:
            return None
        return Lease(self._store, f"lease:{key}", token if added else None)

    def take_or_find(self, key: str, find: Callable[[Wish], T | None], *, limit_s: float) -> Lease | T | None:
        """The lease, or what the process that had it has made meanwhile, as `find` finds it in the store. To ask for
        the lease, which comes first, is up to `find`, so that it takes one round trip.

        Asks again every 20 to 100 ms. None when neither could be had within `limit_s` seconds."""
        began_s = self._clock()
        deadline_s = began_s + limit_s
        rest_s = _FIRST_REST_S
        while True:
            ttl_s = self.ttl_s + self._clock() - began_s
            wish = Wish(f"lease:{key}", b"L" + secrets.token_bytes(12), ttl_s)
            try:
                # With the lease too: the one before may have stored the page and released it since the last look.
                found = find(wish)
            except BaseException:
                if wish.was_added:
                    self._store.delete_if(wish.key, wish.value)
                raise
            lease = None
            if wish.was_added is not False:
                lease = Lease(self._store, wish.key, wish.value if wish.was_added else None)
            if found is not None:
                if lease is not None:
                    lease.release()
                return found
            left_s = deadline_s - self._clock()
            if lease is not None or left_s <= 0:
                return lease
            # Chance keeps apart the processes that wait for the same.
            self._sleep(min(left_s, rest_s * random.uniform(0.75, 1.25)))
            rest_s = min(_LONGEST_REST_S, rest_s * 1.5)
