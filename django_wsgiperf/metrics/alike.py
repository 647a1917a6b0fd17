"""Hits of the page cache that differ in nothing but how long they took and how long they are: two numbers for each.

A server's leader tells of them by the ten thousand a second, so there is no object for each, and no lock. Whoever tells
appends to two lists, whoever sums cuts off what is in both: each of it one step of the interpreter's, so none is lost
and none counted twice.
"""

from __future__ import annotations


class Alike:
    """Hits of one route and status that nobody has summed yet. They are of GET, and have waited for nobody."""

    __slots__ = ("route", "sizes", "status", "tooks")

    def __init__(self, route: str, status: int) -> None:
        self.route = route
        self.status = status
        self.tooks: list[int] = []
        """Nanoseconds each took."""
        self.sizes: list[int] = []
        """Bytes of each body; appended after that."""

    def take(self) -> tuple[list[int], list[int]]:
        """Take out as many of both as there are: what they took, and their sizes. One thread at a time."""
        # The shorter one: of the last hit, only half may be told yet.
        count = len(self.sizes)
        tooks, sizes = self.tooks[:count], self.sizes[:count]
        del self.tooks[:count]
        del self.sizes[:count]
        return tooks, sizes
