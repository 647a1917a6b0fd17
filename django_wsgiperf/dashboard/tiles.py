"""The tiles of the overview: one number each, how it changed against the period before, and its course."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_wsgiperf.metrics.results import Overview, Point, Totals

from . import formats
from .charts import sparkline

#: A change that is smaller than this is nobody's news.
NOTEWORTHY: Final = 0.05
ANSWERED: Final = ("hit", "stale", "collapsed", "revalidated")
"""Outcomes of the response cache for which no view ran."""

Number = float | None


@dataclass(frozen=True, slots=True)
class Tile:
    """`verdict` of the change is "better", "worse" or, where it is neither, empty."""

    key: str
    label: str
    value: str
    change: str
    verdict: str
    hint: str
    spark: SafeString


def cached_share(totals: Totals) -> Number:
    """Of the requests that the response cache saw, those that it answered; None where it saw none."""
    seen = sum(totals.page_cache.values())
    return sum(totals.page_cache.get(outcome, 0) for outcome in ANSWERED) / seen if seen else None


def per_request(value: float, totals: Totals) -> Number:
    return value / totals.requests if totals.requests else None


def tiles(overview: Overview) -> list[Tile]:
    """All tiles, in their order. What was not measured, such as a queue under other servers, has none."""
    seconds = {
        id(overview.totals): max(1, overview.end_s - overview.begin_s),
        id(overview.previous): max(1, overview.previous_s or overview.end_s - overview.begin_s),
    }
    step = max(1, overview.step_s)
    busy_points = [point.busy_share for point in overview.series if point.busy_share is not None]
    busy = sum(busy_points) / len(busy_points) if busy_points else None
    now, before = overview.totals, overview.previous

    def tile(
        key: str,
        label: str,
        show: Callable[[Number], str],
        value: Callable[[Totals], Number],
        hint: str,
        *,
        good: int = -1,
        colour: str = "",
        in_point: Callable[[Point], Number] | None = None,
    ) -> Tile:
        current, previous = value(now), value(before)
        of_point = in_point or (lambda point: value(point.totals) if point.totals.requests else None)
        return Tile(
            key,
            label,
            show(current),
            formats.change(current, previous),
            _verdict(current, previous, good),
            hint,
            sparkline([of_point(point) for point in overview.series], colour or key),
        )

    found = [
        tile(
            "requests",
            _("Requests"),
            formats.rate,
            lambda totals: totals.requests / seconds[id(totals)],
            _("Requests per second."),
            good=0,
            colour="ok",
            in_point=lambda point: point.totals.requests / max(1, min(step, overview.end_s - point.start_s)),
        ),
        tile("p50", "p50", formats.duration, lambda totals: totals.quantiles.p50, _("Half were faster than this.")),
        tile("p95", "p95", formats.duration, lambda totals: totals.quantiles.p95, _("19 of 20 were faster than this.")),
        tile(
            "p99", "p99", formats.duration, lambda totals: totals.quantiles.p99, _("99 of 100 were faster than this.")
        ),
        tile(
            "errors",
            _("Errors"),
            formats.share,
            lambda totals: per_request(totals.errors_5xx, totals),
            _("Share of the requests that ended in 5xx."),
            colour="5xx",
        ),
        tile(
            "apdex",
            "Apdex",
            lambda value: formats.number(value, 2),
            lambda totals: totals.apdex,
            _("1 when every user was satisfied, 0 when none was."),
            good=1,
            colour="ok",
        ),
    ]
    if busy is not None:
        spark = sparkline([point.busy_share for point in overview.series], "busy")
        hint = _("Share of all threads that ran a request, on average.")
        found.append(Tile("busy", _("Busy threads"), formats.share(busy), "", "", hint, spark))
    if now.queue_p95_s is not None:
        hint = _("19 of 20 requests waited less than this for a thread.")
        found.append(tile("queue", _("Queue p95"), formats.duration, lambda totals: totals.queue_p95_s, hint))
    if now.page_cache:
        hint = _("Requests that the response cache answered, of those that it saw.")
        found.append(tile("cached", _("From cache"), formats.share, cached_share, hint, good=1, colour="cache"))
    found += [
        tile(
            "db",
            _("Database"),
            formats.duration,
            lambda totals: per_request(totals.parts_s.get("db", 0.0), totals),
            _("Time in statements, for each request."),
        ),
        tile(
            "queries",
            _("Queries"),
            formats.short,
            lambda totals: per_request(totals.queries, totals),
            _("Statements for each request."),
            colour="db",
        ),
    ]
    return found


def _verdict(now: Number, before: Number, good: int) -> str:
    """`good` is 1 where more is better, -1 where less is, 0 where neither."""
    if now is None or not before or not good or abs(now / before - 1) < NOTEWORTHY:
        return ""
    return "better" if (now > before) == (good > 0) else "worse"
