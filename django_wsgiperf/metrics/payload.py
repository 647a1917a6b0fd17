"""Tallies as bytes and back: a summary that is quick to read, the routes (payload_detail.py), and the slow samples.

What is damaged, or was written by a newer version, raises Unreadable; unknown keys of the same version are passed over,
missing ones are 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .histogram import Histogram
from .packing import NOT_READ, VERSION, Newer, Unreadable, pack, pack_json, unpack, unpack_json
from .payload_detail import Detail, pack_detail
from .tally import INDEX, SUMS, Cell, SampleData, Tally

__all__ = [
    "VERSION",
    "Detail",
    "Newer",
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
    cell.databases = {alias: list(numbers) for alias, numbers in extras.get("databases", {}).items()}
    cell.caches = {alias: list(numbers) for alias, numbers in extras.get("caches", {}).items()}


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
    except NOT_READ as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from None
