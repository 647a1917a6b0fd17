"""Which entries are purged: the process's map of purges, kept up with the other processes, and one comparison.

Every purge has a sequence number. An entry carries the newest number that was known when the request that made it
began, and is subject to the purges of its tags (and of everything) with a greater one. So a purge costs the same
however many entries it hits, and a page that was made from old data is never valid after it, however late it comes.
The numbers are given out by the log in the shared store (store.py); without a store the process counts by itself.

News comes by refresh(), which reads the log from the last number known: whenever the store announces a purge, each
`max_stale_s` in any case, and when a look-up in the store sees that the log has grown. What an announcement says is of
no account, so none can be lost, doubled or late. The thread is in listener.py.

`_lock` guards the map and its numbers against other writers; judge() reads without it. `_turn` is held by the one
thread that asks the store for news.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from . import forking
from .pending import Begun, Pending, orders_of
from .store import GuardedStore, PurgeOrder, Purges, StoreError

if TYPE_CHECKING:
    from .listener import Listener

logger = logging.getLogger("django_wsgiperf.cache")

ADDRESS_MARK: Final = "\x01"
"""Begins the tags that stand for addresses (addresses.py), and no tag that people give."""
ADDRESS_VERSION: Final = "3"
"""Follows it, to be raised when they are made otherwise. Processes of different versions share the log during a
deployment, and cannot know what the other's tags are of: to them each is a purge of everything."""

_TURN_S: Final = 2.0
_ENDLESS: Final = float("inf")


class Verdict(Enum):
    """What purges mean for an entry."""

    VALID = "valid"
    STALE = "stale"
    """Purged softly: as if its lifetime had ended."""
    GONE = "gone"


VALID, STALE, GONE = Verdict.VALID, Verdict.STALE, Verdict.GONE


class Judged(Protocol):
    """What judge() needs of an entry."""

    @property
    def sequence(self) -> int: ...
    @property
    def tags(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Purged:
    """How a purge went. It holds in this process in any case."""

    sequence: int
    everywhere: bool
    """Whether the shared log has it. If not, the store was out of order, and it is passed on when it is back."""


class Tags:
    """The purges that this process knows, of at most `max_tags` tags; the oldest beyond are taken for purged.

    With a store, start() comes before the first request, and in a forked child again; `is_started` tells."""

    def __init__(
        self,
        store: GuardedStore | None = None,
        *,
        max_tags: int = 20_000,
        max_stale_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.max_stale_s = max_stale_s
        self.sequence = 0
        """What a request that begins now gives to the entry that it makes."""
        self.confirmed_at_s: float | None = None
        """By `clock`, when the log was last read to its end."""
        self._max_tags = max_tags
        self._clock = clock
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._hard: dict[str, int] = {}
        self._soft: dict[str, int] = {}
        self._hard_floor = 0
        self._soft_floor = 0
        # No number in the map is greater. `newest` is what judge() asks, and endless while some have no number yet.
        self._newest_known = 0
        self.newest: float = 0
        """No purge has a greater number: an entry that is not subject to one now is not while this stays as it is."""
        self._pending = Pending()
        self._listener: Listener | None = None
        self.purges = 0
        """Purges ordered here."""
        forking.watch(self)

    @property
    def is_started(self) -> bool:
        """Whether start() has nothing to do."""
        return self._listener is not None or self.store is None

    # -- judging

    def judge(self, entry: Judged) -> Verdict:
        """Whether the entry is subject to a purge that this process knows of. Takes no lock."""
        sequence = entry.sequence
        if sequence >= self.newest:
            return VALID
        # The map before the floor: what was dropped from a map is under a floor that was raised before.
        hard, soft = self._hard, self._soft
        if sequence < self._hard_floor:
            return GONE
        tags = entry.tags
        for tag in tags:
            if hard.get(tag, 0) > sequence:
                return GONE
        waiting = self.newest is _ENDLESS
        if waiting and self._pending.gone(tags, sequence):
            return GONE
        if sequence < self._soft_floor:
            return STALE
        for tag in tags:
            if soft.get(tag, 0) > sequence:
                return STALE
        if waiting and self._pending.stale(tags, sequence):
            return STALE
        return VALID

    # -- purging

    def purge(self, tags: Iterable[str] = (), *, everything: bool = False, soft: bool = False) -> Purged:
        """Purge what carries one of the tags, or everything; softly makes it stale instead. In this process it holds
        when this returns, in others as soon as they hear of it."""
        ordered = tuple(dict.fromkeys(tags))
        self.purges += 1
        everywhere = True
        # Everything says all there is to say about tags.
        for order in [PurgeOrder((), True, soft)] if everything else orders_of(ordered, soft):
            everywhere = self._purge(order) and everywhere
        return Purged(self.sequence, everywhere)

    def _purge(self, order: PurgeOrder) -> bool:
        if self.store is None:
            with self._lock:
                number = self.sequence + 1
                self._apply(Purges.of(order, number, number))
            return True
        try:
            news = self.store.purge(order, self.sequence)
        except StoreError:
            with self._lock:
                # Until the store is back, of what carries these tags only what is begun here after this is used.
                self._pending.add(order)
                self.newest = _ENDLESS
                self.sequence = Begun.at(self.sequence, self._pending.count)
            return False
        with self._lock:
            self._apply(news)
        return True

    # -- keeping up

    def start(self) -> None:
        """Read the log, and keep up with it from now on. Does nothing where that is done already or there is none."""
        from .listener import Listener

        with self._lock:
            if self.store is None or self.is_started:
                return
            listener = self._listener = Listener(self, self.store)
        self.refresh()
        listener.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """End the thread; waits `timeout_s` seconds for it at most."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop(timeout_s)

    def refresh(self, needed: int = 0) -> bool:
        """Read what is new in the log, and pass on what could not be. Whether the log could be read, or another thread
        has read to `needed` meanwhile."""
        if self.store is None:
            return True
        if not self._turn.acquire(timeout=_TURN_S):
            return False
        try:
            if needed and self.sequence >= needed:
                return True
            asked_at_s = self._clock()
            news = self.store.purges_since(self.sequence)
            with self._lock:
                self._apply(news)
            self.confirmed_at_s = asked_at_s
            # A store that is full can be read, and what is read be judged.
            with contextlib.suppress(StoreError):
                self._pass_on()
        except StoreError:
            return False
        finally:
            self._turn.release()
        return True

    def catch_up(self, head: int | None, known: int) -> bool:
        """After a fetch() from the store with `known`, which showed the log to end at `head`: whether all up to there
        is known now. If not, what was fetched cannot be judged and must not be used."""
        if head is not None and known <= head <= self.sequence:
            return True
        # A log that ends before what was known has lost its memory, as one that is not there; refresh() begins another.
        return self.refresh(head if head is not None and head > known else 0)

    def unconfirmed_s(self) -> float:
        """Seconds since the log was last read to its end: purges of others may have gone unheard for so long."""
        if self.store is None:
            return 0.0
        return float("inf") if self.confirmed_at_s is None else self._clock() - self.confirmed_at_s

    def after_fork_in_child(self) -> None:
        """The thread is the parent's; locks may have been held by threads that are not here."""
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.forget()

    def numbers(self) -> Mapping[str, int]:
        """For people and metrics."""
        with self._lock:
            return {
                "sequence": self.sequence,
                "tags": len(self._hard) + len(self._soft),
                "purges": self.purges,
                "pending": len(self._pending),
            }

    def _pass_on(self) -> None:
        """Put purges into the log that were made while it was out of reach. `_turn` held."""
        assert self.store is not None
        if not self._pending:
            return
        with self._lock:
            orders, count = self._pending.orders()
        for order in orders:
            news = self.store.purge(order, self.sequence)
            with self._lock:
                self._apply(news)
                self._pending.drop(order, count)
        with self._lock:
            self.newest = _ENDLESS if self._pending else self._newest_known
        logger.info("%s: purges made while it was out of order have been passed on", self.store.title)

    def _apply(self, news: Purges) -> None:
        """Put news into the map. `_lock` held. May be cut short in any line: `sequence` comes last."""
        newest = max(news.head, news.hard_floor, news.soft_floor, self._newest_known)
        floors = []
        for known, new, floor in ((self._hard, news.hard, news.hard_floor), (self._soft, news.soft, news.soft_floor)):
            for tag, number in new.items():
                if tag[:1] == ADDRESS_MARK and tag[1:2] != ADDRESS_VERSION:
                    floor = max(floor, number)
                elif number > known.get(tag, 0):
                    known[tag] = number
                newest = max(newest, number)
            floors.append(floor)
        self._hard_floor = max(self._hard_floor, floors[0])
        self._soft_floor = max(self._soft_floor, floors[1])
        if len(self._hard) + len(self._soft) > self._max_tags:
            self._forget_oldest()
        self._newest_known = newest
        self.newest = _ENDLESS if self._pending else newest
        sequence = max(int(self.sequence), news.head)
        self.sequence = Begun.at(sequence, self._pending.count) if self._pending else sequence

    def _forget_oldest(self) -> None:
        """Keep nine tenths, and take for purged what carries one of the others. What is under a floor goes first."""
        keep = self._max_tags * 9 // 10
        numbers = sorted([*self._hard.values(), *self._soft.values()], reverse=True)
        limit = numbers[keep]
        # Each by its own kind: what was only made stale does not go.
        hard_limit = max((number for number in self._hard.values() if number <= limit), default=0)
        soft_limit = max((number for number in self._soft.values() if number <= limit), default=0)
        self._hard_floor = max(self._hard_floor, hard_limit)
        self._soft_floor = max(self._soft_floor, soft_limit)
        # New maps: who judges at this moment holds the old ones.
        self._hard = {tag: number for tag, number in self._hard.items() if number > limit}
        self._soft = {tag: number for tag, number in self._soft.items() if number > limit}
