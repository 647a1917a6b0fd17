"""Charts, sparklines and bars as SVG, drawn here so that they need no script, print, and follow the theme.

Text stays outside of the pictures, in HTML beside them, so that it keeps its size on every screen. Colours are
classes of dashboard.css, by the keys of lines and parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_wsgiperf.metrics.results import BREAKDOWN

from . import formats
from .series import PART_LABELS, Chart
from .svg import element, path, picture

WIDTH: Final = 1000.0
HEIGHT: Final = 260.0
LEAST: Final = 1e-15
"""What is less than this is nothing, for an axis."""
SPARK_WIDTH: Final = 120.0
SPARK_HEIGHT: Final = 32.0


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5 and 5, times a power of ten: where an axis may end."""
    if value < LEAST or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 2.5, 5) if value <= step * power), 10 * power)


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart's picture and the labels beside it. Labels of y from the top, of x from the left."""

    picture: SafeString
    y: tuple[str, ...]
    x: tuple[str, ...]


def plot(chart: Chart) -> Plot:
    """The chart as a picture that may be stretched."""
    top = round_up(chart.top)
    columns = _columns(len(chart.times))
    drawn = [element("path", d=f"M0 {_y(share)}H{WIDTH:g}", class_="wsgiperf-grid") for share in (0.0, 0.5, 1.0)]
    drawn += _layers(chart, columns, top) if chart.stacked else _lines(chart, columns, top)
    drawn += _marks(chart)
    return Plot(
        picture(
            WIDTH,
            HEIGHT,
            drawn,
            title=chart.title,
            description=_summary(chart),
            class_="wsgiperf-plot-picture",
            stretch=True,
        ),
        (chart.show(top), chart.show(top / 2), chart.show(0)),
        _time_labels(chart.times),
    )


def _columns(count: int) -> list[float]:
    return [WIDTH * at / max(1, count - 1) for at in range(count)]


def _y(share: float) -> float:
    """From a share of the axis to a height in the picture, kept off its edges by a pixel."""
    return 1.0 + (HEIGHT - 2.0) * (1.0 - share)


def _lines(chart: Chart, columns: Sequence[float], top: float) -> list[SafeString]:
    return [
        element(
            "path",
            d=path(
                None if value is None else (x, _y(value / top)) for x, value in zip(columns, line.values, strict=True)
            ),
            class_=f"wsgiperf-line wsgiperf-stroke-{line.key}",
        )
        for line in reversed(chart.lines)
    ]


def _layers(chart: Chart, columns: Sequence[float], top: float) -> list[SafeString]:
    """Areas between the sums of the lines so far."""
    drawn: list[SafeString] = []
    below = [0.0] * len(columns)
    for line in chart.lines:
        above = [base + (value or 0.0) for base, value in zip(below, line.values, strict=True)]
        upper = [(x, _y(value / top)) for x, value in zip(columns, above, strict=True)]
        lower = [(x, _y(value / top)) for x, value in zip(columns, below, strict=True)]
        if upper:
            drawn.append(element("path", d=path([*upper, *reversed(lower)]) + "Z", class_=f"wsgiperf-fill-{line.key}"))
        below = above
    return drawn


def _marks(chart: Chart) -> list[SafeString]:
    if len(chart.times) < 2:
        return []
    begin, end = chart.times[0], chart.times[-1]
    return [
        element(
            "path",
            element("title", f"{mark.text} · {formats.moment(mark.at_s, day=True)}"),
            d=f"M{WIDTH * (mark.at_s - begin) / (end - begin):.1f} 0V{HEIGHT:g}",
            class_=f"wsgiperf-mark wsgiperf-mark-{mark.kind}",
        )
        for mark in chart.marks
        if begin <= mark.at_s <= end
    ]


def _summary(chart: Chart) -> str:
    """The newest and the largest value of each line, for those who hear it."""
    told = []
    for line in chart.lines:
        known = [value for value in line.values if value is not None]
        if known:
            facts = {"line": line.label, "last": chart.show(known[-1]), "largest": chart.show(max(known))}
            told.append(_("%(line)s: %(last)s at the end, at most %(largest)s.") % facts)
    return " ".join(told) or _("Nothing was measured.")


def _time_labels(times: Sequence[int]) -> tuple[str, ...]:
    if not times:
        return ()
    is_long = times[-1] - times[0] > 36 * 3600
    chosen = sorted({0, len(times) // 2, len(times) - 1}) if len(times) > 2 else range(len(times))
    return tuple(formats.moment(times[at], day=is_long) for at in chosen)


def sparkline(values: Sequence[float | None], key: str) -> SafeString:
    """A small line with its area, without axes; decoration beside a number."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return picture(SPARK_WIDTH, SPARK_HEIGHT, [], class_="wsgiperf-spark", stretch=True)
    top = max(known) or 1.0
    step = SPARK_WIDTH / (len(values) - 1)
    points = [
        None if value is None else (at * step, 1.5 + (SPARK_HEIGHT - 3) * (1 - value / top))
        for at, value in enumerate(values)
    ]
    drawn = [
        element("path", d=_area(run, SPARK_HEIGHT), class_=f"wsgiperf-spark-area wsgiperf-fill-{key}")
        for run in _runs(points)
        if len(run) > 1
    ]
    drawn.append(element("path", d=path(points), class_=f"wsgiperf-spark-line wsgiperf-stroke-{key}"))
    return picture(SPARK_WIDTH, SPARK_HEIGHT, drawn, class_="wsgiperf-spark", stretch=True)


def _runs(points: Iterable[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return runs


def _area(run: Sequence[tuple[float, float]], floor: float) -> str:
    return path([(run[0][0], floor), *run, (run[-1][0], floor)]) + "Z"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar: its colour's key, name, share of the whole, and value in words."""

    key: str
    label: str
    share: float
    value: str


def parts(parts_s: Mapping[str, float], divisor: float = 1.0) -> list[Part]:
    """The parts of a time in their order, each divided by `divisor`; those that took none are left out."""
    whole = sum(max(0.0, parts_s.get(name, 0.0)) for name in BREAKDOWN)
    return [
        Part(name, str(PART_LABELS[name]), parts_s[name] / whole, formats.duration(parts_s[name] / (divisor or 1.0)))
        for name in BREAKDOWN
        if parts_s.get(name, 0.0) > 0 and whole > 0
    ]


def bar(pieces: Sequence[Part], title: str = "") -> SafeString:
    """Pieces in a row, as long as their shares say."""
    drawn: list[SafeString] = []
    at = 0.0
    for piece in pieces:
        width = WIDTH * piece.share
        label = f"{piece.label}: {piece.value} ({formats.share(piece.share)})"
        drawn.append(
            element(
                "rect",
                element("title", label),
                x=at,
                y=0,
                width=max(width, 0.5),
                height=10,
                class_=f"wsgiperf-fill-{piece.key}",
            )
        )
        at += width
    description = ", ".join(f"{piece.label} {piece.value}" for piece in pieces)
    return picture(WIDTH, 10, drawn, title=title, description=description, class_="wsgiperf-bar", stretch=True)


def meter(share: float | None, key: str = "meter") -> SafeString:
    """One piece on a pale ground; decoration beside a number."""
    width = WIDTH * min(1.0, max(0.0, share or 0.0))
    return picture(
        WIDTH,
        10,
        [
            element("rect", width=WIDTH, height=10, class_="wsgiperf-ground"),
            element("rect", width=width, height=10, class_=f"wsgiperf-fill-{key}"),
        ],
        class_="wsgiperf-meter",
        stretch=True,
    )


def usage(used: int, idle: int, most: int) -> SafeString:
    """Connections in use and idle, of as many as there may be."""
    whole = max(most, used + idle, 1)
    pieces = [
        Part("used", _("In use"), used / whole, formats.number(used)),
        Part("idle", _("Idle"), idle / whole, formats.number(idle)),
        Part("ground", _("Not open"), max(0, whole - used - idle) / whole, formats.number(max(0, whole - used - idle))),
    ]
    return bar([piece for piece in pieces if piece.share], _("Connections"))
