"""The gathered numbers as sections of /-/stats: plain data for JSON, with the schema in stats.schema.json beside this.

Keys are added and never change their meaning; what would change it makes another SCHEMA (server/statistics.py).
"""

from __future__ import annotations

import json
import time
from typing import Any

from django_wsgiperf.instance import instance
from django_wsgiperf.metrics.histogram import Histogram
from django_wsgiperf.metrics.results import BREAKDOWN
from django_wsgiperf.metrics.tally import Cell, Tally

from .gather import Gathered


def encoded(gathered: Gathered) -> bytes:
    """The sections as a JSON object."""
    return json.dumps(sections(gathered)).encode()


def sections(gathered: Gathered) -> dict[str, Any]:
    """`routes` by their whole time, the longest first; everything since the start of the server or process."""
    whole = gathered.whole()
    return {
        "instance": instance(),
        "at_s": round(time.time(), 3),
        "totals": _cell(whole.total()),
        "routes": _routes(whole),
        "databases": _by_alias(whole, "databases", _DATABASE),
        "caches": _by_alias(whole, "caches", _CACHE),
        "pools": [{"process": each.number, **pool} for each in gathered.processes for pool in each.get("pools") or ()],
        "page_cache": {
            "outcomes": whole.total().page_cache,
            "processes": [
                {"process": each.number, **cache} for each in gathered.processes if (cache := each.get("page_cache"))
            ],
        },
        "pipeline": [{"process": each.number, **(each.get("pipeline") or {})} for each in gathered.processes],
        "processes": [
            {
                "process": each.number,
                "instance": each.get("instance"),
                "pid": each.get("pid"),
                **(each.get("resources") or {}),
            }
            for each in gathered.processes
        ],
        "unreachable": gathered.unreachable,
    }


def _routes(tally: Tally) -> list[dict[str, Any]]:
    by_time = sorted(tally.routes.items(), key=lambda item: (-item[1].wall_ns, item[0]))
    return [{"route": route, **_cell(cell)} for route, cell in by_time]


def _cell(cell: Cell) -> dict[str, Any]:
    methods: dict[str, int] = {}
    statuses: dict[str, int] = {}
    for (method, status), count in cell.outcomes.items():
        methods[method] = methods.get(method, 0) + count
        statuses[str(status)] = statuses.get(str(status), 0) + count
    return {
        "requests": cell["requests"],
        "methods": methods,
        "statuses": statuses,
        "exceptions": cell.exceptions,
        "aborted": cell["aborted"],
        "n_plus_one": cell["n_plus_one"],
        "queries": cell["queries"],
        "cache_calls": cell["cache_calls"],
        "cache_hits": cell["cache_hits"],
        "cache_misses": cell["cache_misses"],
        "page_cache": cell.page_cache,
        "body_bytes": cell["bytes"],
        "cpu_s": cell["cpu_ns"] / 1e9,
        "parts_s": {part: cell[f"{part}_ns"] / 1e9 for part in BREAKDOWN},
        "response_s": _summary(cell.response),
        "queue_s": _summary(cell.queue),
        "database_s": _summary(cell.database),
    }


def _summary(histogram: Histogram) -> dict[str, Any]:
    """Quantiles are off by 4.5 % at most; None where nothing was measured."""
    return {
        "count": histogram.count,
        "sum": histogram.sum_ns / 1e9,
        "mean": histogram.mean,
        "p50": histogram.quantile(0.5),
        "p95": histogram.quantile(0.95),
        "p99": histogram.quantile(0.99),
        "max": histogram.max,
    }


_DATABASE = (("queries", 1), ("rows", 1), ("execute_s", 1e9), ("wait_s", 1e9), ("errors", 1), ("uncounted", 1))
_CACHE = (("calls", 1), ("hits", 1), ("misses", 1), ("call_s", 1e9))


def _by_alias(tally: Tally, name: str, columns: tuple[tuple[str, float], ...]) -> dict[str, dict[str, float]]:
    sums: dict[str, list[int]] = {}
    for cell in tally.routes.values():
        for alias, numbers in getattr(cell, name).items():
            known = sums.setdefault(alias, [0] * len(columns))
            for index in range(len(columns)):
                known[index] += numbers[index]
    return {
        alias: {
            column: number / unit if unit != 1 else number
            for (column, unit), number in zip(columns, numbers, strict=True)
        }
        for alias, numbers in sums.items()
    }
