"""The charts of a period: which numbers of its steps are drawn together, under which name, in which unit.

Plain data, drawn twice: as SVG by charts.py, and by the browser from to_json(). How it looks is not decided here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_wsgiperf.metrics.results import BREAKDOWN, Mark, Point, Totals

from . import formats
from .outcomes import OUTCOMES, outcome_label

PART_LABELS: Final = {
    "queue": gettext_lazy("Queue"),
    "python": gettext_lazy("Python"),
    "db": gettext_lazy("Database"),
    "pool": gettext_lazy("Waiting for a connection"),
    "cache": gettext_lazy("Cache"),
    "template": gettext_lazy("Templates"),
    "gc": gettext_lazy("Garbage collection"),
    "write": gettext_lazy("Sending"),
}
"""The parts of BREAKDOWN in words."""

MARK_LABELS: Final = {
    "deploy": gettext_lazy("Deploy"),
    "start": gettext_lazy("Process started"),
    "stop": gettext_lazy("Process ended"),
    "recycle": gettext_lazy("Process replaced"),
}
"""What happened at a Mark, in words."""

UNITS: Final[dict[str, Callable[[float | None], str]]] = {
    "duration": formats.duration,
    "rate": formats.rate,
    "share": formats.share,
    "number": formats.short,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line or layer of a chart. `key` chooses its colour."""

    key: str
    label: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over the same steps. `unit` is a key of UNITS; `ceiling` is the least that the axis reaches to."""

    key: str
    title: str
    hint: str
    unit: str
    times: tuple[int, ...]
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    stacked: bool = False
    wide: bool = False
    ceiling: float = 0.0

    @property
    def is_empty(self) -> bool:
        return not any(value is not None for line in self.lines for value in line.values)

    @property
    def top(self) -> float:
        """The largest value that is drawn, layers added up."""
        if self.stacked:
            drawn = [
                sum(value or 0.0 for value in step) for step in zip(*(line.values for line in self.lines), strict=True)
            ]
        else:
            drawn = [value for line in self.lines for value in line.values if value is not None]
        return max([self.ceiling, *drawn], default=0.0)

    def show(self, value: float | None) -> str:
        """A value in the chart's unit."""
        return UNITS[self.unit](value)

    def rows(self, limit: int) -> list[tuple[int, list[str]]]:
        """The newest steps, newest first, for the table behind the chart."""
        steps = range(len(self.times) - 1, max(-1, len(self.times) - 1 - limit), -1)
        return [(self.times[at], [self.show(line.values[at]) for line in self.lines]) for at in steps]

    def to_json(self) -> dict[str, Any]:
        """What the browser draws it from."""
        return {
            "unit": self.unit,
            "stacked": self.stacked,
            "ceiling": self.ceiling,
            "x": self.times,
            "lines": [
                {"key": line.key, "label": str(line.label), "values": [_rounded(value) for value in line.values]}
                for line in self.lines
            ],
            "marks": [
                {"at": mark.at_s, "kind": mark.kind, "text": f"{mark_label(mark.kind)}: {mark.text}"}
                for mark in self.marks
            ],
        }


def mark_label(kind: str) -> str:
    """A kind of Mark in words; one of a newer version as it is."""
    return str(MARK_LABELS.get(kind, kind))


def _rounded(value: float | None) -> float | None:
    """To what can be seen, and NaN to nothing, which JSON does not know."""
    return float(f"{value:.5g}") if value is not None and math.isfinite(value) else None


def _per(value: float, count: float) -> float | None:
    return value / count if count else None


def _line(key: str, label: str, points: Sequence[Point], value: Callable[[Point], float | None]) -> Line:
    return Line(key, label, tuple(value(point) for point in points))


def succeeded(totals: Totals) -> int:
    """Requests that ended neither in 4xx nor in 5xx."""
    return max(0, totals.requests - totals.errors_4xx - totals.errors_5xx)


def charts(
    points: Sequence[Point], step_s: int, end_s: float, marks: Sequence[Mark] = (), *, busy: bool = True
) -> list[Chart]:
    """The charts of a period that ends at `end_s`. `busy` adds the threads, which belong to no single route."""
    times = tuple(point.start_s for point in points)

    def each_second(point: Point, count: int) -> float:
        # The last step is not over.
        return count / max(1.0, min(step_s, end_s - point.start_s))

    marks = tuple(marks)
    found = [
        Chart(
            "requests",
            _("Requests"),
            _("Per second, by how they ended."),
            "rate",
            times,
            (
                _line("ok", _("Succeeded"), points, lambda point: each_second(point, succeeded(point.totals))),
                _line(
                    "4xx", _("Client errors (4xx)"), points, lambda point: each_second(point, point.totals.errors_4xx)
                ),
                _line(
                    "5xx", _("Server errors (5xx)"), points, lambda point: each_second(point, point.totals.errors_5xx)
                ),
            ),
            marks,
            stacked=True,
        ),
        Chart(
            "times",
            _("Response times"),
            _("Half are faster than p50, 99 of 100 faster than p99."),
            "duration",
            times,
            (
                _line("p50", "p50", points, lambda point: point.totals.quantiles.p50),
                _line("p95", "p95", points, lambda point: point.totals.quantiles.p95),
                _line("p99", "p99", points, lambda point: point.totals.quantiles.p99),
            ),
            marks,
        ),
        Chart(
            "parts",
            _("Where the time goes"),
            _("Mean time of a request, in parts that exclude each other and add up."),
            "duration",
            times,
            tuple(_part_line(part, points) for part in BREAKDOWN if _has_part(part, points)),
            marks,
            stacked=True,
            wide=busy,
        ),
        Chart(
            "errors",
            _("Errors"),
            _("Share of the requests that ended in an error."),
            "share",
            times,
            (
                _line("5xx", _("Server errors (5xx)"), points, lambda p: _per(p.totals.errors_5xx, p.totals.requests)),
                _line("4xx", _("Client errors (4xx)"), points, lambda p: _per(p.totals.errors_4xx, p.totals.requests)),
            ),
            marks,
            ceiling=0.01,
        ),
    ]
    if busy and any(point.busy_share is not None for point in points):
        found.append(
            Chart(
                "busy",
                _("Busy threads"),
                _("Share of all threads that ran a request, on average over each step."),
                "share",
                times,
                (_line("busy", _("Busy"), points, lambda point: point.busy_share),),
                marks,
                ceiling=1.0,
            )
        )
    return found


def _part_line(part: str, points: Sequence[Point]) -> Line:
    label = str(PART_LABELS[part])
    return _line(part, label, points, lambda p: _per(p.totals.parts_s.get(part, 0.0), p.totals.requests))


def _has_part(part: str, points: Sequence[Point]) -> bool:
    return part in ("python", "db") or any(point.totals.parts_s.get(part) for point in points)


def cache_charts(points: Sequence[Point], step_s: int, end_s: float, marks: Sequence[Mark] = ()) -> list[Chart]:
    """What became of the requests that the response cache saw; nothing where it saw none."""
    seen = [name for name in OUTCOMES if any(point.totals.page_cache.get(name) for point in points)]
    if not seen:
        return []

    def each_second(point: Point, outcome: str) -> float:
        return point.totals.page_cache.get(outcome, 0) / max(1.0, min(step_s, end_s - point.start_s))

    lines = tuple(Line(name, outcome_label(name), tuple(each_second(point, name) for point in points)) for name in seen)
    times = tuple(point.start_s for point in points)
    hint = _("Per second, by what the response cache did.")
    return [Chart("outcomes", _("Requests"), hint, "rate", times, lines, tuple(marks), stacked=True, wide=True)]
