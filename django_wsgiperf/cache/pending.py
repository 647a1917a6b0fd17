"""Purges that could not be put into the shared log, kept in as few words as will do. For tags.py, under its lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .store import PurgeOrder

_PENDING_TAGS: Final = 10_000
_ORDER_TAGS: Final = 500
"""Tags of one order to the store; more are put into several."""


def orders_of(tags: tuple[str, ...], soft: bool) -> Iterator[PurgeOrder]:
    """The tags in orders that the store takes."""
    for at in range(0, len(tags), _ORDER_TAGS):
        yield PurgeOrder(tags[at : at + _ORDER_TAGS], False, soft)


class Pending:
    """Purges that the log does not have yet. When there are too many tags, everything stands for them."""

    def __init__(self) -> None:
        self._tags: dict[bool, dict[str, None]] = {False: {}, True: {}}
        self._everything: set[bool] = set()

    def __len__(self) -> int:
        return len(self._everything) + sum(map(len, self._tags.values()))

    def add(self, order: PurgeOrder) -> None:
        """One more, or one again."""
        tags = self._tags[order.soft]
        if order.everything or len(tags) + len(order.tags) > _PENDING_TAGS:
            self._everything.add(order.soft)
            tags.clear()
        else:
            tags.update(dict.fromkeys(order.tags))

    def take(self) -> list[PurgeOrder]:
        """All of them, as few as will do; they are the caller's now."""
        orders = [PurgeOrder((), True, soft) for soft in self._everything]
        for soft, tags in self._tags.items():
            orders.extend(orders_of(tuple(tags), soft))
            tags.clear()
        self._everything.clear()
        return orders
