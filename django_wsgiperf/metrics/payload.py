"""Tallies as bytes and back: a summary that is quick to read, the routes (payload_detail.py), and the slow samples.

What is damaged, or was written by a newer version, raises Unreadable; unknown keys of the same version are passed over,
missing ones are 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from .histogram import Histogram
from .packing import NOT_READ, VERSION, Newer, Unreadable, pack, pack_json, to_json, unpack, unpack_json
from .payload_detail import Detail, pack_detail
from .tally import DATABASE_NUMBERS, INDEX, SUMS, Cell, SampleData, Tally

__all__ = [
    "VERSION",
    "Detail",
    "Newer",
    "Samples",
    "Unreadable",
    "pack",
    "pack_detail",
    "pack_json",
    "pack_samples",
    "pack_summary",
    "unpack",
    "unpack_json",
    "unpack_samples",
    "unpack_summary",
]

# -- summary: everything but routes and samples


def pack_summary(tally: Tally, total: Cell) -> bytes:
    """`total` is the sum of the routes. Its histogram of database times is left out: it is asked by route alone."""
    return pack_json(
        {
            "sums": {name: value for name, value in zip(SUMS, total.sums, strict=True) if value},
            "thread_ns": tally.thread_ns,
            "queue_peak": tally.queue_peak,
            "dropped": tally.dropped,
            "releases": tally.releases,
            "marks": tally.marks,
            "response": _flat(total.response),
            "queue": _flat(total.queue),
            **_extras(total),
        }
    )


def unpack_summary(data: bytes | memoryview) -> tuple[Tally, Cell]:
    """A tally without routes and samples, and the sum of all routes, as pack_summary() has it. Raises Unreadable."""
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
        total.queue = _unflat(value["queue"])
        _read_extras(total, value)
    except NOT_READ as error:
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
    cell.databases = {
        alias: [*numbers, *[0] * (DATABASE_NUMBERS - len(numbers))]
        for alias, numbers in extras.get("databases", {}).items()
    }
    cell.caches = {alias: list(numbers) for alias, numbers in extras.get("caches", {}).items()}


# -- samples

_FIRST = ("id", "at", "route", "ns")
"""What a sample is chosen by. The rest is a text of its own, which is read of those that are chosen."""
_NUMBERS = ("status", "spans_dropped", "queries", "cpu")
_TEXTS = ("method", "page_cache", "exception", "request_id", "trace_id", "host")


def pack_samples(samples: Iterable[SampleData]) -> bytes:
    """Nothing for none. Texts that are there several times are written once."""
    samples = list(samples)
    if not samples:
        return b""
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    written = []
    for sample in samples:
        rest = [
            [sample[name] for name in _NUMBERS],
            [number(sample[name]) for name in _TEXTS],
            sample["parts"],
            [[kind, start, duration, number(text)] for kind, start, duration, text in sample["spans"]],
            [[number(sql), count, ns, number(site)] for sql, count, ns, site in sample["repeated"]],
            [number(stack) for stack in sample["stacks"]],
        ]
        written.append([*(sample[name] for name in _FIRST), to_json(rest).decode()])
    return pack_json({"samples": written, "texts": list(texts)})


class Samples:
    """Slow requests, of which one is read in full when it is asked for."""

    __slots__ = ("_read", "_texts")

    def __init__(self, data: bytes | memoryview) -> None:
        """Raises Unreadable."""
        self._read: list[Any] = []
        self._texts: list[str] = []
        if data:
            value = unpack_json(data)
            try:
                self._read, self._texts = list(value["samples"]), list(value["texts"])
                if any(len(each) != len(_FIRST) + 1 for each in self._read):
                    raise ValueError("samples of another shape")
            except NOT_READ as error:
                raise Unreadable(f"{type(error).__name__}: {error}") from None

    def heads(self) -> list[tuple[str, float, str, int]]:
        """(id, unix seconds, route, ns) of each."""
        return [(each[0], each[1], each[2], each[3]) for each in self._read]

    def full(self, place: int) -> SampleData:
        """All of one, by its place among heads(). Raises Unreadable."""
        texts = self._texts
        try:
            *first, rest = self._read[place]
            numbers, named, parts, spans, repeated, stacks = json.loads(rest)
            return {
                **dict(zip(_FIRST, first, strict=True)),
                **dict(zip(_NUMBERS, numbers, strict=True)),
                **{name: texts[n] for name, n in zip(_TEXTS, named, strict=True)},
                "parts": parts,
                "spans": [[kind, start, duration, texts[n]] for kind, start, duration, n in spans],
                "repeated": [[texts[n], count, ns, texts[site]] for n, count, ns, site in repeated],
                "stacks": [texts[n] for n in stacks],
            }
        except NOT_READ as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from None


def unpack_samples(data: bytes | memoryview) -> list[SampleData]:
    """All in full. Raises Unreadable."""
    samples = Samples(data)
    return [samples.full(place) for place in range(len(samples.heads()))]
