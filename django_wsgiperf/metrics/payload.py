"""Tallies as bytes and back: a summary that is quick to read, the routes in detail, and the slow samples.

A summary is JSON; detail is JSON with the routes' sums by column, followed by packed histograms that are unpacked only
for the routes that somebody asks for. All is compressed, and the first byte is the version. What is damaged, or was
written by a newer version, raises Unreadable; unknown keys of the same version are passed over, missing ones are 0.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .histogram import Histogram
from .results import BREAKDOWN
from .tally import INDEX, SUMS, Cell, SampleData, Tally

VERSION: Final = 1
_HISTOGRAM: Final = struct.Struct("<HBQQQQQ")
_LENGTH: Final = struct.Struct("<I")
_MAX_BYTES: Final = 64 << 20
"""Of anything unpacked: what claims to be more is damaged."""
_NOT_READ: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    struct.error,
    zlib.error,
    RecursionError,
)


class Unreadable(ValueError):
    """Bytes that are damaged, or of a newer version."""


class Newer(Unreadable):
    """Bytes that a newer version wrote, and will read."""


def pack(data: bytes) -> bytes:
    """Compressed, with the version in front."""
    return bytes((VERSION,)) + zlib.compress(data, 6)


def unpack(data: bytes | memoryview) -> bytes:
    """What was packed. Raises Unreadable."""
    data = bytes(data)
    if not data:
        raise Unreadable("nothing is there")
    if data[0] > VERSION:
        raise Newer(f"version {data[0]}, this is {VERSION}")
    if data[0] != VERSION:
        raise Unreadable(f"there is no version {data[0]}")
    inflater = zlib.decompressobj()
    try:
        unpacked = inflater.decompress(data[1:], _MAX_BYTES)
    except zlib.error as error:
        raise Unreadable(str(error)) from None
    if not inflater.eof:
        raise Unreadable("the end is missing")
    return unpacked


def pack_json(value: Any) -> bytes:
    return pack(_json(value))


def unpack_json(data: bytes | memoryview) -> Any:
    """Raises Unreadable."""
    text = unpack(data)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from None


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


# -- summary: everything but routes and samples


def pack_summary(tally: Tally, total: Cell) -> bytes:
    """`total` is the sum of the tally's routes."""
    return pack_json(
        {
            "sums": {name: value for name, value in zip(SUMS, total.sums, strict=True) if value},
            "thread_ns": tally.thread_ns,
            "queue_peak": tally.queue_peak,
            "dropped": tally.dropped,
            "releases": tally.releases,
            "marks": tally.marks,
            "response": _flat(total.response),
            "database": _flat(total.database),
            "queue": _flat(total.queue),
            **_extras(total),
        }
    )


def unpack_summary(data: bytes | memoryview) -> tuple[Tally, Cell]:
    """A tally without routes and samples, and the sum of all routes. Raises Unreadable."""
    value = unpack_json(data)
    tally, total = Tally(), Cell()
    try:
        for name, number in value["sums"].items():
            if name in INDEX:
                total.sums[INDEX[name]] = int(number)
        tally.thread_ns = int(value.get("thread_ns", 0))
        tally.queue_peak = int(value.get("queue_peak", -1))
        tally.dropped = int(value.get("dropped", 0))
        tally.releases = {str(key): int(count) for key, count in value.get("releases", {}).items()}
        tally.marks = [(float(at), str(kind), str(release), str(who)) for at, kind, release, who in value["marks"]]
        total.response = _unflat(value["response"])
        total.database = _unflat(value["database"])
        total.queue = _unflat(value["queue"])
        _read_extras(total, value)
    except _NOT_READ as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from None
    return tally, total


def _flat(histogram: Histogram) -> list[int]:
    flat = [histogram.zeros, histogram.sum_ns, histogram.min_ns, histogram.max_ns]
    for pair in histogram:
        flat.extend(pair)
    return flat


def _unflat(flat: Sequence[int]) -> Histogram:
    histogram = Histogram()
    histogram.zeros, histogram.sum_ns, histogram.min_ns, histogram.max_ns = flat[:4]
    histogram.buckets = dict(zip(flat[4::2], flat[5::2], strict=True))
    histogram.count = histogram.zeros + sum(histogram.buckets.values())
    return histogram


def _extras(cell: Cell) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    if cell.outcomes:
        extras["outcomes"] = [[method, status, count] for (method, status), count in cell.outcomes.items()]
    for name in ("page_cache", "exceptions", "databases", "caches"):
        if found := getattr(cell, name):
            extras[name] = found
    return extras


def _read_extras(cell: Cell, extras: dict[str, Any]) -> None:
    cell.outcomes = {(method, status): count for method, status, count in extras.get("outcomes", ())}
    # Copies: what was read is kept, and read again.
    cell.page_cache = dict(extras.get("page_cache", ()))
    cell.exceptions = dict(extras.get("exceptions", ()))
    cell.databases = {alias: list(numbers) for alias, numbers in extras.get("databases", {}).items()}
    cell.caches = {alias: list(numbers) for alias, numbers in extras.get("caches", {}).items()}


# -- detail: the routes


def pack_detail(tally: Tally) -> bytes:
    """The routes."""
    names = list(tally.routes)
    cells = list(tally.routes.values())
    blobs: list[bytes] = []
    places: list[int] = [0]
    for cell in cells:
        blob = b"".join(_pack_histogram(each) for each in (cell.response, cell.database, cell.queue))
        blobs.append(blob)
        places.append(places[-1] + len(blob))
    head = _json(
        {
            "routes": names,
            "sums": {name: [cell.sums[index] for cell in cells] for index, name in enumerate(SUMS)},
            "extras": [_extras(cell) for cell in cells],
            "places": places,
        }
    )
    return pack(_LENGTH.pack(len(head)) + head + b"".join(blobs))


def _pack_histogram(histogram: Histogram) -> bytes:
    pairs = sorted(histogram.buckets.items())
    counts = [count for _, count in pairs]
    wide = bool(counts) and max(counts) >= 1 << 32
    head = _HISTOGRAM.pack(
        len(pairs),
        wide,
        histogram.zeros,
        histogram.count,
        histogram.sum_ns,
        histogram.min_ns,
        histogram.max_ns,
    )
    return head + struct.pack(f"<{len(pairs)}h{len(pairs)}{'QI'[not wide]}", *(index for index, _ in pairs), *counts)


def _unpack_histogram(data: bytes, at: int) -> tuple[Histogram, int]:
    histogram = Histogram()
    number, wide, histogram.zeros, histogram.count, histogram.sum_ns, histogram.min_ns, histogram.max_ns = (
        _HISTOGRAM.unpack_from(data, at)
    )
    at += _HISTOGRAM.size
    values = struct.unpack_from(f"<{number}h{number}{'Q' if wide else 'I'}", data, at)
    histogram.buckets = dict(zip(values[:number], values[number:], strict=True))
    return histogram, at + number * (10 if wide else 6)


class Detail:
    """Routes that are unpacked when they are asked for."""

    __slots__ = ("_at", "_data", "_head", "routes")

    def __init__(self, data: bytes | memoryview) -> None:
        """Raises Unreadable."""
        self._data = unpack(data)
        try:
            (length,) = _LENGTH.unpack_from(self._data)
            self._at = _LENGTH.size + length
            self._head = json.loads(self._data[_LENGTH.size : self._at])
            self.routes: dict[str, int] = {name: place for place, name in enumerate(self._head["routes"])}
            count = len(self._head["routes"])
            if len(self._head["places"]) != count + 1 or len(self._head["extras"]) != count:
                raise ValueError("columns of different lengths")
            if any(len(column) != count for column in self._head["sums"].values()):
                raise ValueError("columns of different lengths")
        except _NOT_READ as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from None

    @property
    def size(self) -> int:
        """About as many bytes of memory."""
        return 3 * len(self._data)

    def sums(self, name: str) -> list[int]:
        """One sum of all routes, in the order of `routes`."""
        column: list[int] = self._head["sums"].get(name) or [0] * len(self.routes)
        return column

    def walls(self) -> list[int]:
        """The time of each route, all parts together, in the order of `routes`."""
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
        cell = Cell()
        try:
            for name, column in self._head["sums"].items():
                if name in INDEX:
                    cell.sums[INDEX[name]] = column[place]
            _read_extras(cell, self._head["extras"][place])
            at = self._at + self._head["places"][place]
            cell.response, at = _unpack_histogram(self._data, at)
            cell.database, at = _unpack_histogram(self._data, at)
            cell.queue, at = _unpack_histogram(self._data, at)
        except _NOT_READ as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from None
        return cell


# -- samples


def pack_samples(samples: Iterable[SampleData]) -> bytes:
    """Nothing for none. Texts that are there several times are written once."""
    samples = list(samples)
    if not samples:
        return b""
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    written = [
        {
            **sample,
            "spans": [[kind, start, duration, number(text)] for kind, start, duration, text in sample["spans"]],
            "repeated": [[number(sql), count, ns, number(site)] for sql, count, ns, site in sample["repeated"]],
            "stacks": [number(stack) for stack in sample["stacks"]],
        }
        for sample in samples
    ]
    return pack_json({"samples": written, "texts": list(texts)})


def unpack_samples(data: bytes | memoryview) -> list[SampleData]:
    """Raises Unreadable."""
    if not data:
        return []
    value = unpack_json(data)
    try:
        texts: list[str] = value["texts"]
        return [
            {
                **sample,
                "spans": [[kind, start, duration, texts[n]] for kind, start, duration, n in sample["spans"]],
                "repeated": [[texts[n], count, ns, texts[site]] for n, count, ns, site in sample["repeated"]],
                "stacks": [texts[n] for n in sample["stacks"]],
            }
            for sample in value["samples"]
        ]
    except _NOT_READ as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from None
