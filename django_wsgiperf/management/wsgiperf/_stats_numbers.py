"""What `wsgiperf stats` shows, put together from metrics/query.py, and the same for JSON, whose keys are a contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from django_wsgiperf.instance import instance
from django_wsgiperf.metrics import query
from django_wsgiperf.metrics.results import Live, Overview, RouteDetail, RouteRow

SCHEMA: Final = 1
"""Keys are added without another number; one that changes its meaning needs one."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of one moment."""

    overview: Overview
    rows: tuple[RouteRow, ...]
    """Routes, in the order that was asked for."""
    live: Live
    """Without this process, which serves nobody."""
    sort: str
    detail: RouteDetail | None = None
    """Of the route that was asked for."""

    @property
    def is_empty(self) -> bool:
        return not self.overview.totals.requests


def gather(period: str, host: str, route: str, sort: str) -> Numbers:
    """`route` may be a part of one name only. Raises StoreError."""
    overview = query.overview(period, host)
    rows = ordered(query.routes(period, host), sort)
    found = query.live()
    processes = tuple(row for row in found.processes if row.instance != instance() and (not host or row.host == host))
    names = {row.instance for row in processes}
    live = Live(found.at_s, processes, tuple(each for each in found.running if each.process in names))
    name = the_one(route, [row.route for row in rows]) if route else None
    detail = query.route(name, period, host) if name is not None else None
    return Numbers(overview, tuple(rows), live, sort, detail)


def the_one(part: str, names: list[str]) -> str | None:
    """The name that is meant: itself, or the only one with that part."""
    if part in names:
        return part
    having = [name for name in names if part in name]
    return having[0] if len(having) == 1 else None


def ordered(rows: list[RouteRow], sort: str) -> list[RouteRow]:
    """The largest first; names in the order of the alphabet."""

    def key(row: RouteRow) -> float:
        totals, quantiles = row.totals, row.totals.quantiles
        by: dict[str, float | None] = {
            "time": totals.wall_s,
            "requests": totals.requests,
            "p50": quantiles.p50,
            "p95": quantiles.p95,
            "p99": quantiles.p99,
            "max": quantiles.max,
            "errors": totals.errors_5xx,
            "queries": totals.queries / totals.requests if totals.requests else 0,
        }
        return -(by[sort] or 0)

    if sort == "route":
        return sorted(rows, key=lambda row: row.route)
    return sorted(rows, key=lambda row: (key(row), row.route))


def as_json(numbers: Numbers) -> dict[str, Any]:
    """Plain data; the names are those of metrics/results.py."""
    overview = plain(numbers.overview)
    overview.pop("top")
    return {
        "schema": SCHEMA,
        **overview,
        "routes": plain(numbers.rows),
        "route": plain(numbers.detail),
        "processes": plain(numbers.live.processes),
        "running": plain(numbers.live.running),
    }


def plain(value: Any) -> Any:
    """Dataclasses and mappings become dictionaries, sequences lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
