"""Slow requests as they are kept: a Record made small, the choice of the few, and the way back.

A sample is a dictionary of short keys, ready for JSON. Times in it are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .record import SPAN_KINDS, Record
from .results import BREAKDOWN, RepeatedQuery, Sample, Span
from .tally import SampleData

_KINDS: Final = {kind: number for number, kind in enumerate(SPAN_KINDS)}
_MAX_SQL: Final = 2048
_MAX_TEXT: Final = 300
_MAX_STACK: Final = 8000
_MAX_STACKS: Final = 10
_MAX_REPEATED: Final = 10


def data_of(
    record: Record, *, id: str, route: str, at_s: float, host: str, response_ns: int, repeats: int
) -> SampleData:
    """A record as it is kept, under the name that its route is counted by. From `repeats` equal queries on they are
    told."""
    repeated = sorted(
        (item for item in record.queries.items() if int(item[1][0]) >= repeats),
        key=lambda item: -int(item[1][0]),
    )
    parts = record.parts_ns()
    return {
        "id": id,
        "at": round(at_s, 3),
        "route": route,
        "method": record.method,
        "status": record.status,
        "ns": response_ns,
        "parts": [parts[part] for part in BREAKDOWN],
        "spans": [
            [_KINDS.get(kind, -1), start, duration, text[: _MAX_SQL if kind == "db" else _MAX_TEXT]]
            for kind, start, duration, text in record.spans
        ],
        "spans_dropped": record.spans_dropped,
        "repeated": [
            [sql[:_MAX_SQL], int(numbers[0]), int(numbers[1]), str(numbers[2])[:_MAX_TEXT] if len(numbers) > 2 else ""]
            for sql, numbers in repeated[:_MAX_REPEATED]
        ],
        "stacks": [stack[-_MAX_STACK:] for stack in record.stacks[:_MAX_STACKS]],
        "queries": sum(use.queries for use in record.db.values()),
        "cpu": record.cpu_ns,
        "page_cache": record.page_cache,
        "exception": record.exception[:_MAX_TEXT],
        "request_id": record.request_id[:64],
        "trace_id": record.trace_id[:64],
        "host": host,
    }


def read(data: Mapping[str, Any]) -> Sample:
    """A sample for those who ask. Raises KeyError, TypeError or ValueError when `data` is none."""
    cpu = int(data["cpu"])
    return Sample(
        id=str(data["id"]),
        at_s=float(data["at"]),
        route=str(data["route"]),
        method=str(data["method"]),
        status=int(data["status"]),
        duration_s=int(data["ns"]) / 1e9,
        parts_s={part: value / 1e9 for part, value in zip(BREAKDOWN, data["parts"], strict=False)},
        spans=tuple(
            Span(SPAN_KINDS[kind] if 0 <= kind < len(SPAN_KINDS) else "other", start / 1e9, duration / 1e9, text)
            for kind, start, duration, text in data["spans"]
        ),
        spans_dropped=int(data["spans_dropped"]),
        repeated=tuple(
            RepeatedQuery(sql, count, duration / 1e9, site) for sql, count, duration, site in data["repeated"]
        ),
        stacks=tuple(data["stacks"]),
        queries=int(data["queries"]),
        cpu_s=cpu / 1e9 if cpu >= 0 else None,
        page_cache=str(data["page_cache"]),
        exception=str(data["exception"]),
        request_id=str(data["request_id"]),
        trace_id=str(data["trace_id"]),
        host=str(data["host"]),
    )


def pick(samples: Iterable[SampleData], per_route: int, most: int) -> list[SampleData]:
    """The slowest of each route, `per_route` of them, and `most` in all: first of every route its slowest, then of
    every route its second. A sample that is there twice is kept once."""
    by_route: dict[str, dict[str, SampleData]] = {}
    for sample in samples:
        by_route.setdefault(sample["route"], {})[sample["id"]] = sample
    ranked = [
        (rank, -sample["ns"], sample["id"], sample)
        for route in by_route.values()
        for rank, sample in enumerate(sorted(route.values(), key=lambda each: (-each["ns"], each["id"]))[:per_route])
    ]
    ranked.sort(key=lambda item: item[:3])
    return [item[3] for item in ranked[:most]]
