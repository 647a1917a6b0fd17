"""The heat map of a route: how many requests took how long, over time. SVG, with its labels beside it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_wsgiperf.metrics.results import HeatCell

from . import formats
from .svg import element, picture

ROWS: Final = 18
"""At most so many rows: buckets next to each other are joined until they fit."""
SHADES: Final = 6
CELL: Final = 10.0


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The picture; its labels of response time from the top, and of time from the left."""

    picture: SafeString
    y: tuple[str, ...]
    x: tuple[str, ...]


def heat_map(cells: Sequence[HeatCell], times: Sequence[int]) -> HeatMap | None:
    """The map over the steps `times`; None where there was no request."""
    counted = [cell for cell in cells if cell.count > 0]
    columns = {start: at for at, start in enumerate(sorted({*times, *(cell.start_s for cell in counted)}))}
    if not counted:
        return None
    uppers = _rows(sorted({cell.upper_s for cell in counted}))
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for cell in counted:
        row = next(at for at, upper in enumerate(uppers) if cell.upper_s <= upper)
        counts[columns[cell.start_s], row] += cell.count
    most = max(counts.values())
    starts = list(columns)
    drawn = [
        element(
            "rect",
            element("title", _told(starts[column], uppers, row, count)),
            x=column * CELL,
            y=(len(uppers) - 1 - row) * CELL,
            width=CELL,
            height=CELL,
            class_=f"wsgiperf-heat-{_shade(count, most)}",
        )
        for (column, row), count in sorted(counts.items())
    ]
    total = sum(counts.values())
    slowest = formats.duration(uppers[-1])
    description = _("%(count)s requests, the slowest at most %(slowest)s; at most %(most)s in one cell.") % {
        "count": formats.number(total),
        "slowest": slowest,
        "most": formats.number(most),
    }
    drawing = picture(
        len(columns) * CELL,
        len(uppers) * CELL,
        drawn,
        title=_("Response times over time"),
        description=description,
        class_="wsgiperf-heat-picture",
        stretch=True,
    )
    chosen = sorted({len(uppers) - 1, (len(uppers) - 1) // 2, 0}, reverse=True)
    is_long = starts[-1] - starts[0] > 36 * 3600
    ends = sorted({0, len(starts) // 2, len(starts) - 1})
    return HeatMap(
        drawing,
        tuple(formats.duration(uppers[at]) for at in chosen),
        tuple(formats.moment(starts[at], day=is_long) for at in ends),
    )


def _rows(uppers: list[float]) -> list[float]:
    """Upper bounds of the rows, from the fastest: every second one, until they are few enough."""
    while len(uppers) > ROWS:
        uppers = uppers[len(uppers) % 2 == 0 :: 2]
    return uppers


def _shade(count: int, most: int) -> int:
    """From 1, pale, to SHADES. By the square root, so that single requests beside thousands are still seen."""
    return max(1, round(SHADES * math.sqrt(count / most)))


def _told(start: int, uppers: Sequence[float], row: int, count: int) -> str:
    lower = dict(zip(uppers[1:], uppers, strict=False)).get(uppers[row], 0.0)
    return _("%(time)s: %(count)s requests of %(from)s to %(to)s") % {
        "time": formats.moment(start, day=True),
        "count": formats.number(count),
        "from": formats.duration(lower),
        "to": formats.duration(uppers[row]),
    }


def legend() -> list[int]:
    """The shades, from pale to full."""
    return list(range(1, SHADES + 1))


def percent_table(cells: Sequence[HeatCell]) -> list[tuple[str, int]]:
    """Requests by upper bound of their response time, all steps together: the table behind the map."""
    sums: dict[float, int] = defaultdict(int)
    for cell in cells:
        sums[cell.upper_s] += cell.count
    return [(formats.duration(upper), count) for upper, count in sorted(sums.items()) if count]
