"""What the shared store behind the process's memory must be able to do, and the guard that stands before it.

A Store (stores/ has them) raises when it fails. GuardedStore, which the rest of the cache uses, does not: while the
store is out of order its answers are "not there" and "not kept", at once, and pages keep coming without it. Only
about purges it is frank, since tags.py has to know. No HTTP here; values are bytes that entry.py or others made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from .breaker import Breaker, BreakerNumbers

T = TypeVar("T")


class StoreError(Exception):
    """The store did not do as asked. The message says why, without passwords."""


class StoreUnavailable(StoreError):
    """It cannot be reached, or does not answer in time."""


class StoreRefused(StoreError):
    """It answers, but will not do it: it is full, it may only be read, we have no right."""


@dataclass(frozen=True, slots=True)
class PurgeOrder:
    """What to purge: everything, or what carries one of the tags. Soft makes it stale, not gone."""

    tags: tuple[str, ...] = ()
    everything: bool = False
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Purges:
    """Purges by their sequence numbers: an entry whose request began at a lower number is subject to them.

    It is news since the number that was asked for, or all that is remembered."""

    head: int
    """The newest number given to a purge; all up to it are told here or were known before."""
    hard_floor: int = 0
    """Whatever began before this number is gone: by a purge of everything, or because memory ends there."""
    soft_floor: int = 0
    hard: Mapping[str, int] = field(default_factory=dict)
    soft: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, order: PurgeOrder, number: int, head: int) -> Purges:
        """This one purge, when all up to `head` is known."""
        numbers = dict.fromkeys(order.tags, number)
        floor = number if order.everything else 0
        return cls(head, 0, floor, {}, numbers) if order.soft else cls(head, floor, 0, numbers, {})

    def merged(self, other: Purges) -> Purges:
        """Both. Of two numbers the newer counts."""
        return Purges(
            max(self.head, other.head),
            max(self.hard_floor, other.hard_floor),
            max(self.soft_floor, other.soft_floor),
            _newest(self.hard, other.hard),
            _newest(self.soft, other.soft),
        )


def _newest(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {**left, **{tag: max(number, left.get(tag, 0)) for tag, number in right.items()}}


class Subscription(Protocol):
    """News of purges as they happen, for one thread. Messages may get lost."""

    def wait(self, timeout_s: float) -> bool:
        """Whether a purge was announced within `timeout_s` seconds. Raises StoreUnavailable."""

    def close(self) -> None:
        """End it. From another thread this ends a wait() as well, which may then raise anything."""


class Store(Protocol):
    """A place for values that several processes share, and for the log of purges. Every method may raise StoreError.

    Keys are short texts without spaces. Times to live are seconds and are rounded up. Safe for threads."""

    title: str

    def fetch(self, keys: Sequence[str], known: int) -> tuple[list[bytes | None], int | None]:
        """The values in one round trip, and with them the head of the log as far as it shows: more than `known` when
        there is news, None when there is no log. A purge that came back before this call is seen by it."""

    def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep the value for that long. Too large a value is not kept, and the old one neither."""

    def delete(self, keys: Sequence[str]) -> None:
        """Forget the keys."""

    def add(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Keep the value unless the key has one; whether it did."""

    def delete_if(self, key: str, value: bytes) -> None:
        """Forget the key if it has this value."""

    def add_and_fetch(
        self, key: str, value: bytes, ttl_s: float, keys: Sequence[str], known: int
    ) -> tuple[bool, list[bytes | None], int | None]:
        """add(), and after it fetch(): in one round trip where that can be."""
        return self.add(key, value, ttl_s), *self.fetch(keys, known)

    def set_and_delete_if(self, values: Sequence[tuple[str, bytes, float]], key: str, value: bytes) -> None:
        """set() of each, and after them delete_if(), unless the key is empty: in one round trip where that can be."""
        for each in values:
            self.set(*each)
        if key:
            self.delete_if(key, value)

    def purge(self, order: PurgeOrder, known: int) -> Purges:
        """Put a purge into the log and announce it. News since `known`, with this purge."""

    def purges_since(self, known: int) -> Purges:
        """News since `known`; with 0, all. Makes a log if there is none; a log that ends before `known` has lost its
        memory, and then everything is gone."""

    def listen(self) -> Subscription | None:
        """Hear of purges as they happen; None where the store cannot tell."""

    def rest(self) -> None:
        """The calling thread, which is no request's, needs the store no more for now."""

    def close(self) -> None:
        """Give back what is open."""


LINK_LOST: Final = "%s: the shared page cache cannot be used, and pages are made without it: %s"
LINK_REGAINED: Final = "%s: the shared page cache is back"
WRITES_LOST: Final = "%s: the shared page cache takes nothing new, and is only read: %s"
WRITES_REGAINED: Final = "%s: the shared page cache takes pages again"


class GuardedStore:
    """A store that is left alone while it fails. Refused writes do not keep it from being read."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self.title = store.title
        self._link = Breaker(store.title, lost=LINK_LOST, regained=LINK_REGAINED, clock=clock)
        self._writes = Breaker(
            store.title,
            lost=WRITES_LOST,
            regained=WRITES_REGAINED,
            threshold=1,
            first_rest_s=1.0,
            longest_rest_s=5.0,
            clock=clock,
        )

    @property
    def is_reachable(self) -> bool:
        """Whether the last calls went well."""
        return not self._link.is_open

    def fetch(self, keys: Sequence[str], known: int) -> tuple[list[bytes | None], int | None] | None:
        """As Store.fetch(); None when the store is out of order."""
        try:
            return self._read(lambda: self.store.fetch(keys, known))
        except StoreError:
            return None

    def set(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Whether it was kept, as far as one knows."""
        try:
            self._write(lambda: self.store.set(key, value, ttl_s))
        except StoreError:
            return False
        return True

    def delete(self, keys: Sequence[str]) -> bool:
        """Whether they are gone."""
        try:
            # Not a trial of writing: a full store still forgets.
            self._guarded(lambda: self.store.delete(keys), self._writes)
        except StoreError:
            return False
        return True

    def add(self, key: str, value: bytes, ttl_s: float) -> bool | None:
        """Whether it was added; None when that cannot be known."""
        try:
            return self._write(lambda: self.store.add(key, value, ttl_s))
        except StoreError:
            return None

    def delete_if(self, key: str, value: bytes) -> None:
        """Forget the key if it has this value and the store can be reached."""
        try:
            self._guarded(lambda: self.store.delete_if(key, value), self._writes)
        except StoreError:
            return

    def add_and_fetch(
        self, key: str, value: bytes, ttl_s: float, keys: Sequence[str], known: int
    ) -> tuple[bool, list[bytes | None], int | None] | None:
        """As Store.add_and_fetch(); None when it cannot be known whether it was added."""
        try:
            return self._write(lambda: self.store.add_and_fetch(key, value, ttl_s, keys, known))
        except StoreError:
            return None

    def set_and_delete_if(self, values: Sequence[tuple[str, bytes, float]], key: str, value: bytes) -> bool:
        """Whether all were kept and the other is gone, as far as one knows."""
        try:
            self._write(lambda: self.store.set_and_delete_if(values, key, value))
        except StoreError:
            return False
        return True

    def purge(self, order: PurgeOrder, known: int) -> Purges:
        """As Store.purge(). Raises StoreError."""
        # Not kept back while writes are refused: it may well be that pages are too large and a number is not.
        return self._guarded(lambda: self.store.purge(order, known), self._writes)

    def purges_since(self, known: int) -> Purges:
        """As Store.purges_since(). Raises StoreError."""
        return self._read(lambda: self.store.purges_since(known))

    def listen(self) -> Subscription | None:
        """As Store.listen(); None also where it is refused, since news can be asked for. Raises StoreUnavailable."""
        try:
            return self._read(self.store.listen, refusal_counts=False)
        except StoreRefused:
            return None

    def rest(self) -> None:
        self.store.rest()

    def close(self) -> None:
        self.store.close()

    def numbers(self) -> dict[str, BreakerNumbers]:
        """By "link" and "writes"."""
        return {"link": self._link.numbers(), "writes": self._writes.numbers()}

    def _read(self, call: Callable[[], T], *, refusal_counts: bool = True) -> T:
        return self._guarded(call, self._link if refusal_counts else None)

    def _write(self, call: Callable[[], T]) -> T:
        if not self._writes.allows():
            raise StoreRefused(f"{self.title} has refused before, and is not asked for now")
        value = self._guarded(call, self._writes)
        self._writes.succeeded()
        return value

    def _guarded(self, call: Callable[[], T], on_refusal: Breaker | None) -> T:
        """Call, and let the breakers know; `on_refusal` is the one that a refusal counts for."""
        if not self._link.allows():
            raise StoreUnavailable(f"{self.title} has failed before, and is not asked for now")
        try:
            value = call()
        except StoreRefused as error:
            if on_refusal is not self._link:
                self._link.succeeded()
            if on_refusal is not None:
                on_refusal.failed(error)
            raise
        except StoreError as error:
            self._link.failed(error)
            raise
        self._link.succeeded()
        # There may be nothing to write for long.
        self._writes.settle()
        return value
