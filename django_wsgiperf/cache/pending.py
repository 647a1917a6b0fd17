"""Purges that could not be put into the shared log yet, in as few words as will do. For tags.py.

They have no number, and so hit whatever carries their tags, however new it is: the log may have given any number to
the requests of other processes. But for what was begun after them in this process, which its sequence tells (Begun).
Written under the lock of Tags; gone() and stale() are asked without.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .store import PurgeOrder

_PENDING_TAGS: Final = 10_000
_ORDER_TAGS: Final = 500
"""Tags of one order to the store; more are put into several."""


class Begun(int):
    """The newest number known, of a request that begins while purges are pending. What it makes carries it as any other
    number; from a store it comes back as one."""

    after: int
    """How many purges were ordered before, in calls of add()."""

    @classmethod
    def at(cls, number: int, after: int) -> Begun:
        made = cls(number)
        made.after = after
        return made


def orders_of(tags: tuple[str, ...], soft: bool) -> Iterator[PurgeOrder]:
    """The tags in orders that the store takes."""
    for at in range(0, len(tags), _ORDER_TAGS):
        yield PurgeOrder(tags[at : at + _ORDER_TAGS], False, soft)


class _Kind:
    """The hard or the soft ones: each tag by when it was last purged, in calls of add()."""

    __slots__ = ("everything", "tags")

    def __init__(self) -> None:
        self.tags: dict[str, int] = {}
        self.everything = 0

    def hits(self, tags: tuple[str, ...], sequence: int) -> bool:
        after = sequence.after if isinstance(sequence, Begun) else 0
        if self.everything > after:
            return True
        known = self.tags
        return bool(known) and any(known.get(tag, 0) > after for tag in tags)


class Pending:
    """Bounded: when there are too many tags, everything stands for them."""

    def __init__(self) -> None:
        self._kinds = {False: _Kind(), True: _Kind()}
        self.count = 0
        """Calls of add()."""

    def __len__(self) -> int:
        return sum(len(kind.tags) + bool(kind.everything) for kind in self._kinds.values())

    def gone(self, tags: tuple[str, ...], sequence: int) -> bool:
        """Whether what carries these tags, and was begun then, is purged."""
        return self._kinds[False].hits(tags, sequence)

    def stale(self, tags: tuple[str, ...], sequence: int) -> bool:
        """Whether it is purged softly."""
        return self._kinds[True].hits(tags, sequence)

    def add(self, order: PurgeOrder) -> None:
        """One more, or one again."""
        self.count += 1
        kind = self._kinds[order.soft]
        if order.everything or len(kind.tags) + len(order.tags) > _PENDING_TAGS:
            kind.everything = self.count
            kind.tags.clear()
        else:
            kind.tags.update(dict.fromkeys(order.tags, self.count))

    def orders(self) -> tuple[list[PurgeOrder], int]:
        """All of them, and up to which add() that is."""
        orders = [PurgeOrder((), True, soft) for soft, kind in self._kinds.items() if kind.everything]
        for soft, kind in self._kinds.items():
            orders.extend(orders_of(tuple(kind.tags), soft))
        return orders, self.count

    def drop(self, order: PurgeOrder, count: int) -> None:
        """The log has it as it was at `count`; what was purged again since then stays."""
        kind = self._kinds[order.soft]
        if order.everything and kind.everything <= count:
            kind.everything = 0
        for tag in order.tags:
            if kind.tags.get(tag, count + 1) <= count:
                del kind.tags[tag]
