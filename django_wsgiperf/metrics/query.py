"""What the admin page, the exports and the command ask: a period's numbers, its routes, one route, its slow requests.

Reads the store (reading.py), gives the plain data of results.py. What runs now is in query_live.py. Raises ValueError
for a period that is none, and StoreError when the store cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TypeVar

from django_wsgiperf import conf

from . import payload, pipeline, reports
from . import samples as slow
from .histogram import apdex, upper_s
from .query_live import interrupt, live
from .reading import Reader, Summary, Window, route_cells, top_routes
from .results import BREAKDOWN, HeatCell, Mark, Overview, Point, Quantiles, RouteDetail, RouteRow, Sample, Totals
from .stores.base import Extent, StoreError
from .tally import PARTS, Cell, Tally

__all__ = [
    "StoreError",
    "hosts",
    "interrupt",
    "live",
    "overview",
    "route",
    "routes",
    "sample",
    "samples",
]

Key = TypeVar("Key", int, str)

_TOP = 10
_MAX_MARKS = 200
_ALIVE_S = 120


def overview(period: str = "1h", host: str = "", now: float | None = None) -> Overview:
    """The first screen: sums, a series, and what happened. `host` empty is all of them; `now` is unix seconds."""
    window, reader = _window(period, now), _reader()
    before = list(reader.summaries(window.whole_before(), host))
    within = list(reader.summaries(window.series(), host))
    steps = _steps(window, within)
    details = [detail for _, detail in reader.details(window.whole(), host)]
    cells, wall_ns = top_routes(details, _TOP)
    living = [each for each in reader.store.reports(int(window.end) - _ALIVE_S) if not host or each.host == host]
    return Overview(
        period=period,
        host=host,
        begin_s=window.begin,
        end_s=window.end,
        step_s=window.step,
        totals=_totals(_sum(total for _, total in steps.values())),
        previous=_totals(_sum(each.total for each in before)),
        series=tuple(_series(window, steps)),
        marks=tuple(_marks(before, within)),
        top=tuple(_rows(cells, wall_ns)),
        hosts=tuple(_hosts(reader, window)),
        releases=tuple(sorted({row.release for row in reports.rows(living)} - {""})),
        previous_s=window.before[1] - window.before[0],
    )


def routes(period: str, host: str = "", now: float | None = None) -> list[RouteRow]:
    """All routes, those that took most time first."""
    window, reader = _window(period, now), _reader()
    cells = route_cells(detail for _, detail in reader.details(window.whole(), host))
    return _rows(cells, sum(cell.wall_ns for cell in cells.values()))


def route(name: str, period: str, host: str = "", now: float | None = None) -> RouteDetail | None:
    """All about one route; None when it had no request."""
    window, reader = _window(period, now), _reader()
    steps: dict[int, Cell] = {}
    wall_ns = 0
    for row, detail in reader.details(window.series(), host):
        wall_ns += sum(detail.walls())
        if name in detail.routes:
            try:
                detail.add(name, steps.setdefault(window.start_of(row.start), Cell()))
            except payload.Unreadable:
                continue
    if not steps:
        return None
    total = _sum(steps.values())
    return RouteDetail(
        row=_row(name, total, wall_ns),
        series=tuple(Point(start, _totals(steps.get(start) or Cell())) for start in window.starts()),
        heat=tuple(_heat(steps)),
        databases={alias: _database(numbers) for alias, numbers in sorted(total.databases.items())},
        samples=tuple(_samples(reader, window, host, name, 20)),
        exceptions=dict(sorted(total.exceptions.items(), key=lambda item: -item[1])),
    )


def hosts(period: str, now: float | None = None) -> list[str]:
    """The hosts that requests of a period ran on."""
    return _hosts(_reader(), _window(period, now))


def samples(period: str, host: str = "", route: str = "", limit: int = 50, now: float | None = None) -> list[Sample]:
    """The slowest requests of a period, the slowest first."""
    return _samples(_reader(), _window(period, now), host, route, limit)


def sample(id: str) -> Sample | None:
    """One slow request by its id; None when it is not kept any more."""
    try:
        minute = int(id.split("-", 1)[0], 16) * 60
    except ValueError:
        return None
    extents = [Extent(level, minute // level * level, minute // level * level + level) for level in (600, 7200, 86400)]
    found = _reader().samples(extents, "", lambda each, at_s, route: each == id, 1)
    return _read(found[0]) if found else None


# -- parts


def _window(period: str, now: float | None) -> Window:
    return Window.of(period, time.time() if now is None else now, conf.current("METRICS").values)


def _reader() -> Reader:
    return pipeline.worker().reader()


def _sum(cells: Iterable[Cell]) -> Cell:
    total = Cell()
    for each in cells:
        total.merge(each)
    return total


def _totals(cell: Cell) -> Totals:
    sums = cell.sums
    response = cell.response
    return Totals(
        requests=cell["requests"],
        errors_4xx=cell.of_status(4),
        errors_5xx=cell.of_status(5),
        exceptions=cell["exceptions"],
        aborted=cell["aborted"],
        wall_s=cell.wall_ns / 1e9,
        cpu_s=cell["cpu_ns"] / 1e9,
        parts_s={part: sums[PARTS[part]] / 1e9 for part in BREAKDOWN},
        queries=cell["queries"],
        rows=cell["rows"],
        cache_calls=cell["cache_calls"],
        cache_hits=cell["cache_hits"],
        cache_misses=cell["cache_misses"],
        page_cache=dict(cell.page_cache),
        bytes=cell["bytes"],
        statuses=_grouped((status, count) for (_, status), count in cell.outcomes.items()),
        methods=_grouped((method, count) for (method, _), count in cell.outcomes.items()),
        quantiles=Quantiles(
            response.quantile(0.5), response.quantile(0.95), response.quantile(0.99), response.max, response.mean
        ),
        queue_p95_s=cell.queue.quantile(0.95),
        apdex=apdex(response, conf.current("METRICS").values.apdex_ms / 1000),
    )


def _grouped(pairs: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    counts: dict[Key, int] = {}
    for key, count in pairs:
        counts[key] = counts.get(key, 0) + count
    return dict(sorted(counts.items()))


def _steps(window: Window, summaries: Iterable[Summary]) -> dict[int, tuple[Tally, Cell]]:
    """What each step had."""
    steps: dict[int, tuple[Tally, Cell]] = {}
    for each in summaries:
        tally, total = steps.setdefault(window.start_of(each.row.start), (Tally(), Cell()))
        tally.merge_gauges(each.tally)
        total.merge(each.total)
    return steps


def _series(window: Window, steps: Mapping[int, tuple[Tally, Cell]]) -> Iterable[Point]:
    for start in window.starts():
        tally, total = steps.get(start) or (Tally(), Cell())
        seconds = min(window.step, window.end - start)
        yield Point(
            start_s=start,
            totals=_totals(total),
            busy_share=min(1.0, total.busy_ns / tally.thread_ns) if tally.thread_ns else None,
            threads=max(1, round(tally.thread_ns / 1e9 / seconds)) if tally.thread_ns else None,
            queue_peak=tally.queue_peak if tally.queue_peak >= 0 else None,
        )


def _rows(cells: dict[str, Cell], wall_ns: int) -> list[RouteRow]:
    rows = [_row(name, cell, wall_ns) for name, cell in cells.items()]
    return sorted(rows, key=lambda row: (-row.totals.wall_s, row.route))


def _row(name: str, cell: Cell, wall_ns: int) -> RouteRow:
    return RouteRow(
        route=name,
        totals=_totals(cell),
        share=cell.wall_ns / wall_ns if wall_ns else 0.0,
        n_plus_one=cell["n_plus_one"],
    )


def _database(numbers: list[int]) -> Totals:
    parts_s = {"db": numbers[2] / 1e9, "pool": numbers[3] / 1e9}
    return Totals(queries=numbers[0], rows=numbers[1], uncounted=numbers[5], parts_s=parts_s)


def _heat(steps: dict[int, Cell]) -> Iterable[HeatCell]:
    """By half doublings: two rows of the map from one exact bound to the next."""
    for start in sorted(steps):
        response = steps[start].response
        counts: dict[int, int] = {}
        if response.zeros:
            counts[-60] = response.zeros
        for index, count in response:
            half = index // 4
            counts[half] = counts.get(half, 0) + count
        for half, count in sorted(counts.items()):
            yield HeatCell(start, upper_s(half * 4 + 3), count)


def _samples(reader: Reader, window: Window, host: str, route: str, limit: int) -> list[Sample]:
    slowest = reader.samples(
        window.slow(conf.current("METRICS").values),
        host,
        lambda id, at_s, of: at_s >= window.begin and (not route or of == route),
        limit,
    )
    return [each for data in slowest if (each := _read(data)) is not None]


def _read(data: dict[str, object]) -> Sample | None:
    try:
        return slow.read(data)
    except (KeyError, TypeError, ValueError):
        return None


def _hosts(reader: Reader, window: Window) -> list[str]:
    """All hosts of the period, whichever is shown."""
    return sorted({row.host for row in reader.store.read(window.whole(), ())})


def _marks(before: Iterable[Summary], within: list[Summary]) -> list[Mark]:
    """Deploys, from the releases that the requests ran with; starts and ends of processes."""
    known = {release for each in before for release in each.tally.releases}
    marks: list[Mark] = []
    events = sorted({mark for each in within for mark in each.tally.marks})
    for each in sorted(within, key=lambda each: each.row.start):
        for release in sorted(set(each.tally.releases) - known):
            if known:
                first = next((at for at, kind, of, _ in events if kind == "start" and of == release), each.row.start)
                marks.append(Mark(first, "deploy", release))
            known.add(release)
    marks += [Mark(at, kind, f"{who} {release}".strip()) for at, kind, release, who in events[:_MAX_MARKS]]
    return sorted(marks, key=lambda mark: mark.at_s)
