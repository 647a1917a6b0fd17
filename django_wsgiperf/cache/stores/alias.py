"""A shared store in any Django cache that processes share: Memcached, the database, Redis by another client.

Such a cache has no channel and no sets, so the log of purges is a row of keys, each added, never overwritten, and
processes ask for the next one. Only add() needs to be atomic; incr() is not in some backends. Values are bytes with a
first byte that no serializer takes for a number; what comes back as anything else is not there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from django.core.cache import caches

from django_wsgiperf.cache.store import PurgeOrder, Purges, Store, StoreRefused, StoreUnavailable

T = TypeVar("T")

_RECORD: Final = b"WPP\x01"
_HEAD: Final = "purges"
_RECORD_TTL_S: Final = 86_400
_AHEAD: Final = 16
"""How many purges are asked for at once."""
_BACK: Final = 512
"""How many past purges a new process asks for. Entries that began before the oldest that it finds are gone for it."""
_MOST_ATTEMPTS: Final = 1_000
_MEMCACHED_BYTES: Final = 1_000_000


class AliasStore(Store):
    """The cache of `CACHES[alias]`, every key after `prefix`. `now` gives unix seconds.

    Django's caches have time-outs of their own, to be set in CACHES: a request waits for them."""

    def __init__(self, alias: str, prefix: str = "wsgiperf:", *, now: Callable[[], float] = time.time) -> None:
        self.title = f"CACHES[{alias!r}]"
        self._alias = alias
        self._prefix = prefix
        self._now = now
        kinds = [kind.__module__ for kind in type(caches[alias]).__mro__]
        self._max_bytes = _MEMCACHED_BYTES if "django.core.cache.backends.memcached" in kinds else math.inf
        self._is_database = "django.core.cache.backends.db" in kinds

    # -- values

    def fetch(self, keys: Sequence[str], known: int) -> tuple[list[bytes | None], int | None]:
        following = f"{_HEAD}:{known + 1}"
        *values, record, head = self._get([*keys, following, _HEAD])
        if record is not None:
            return values, known + 1
        number = _number(head)
        return values, None if number is None else max(number, known)

    def set(self, key: str, value: bytes, ttl_s: float) -> None:
        if len(value) > self._max_bytes:
            self.delete([key])
            return
        self._call(lambda cache: cache.set(self._prefix + key, value, _seconds(ttl_s)))

    def delete(self, keys: Sequence[str]) -> None:
        self._call(lambda cache: cache.delete_many([self._prefix + key for key in keys]))

    def add(self, key: str, value: bytes, ttl_s: float | None) -> bool:
        return bool(self._call(lambda cache: cache.add(self._prefix + key, value, _seconds(ttl_s))))

    def delete_if(self, key: str, value: bytes) -> None:
        # Between the two steps it may become another's. For a lease that means one page made once more.
        if self._get([key]) == [value]:
            self.delete([key])

    # -- purges

    def purge(self, order: PurgeOrder, known: int) -> Purges:
        news = self.purges_since(known)
        number, record = news.head, _record(order)
        for _ in range(_MOST_ATTEMPTS):
            number += 1
            if self.add(f"{_HEAD}:{number}", record, _RECORD_TTL_S):
                break
        else:
            raise StoreRefused(f"{self.title} adds no key, though none is there")
        # Only a hint for whoever comes anew: the log goes on beyond it.
        self._call(lambda cache: cache.set(self._prefix + _HEAD, _head(number), None))
        later = self.purges_since(known)
        return later.merged(Purges.of(order, number, later.head))

    def purges_since(self, known: int) -> Purges:
        if known == 0:
            return self._all()
        news = _News(known)
        lasting = f"{_HEAD}:{known}"
        while True:
            following = range(news.head + 1, news.head + 1 + _AHEAD)
            head, last, *records = self._get([_HEAD, lasting, *(f"{_HEAD}:{number}" for number in following)])
            number = _number(head)
            if not news.follow(following, records) or (number or 0) - known > _BACK:
                break
        if number is None or (number < known and last is None):
            return self._begin(known)
        if number > news.head:
            # What lies between is not there any more.
            return Purges(number, hard_floor=number)
        return news.purges()

    def _all(self) -> Purges:
        (head,) = self._get([_HEAD])
        number = _number(head)
        if number is None:
            return self._begin(0)
        first = max(1, number - _BACK + 1)
        records = self._get([f"{_HEAD}:{each}" for each in range(first, number + 1)])
        # The newest stretch without a gap.
        begin = next((at for at in range(len(records), 0, -1) if _order(records[at - 1]) is None), 0)
        base = first - 1 + begin
        news = _News(base)
        news.follow(range(base + 1, number + 1), records[begin:])
        return news.purges().merged(Purges(number, hard_floor=base)).merged(self.purges_since(number))

    def _begin(self, known: int) -> Purges:
        """A log after the one that was lost; with it all that began before is gone."""
        number = max(int(self._now() * 1e6), known + 1)
        if not self.add(_HEAD, _head(number), None):
            number = _number(self._get([_HEAD])[0]) or number
            if number <= known:
                number = known + 1
                self._call(lambda cache: cache.set(self._prefix + _HEAD, _head(number), None))
        return Purges(number, hard_floor=number)

    def listen(self) -> None:
        """There is no channel: news is asked for."""

    def rest(self) -> None:
        """The thread's cache object is its own, and so is its connection to a database."""
        caches[self._alias].close()
        if self._is_database:
            from django.db import connections

            connections.close_all()

    def close(self) -> None:
        """Nothing is kept open here: Django closes its caches after each request."""

    # -- calls

    def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        full = [self._prefix + key for key in keys]
        found: dict[str, Any] = self._call(lambda cache: cache.get_many(full))
        values = [found.get(key) for key in full]
        return [value if isinstance(value, bytes) else None for value in values]

    def _call(self, call: Callable[[Any], T]) -> T:
        try:
            return call(caches[self._alias])
        except Exception as error:  # Each backend has its own, and a pickle of another's may raise anything.
            raise StoreUnavailable(str(error) or type(error).__name__) from error


class _News:
    """Records put together: what they purge, after `base` and without a gap, up to `head`."""

    def __init__(self, base: int) -> None:
        self.head = base
        self._hard_floor = self._soft_floor = 0
        self._hard: dict[str, int] = {}
        self._soft: dict[str, int] = {}

    def follow(self, numbers: Sequence[int], records: Sequence[bytes | None]) -> bool:
        """Take the records as far as they follow each other; whether all did."""
        for number, record in zip(numbers, records, strict=True):
            if record is None:
                return False
            # A record that cannot be read is one of another version: who knows what it purged.
            order = _order(record) or PurgeOrder(everything=True)
            if order.everything and order.soft:
                self._soft_floor = number
            elif order.everything:
                self._hard_floor = number
            for tag in order.tags:
                (self._soft if order.soft else self._hard)[tag] = number
            self.head = number
        return True

    def purges(self) -> Purges:
        return Purges(self.head, self._hard_floor, self._soft_floor, self._hard, self._soft)


def _record(order: PurgeOrder) -> bytes:
    return _RECORD + json.dumps([order.soft, order.everything, order.tags]).encode()


def _order(record: bytes | None) -> PurgeOrder | None:
    if record is None or not record.startswith(_RECORD):
        return None
    try:
        soft, everything, tags = json.loads(record[len(_RECORD) :])
        return PurgeOrder(tuple(map(str, tags)), bool(everything), bool(soft))
    except (ValueError, TypeError):
        return None


def _head(number: int) -> bytes:
    return _RECORD + str(number).encode()


def _number(value: bytes | None) -> int | None:
    if value is None or not value.startswith(_RECORD):
        return None
    try:
        return int(value[len(_RECORD) :])
    except ValueError:
        return None


def _seconds(ttl_s: float | None) -> int | None:
    return None if ttl_s is None else max(1, math.ceil(ttl_s))
