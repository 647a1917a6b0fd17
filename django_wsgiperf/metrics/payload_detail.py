"""The routes of a tally as bytes and back, by column, since what is alike compresses best beside its like.

A JSON head has the names, the sums, and what is counted by kind: columns as texts, which are read when somebody asks.
After it come the histograms, unpacked only for the routes that somebody asks for. Times are whole microseconds here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from .histogram import Histogram
from .packing import NOT_READ, Unreadable, pack, to_json, unpack
from .results import BREAKDOWN
from .tally import DATABASE_NUMBERS, INDEX, SUMS, Cell, Tally

_LENGTH: Final = struct.Struct("<I")
_HISTOGRAMS: Final = ("response", "database", "queue")
_WIDTHS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MAX_SPREAD: Final = 4096
"""From the lowest bucket to the highest there are some 400 at most: durations are nanoseconds to days."""

#: Of a database, and of a cache: each number by alias, and the sum that it is when there is but one alias.
_DATABASE: Final = ("queries", "rows", "db_ns", "pool_ns", "", "")
_CACHE: Final = ("cache_calls", "cache_hits", "cache_misses", "cache_ns")
_DATABASE_TIMES: Final = (2, 3)
_CACHE_TIMES: Final = (3,)

Column = list[int]


def pack_detail(tally: Tally) -> bytes:
    """The routes."""
    cells = list(tally.routes.values())
    sums = {name: _coarse(name, [cell.sums[index] for cell in cells]) for index, name in enumerate(SUMS)}
    keys: dict[tuple[str, int], int] = {}
    outcomes = [
        _text(number for key, count in cell.outcomes.items() for number in (keys.setdefault(key, len(keys)), count))
        for cell in cells
    ]
    head = to_json(
        {
            "routes": list(tally.routes),
            "sums": {name: _text(column) for name, column in sums.items() if any(column)},
            "keys": list(keys),
            "outcomes": outcomes,
            "page_cache": {n: cell.page_cache for n, cell in enumerate(cells) if cell.page_cache},
            "exceptions": {n: cell.exceptions for n, cell in enumerate(cells) if cell.exceptions},
            "databases": _aliases([cell.databases for cell in cells], _DATABASE, _DATABASE_TIMES, sums),
            "caches": _aliases([cell.caches for cell in cells], _CACHE, _CACHE_TIMES, sums),
        }
    )
    blobs = [_pack_histograms([getattr(cell, name) for cell in cells]) for name in _HISTOGRAMS]
    return pack(b"".join((_LENGTH.pack(len(head)), head, *blobs)))


def _text(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _numbers(text: str) -> Column:
    return list(map(int, text.split(","))) if text else []


def _coarse(name: str, column: Column) -> Column:
    return [value // 1000 for value in column] if name.endswith("_ns") else column


def _aliases(
    cells: Sequence[dict[str, list[int]]], names: Sequence[str], times: Sequence[int], sums: dict[str, Column]
) -> dict[str, list[str]]:
    """By alias its columns; nothing in place of one that is all zeros, and the name of a sum that is the same."""
    found: dict[str, list[str]] = {}
    for alias in dict.fromkeys(alias for cell in cells for alias in cell):
        columns: list[str] = []
        for n, name in enumerate(names):
            column = [cell[alias][n] if alias in cell else 0 for cell in cells]
            if n in times:
                column = [value // 1000 for value in column]
            same = bool(name) and column == sums[name]
            columns.append("" if not any(column) else name if same else _text(column))
        found[alias] = columns
    return found


def _pack_histograms(histograms: Sequence[Histogram]) -> bytes:
    """Columns of what is kept beside the buckets; then of each histogram the counts from its first bucket to its
    last, as wide as the largest needs."""
    bases: list[int] = []
    lengths: list[int] = []
    widths: list[int] = []
    counts: list[bytes] = []
    for histogram in histograms:
        buckets = histogram.buckets
        base = min(buckets, default=0)
        length = max(buckets) - base + 1 if buckets else 0
        largest = max(buckets.values(), default=0)
        width = next(width for width in _WIDTHS if largest < 1 << 8 * width)
        bases.append(base)
        lengths.append(length)
        widths.append(width)
        dense = (buckets.get(index, 0) for index in range(base, base + length))
        counts.append(struct.pack(f"<{length}{_WIDTHS[width]}", *dense))
    number = len(histograms)
    return b"".join(
        (
            struct.pack(f"<{number}Q", *(histogram.sum_ns // 1000 for histogram in histograms)),
            struct.pack(f"<{number}Q", *(histogram.min_ns // 1000 for histogram in histograms)),
            struct.pack(f"<{number}Q", *(histogram.max_ns // 1000 for histogram in histograms)),
            struct.pack(f"<{number}Q", *(histogram.zeros for histogram in histograms)),
            struct.pack(f"<{number}h{number}H{number}B", *bases, *lengths, *widths),
            *counts,
        )
    )


class _Histograms:
    """Those of all routes, of one kind."""

    __slots__ = ("_bases", "_data", "_lengths", "_places", "_scalars", "_widths", "end")

    def __init__(self, data: bytes, at: int, number: int) -> None:
        """Raises struct.error and ValueError."""
        self._data = data
        self._scalars: list[tuple[int, ...]] = []
        for _ in range(4):
            self._scalars.append(struct.unpack_from(f"<{number}Q", data, at))
            at += 8 * number
        values = struct.unpack_from(f"<{number}h{number}H{number}B", data, at)
        at += 5 * number
        self._bases, self._lengths, self._widths = (
            values[:number],
            values[number : 2 * number],
            values[2 * number :],
        )
        if set(self._widths) - set(_WIDTHS) or max(self._lengths, default=0) > _MAX_SPREAD:
            raise ValueError("these are no histograms")
        sizes = (length * width for length, width in zip(self._lengths, self._widths, strict=True))
        self._places = list(accumulate(sizes, initial=at))
        self.end = self._places[-1]
        if self.end > len(data):
            raise ValueError("histograms are missing")

    def at(self, place: int) -> Histogram:
        histogram = Histogram()
        sum_us, min_us, max_us, histogram.zeros = (column[place] for column in self._scalars)
        histogram.sum_ns, histogram.min_ns, histogram.max_ns = sum_us * 1000, min_us * 1000, max_us * 1000
        form = f"<{self._lengths[place]}{_WIDTHS[self._widths[place]]}"
        counts = struct.unpack_from(form, self._data, self._places[place])
        histogram.buckets = {index: count for index, count in enumerate(counts, self._bases[place]) if count}
        histogram.count = histogram.zeros + sum(counts)
        return histogram


class Detail:
    """Routes that are unpacked when they are asked for."""

    __slots__ = ("_columns", "_head", "_histograms", "_size", "routes")

    def __init__(self, data: bytes | memoryview) -> None:
        """Raises Unreadable."""
        unpacked = unpack(data)
        try:
            length: int
            (length,) = _LENGTH.unpack_from(unpacked)
            at = _LENGTH.size + length
            self._head: dict[str, Any] = json.loads(unpacked[_LENGTH.size : at])
            self.routes: dict[str, int] = {name: place for place, name in enumerate(self._head["routes"])}
            """Each route's place in the columns."""
            number = len(self._head["routes"])
            if len(self._head["outcomes"]) != number:
                raise ValueError("columns of different lengths")
            self._columns: dict[str, Column] = {}
            """Those that were read, by their texts."""
            self._histograms: list[_Histograms] = []
            for _ in _HISTOGRAMS:
                self._histograms.append(_Histograms(unpacked, at, number))
                at = self._histograms[-1].end
        except NOT_READ as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from None
        # Numbers of a few digits take 40 bytes in a list.
        self._size = 1000 + len(unpacked) + 8 * length

    @property
    def size(self) -> int:
        """About as many bytes of memory."""
        return self._size

    def sums(self, name: str) -> Column:
        """One sum of all routes, in the order of `routes`. Raises Unreadable."""
        try:
            column = self._column(self._head["sums"].get(name, ""))
        except NOT_READ as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from None
        return [value * 1000 for value in column] if name.endswith("_ns") else column

    def _column(self, text: str) -> Column:
        """A column by its text. Raises ValueError."""
        column = self._columns.get(text)
        if column is None:
            column = _numbers(text) if text else [0] * len(self.routes)
            if len(column) != len(self.routes):
                raise ValueError("columns of different lengths")
            self._columns[text] = column
        return column

    def walls(self) -> Column:
        """The time of each route, all parts together, in the order of `routes`. Raises Unreadable."""
        return [sum(parts) for parts in zip(*(self.sums(f"{part}_ns") for part in BREAKDOWN), strict=True)]

    def add(self, route: str, into: Cell) -> bool:
        """Add what is known of a route; False when nothing is. Raises Unreadable."""
        place = self.routes.get(route)
        if place is None:
            return False
        into.merge(self._cell(place))
        return True

    def tally(self) -> Tally:
        """All routes. Raises Unreadable."""
        tally = Tally()
        for route, place in self.routes.items():
            tally.routes[route] = self._cell(place)
        return tally

    def _cell(self, place: int) -> Cell:
        cell, head, at = Cell(), self._head, str(place)
        try:
            for name, text in head["sums"].items():
                if name in INDEX:
                    value = self._column(text)[place]
                    cell.sums[INDEX[name]] = value * 1000 if name.endswith("_ns") else value
            pairs = _numbers(head["outcomes"][place])
            keys = head["keys"]
            cell.outcomes = {
                (keys[key][0], keys[key][1]): count for key, count in zip(pairs[::2], pairs[1::2], strict=True)
            }
            # Copies: what was read is kept, and read again.
            cell.page_cache = dict(head["page_cache"].get(at, ()))
            cell.exceptions = dict(head["exceptions"].get(at, ()))
            cell.databases = dict(self._of_aliases("databases", place, _DATABASE_TIMES))
            cell.caches = dict(self._of_aliases("caches", place, _CACHE_TIMES))
            cell.response, cell.database, cell.queue = (each.at(place) for each in self._histograms)
        except NOT_READ as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from None
        return cell

    def _of_aliases(self, kind: str, place: int, times: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
        """The aliases that a route has used."""
        for alias, columns in self._head[kind].items():
            texts = (self._head["sums"].get(column, column) for column in columns)
            numbers = [self._column(text)[place] for text in texts]
            if any(numbers):
                if kind == "databases":
                    numbers += [0] * (DATABASE_NUMBERS - len(numbers))
                yield alias, [value * 1000 if n in times else value for n, value in enumerate(numbers)]
