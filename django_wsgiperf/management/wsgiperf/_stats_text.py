"""`wsgiperf stats` as text: numbers, bars and small graphs, as wide as the terminal and no wider.

Takes what _stats_numbers.py gathered, gives lines. Colours are Django's style's; without Unicode there is ASCII.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from django.conf import settings

from django_wsgiperf import conf
from django_wsgiperf.metrics.instruments import MIDDLEWARE
from django_wsgiperf.metrics.results import BREAKDOWN, Live, Overview, Quantiles, RouteDetail, RouteRow, Totals

from ._stats_look import Look, duration, number, paint, share
from ._stats_numbers import Numbers
from ._terminal import count, cut, printable, size, span

_PERIODS: Final = {
    "15m": "15 minutes",
    "1h": "hour",
    "6h": "6 hours",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
}
_ROUTE_MIN: Final = 18
_MARGIN: Final = "  "
_GIVE_WAY: Final = (4, 7, 6, 5)
"""Columns of the processes that are left out where there is no room: memory first, then release, time and requests."""


def text(numbers: Numbers, look: Look, *, limit: int = 20, rows: int = 0) -> str:
    """Everything, `limit` routes at most; with `rows` in no more lines, for which routes give way first."""
    head = list(_head(numbers, look))
    body = list(_route(numbers.detail, look) if numbers.detail is not None else ())
    foot = list(_processes(numbers.live, look))
    if numbers.detail is None:
        if rows:
            limit = max(3, min(limit, rows - len(head) - len(foot) - 3))
        body = list(_routes(numbers, look, limit))
    lines = [*head, *body, *foot]
    return "\n".join(look.fit(f"{_MARGIN}{line}" if line else "") for line in lines)


# -- the head


def _why_nothing(host: str) -> str:
    """What is missing for numbers, as far as the settings tell."""
    if not any(name in settings.MIDDLEWARE for name in MIDDLEWARE):
        return f"Put {MIDDLEWARE[0]!r} first into MIDDLEWARE."
    if host:
        return f"Is {printable(host)} the name of a host? Without --host, all are shown."
    return f"What a server measures is written every {conf.current('METRICS').values.interval_s:g} s."


def _head(numbers: Numbers, look: Look) -> Iterator[str]:
    overview, style = numbers.overview, look.style
    at = datetime.datetime.fromtimestamp(numbers.live.at_s).strftime("%H:%M:%S")
    where = printable(overview.host) if overview.host else count(max(1, len(overview.hosts)), "host")
    parts = [f"last {_PERIODS[overview.period]}", where]
    if overview.releases:
        parts.append(("releases " if len(overview.releases) > 1 else "release ") + ", ".join(overview.releases))
    yield style.MIGRATE_HEADING(", ".join(map(printable, parts))) + f"  {at}"
    yield ""
    if numbers.is_empty:
        yield f"{style.WARNING('No request was counted.')} {_why_nothing(overview.host)}"
        yield ""
        return
    totals = numbers.detail.row.totals if numbers.detail is not None else overview.totals
    if numbers.detail is not None:
        yield style.MIGRATE_HEADING(look.ascii(printable(numbers.detail.row.route)))
    yield from _summary(totals, overview, look, compare=numbers.detail is None)
    series = numbers.detail.series if numbers.detail is not None else overview.series
    room = max(10, look.columns - 16)
    per_second = [point.totals.requests / overview.step_s if overview.step_s else None for point in series]
    p95 = [point.totals.quantiles.p95 for point in series]
    for name, values, unit in (("requests/s", per_second, number), ("p95", p95, duration)):
        graph = look.graph(values, room - 10)
        if graph:
            top = max(value for value in values if value is not None)
            yield f"{name:<11} {graph} {unit(top)}"
    yield ""


def _summary(totals: Totals, overview: Overview, look: Look, *, compare: bool) -> Iterator[str]:
    style = look.style
    seconds = max(1, overview.end_s - overview.begin_s)
    parts = [f"{totals.requests:,}", f"{number(totals.requests / seconds)}/s"]
    before = overview.previous
    if compare and before.requests and overview.previous_s:
        change = totals.requests / seconds / (before.requests / overview.previous_s) - 1
        parts.append(f"{100 * change:+.0f} % on the period before")
    yield from look.wrap("requests", parts)
    apdex = () if totals.apdex is None else (f"apdex {totals.apdex:.2f}",)
    yield from look.wrap("response", (*_quantiles(totals.quantiles, look), *apdex))
    errors = [f"5xx {share(totals.errors_5xx, totals.requests)}", f"4xx {share(totals.errors_4xx, totals.requests)}"]
    if totals.errors_5xx:
        errors[0] = style.ERROR(errors[0])
    errors.append(count(totals.exceptions, "exception"))
    if totals.aborted:
        errors.append(f"{totals.aborted:,} left by the client")
    yield from look.wrap("errors", errors)
    yield f"{'time':<11} " + _breakdown(totals, look)
    more = [f"{number(totals.queries / max(1, totals.requests))} queries a request"]
    if totals.cache_calls:
        hits = share(totals.cache_hits, totals.cache_hits + totals.cache_misses)
        more.append(f"cache hits {hits}")
    if totals.page_cache:
        answered = sum(n for outcome, n in totals.page_cache.items() if outcome in ("hit", "stale", "collapsed"))
        more.append(f"answered by the response cache {share(answered, totals.requests)}")
    if totals.queue_p95_s is not None:
        more.append(f"queue p95 {duration(totals.queue_p95_s)}")
    yield from look.wrap("per request", more)


def _quantiles(q: Quantiles, look: Look) -> Iterator[str]:
    for name, value in (("p50", q.p50), ("p95", q.p95), ("p99", q.p99), ("max", q.max)):
        yield f"{name} {paint(look, value)}"


def _breakdown(totals: Totals, look: Look) -> str:
    """`db 34 % ███······`: the parts that count, the largest first."""
    whole = sum(totals.parts_s.values())
    parts = sorted(((totals.parts_s.get(part, 0.0), part) for part in BREAKDOWN), reverse=True)
    shown: list[str] = []
    room = look.columns - len(_MARGIN) - 12
    for seconds, part in parts:
        if not whole or seconds / whole < 0.01:
            break
        told = f"{part} {share(seconds, whole)} {look.bar(seconds / whole, 10 if look.columns >= 100 else 5)}"
        room -= len(told) + 2
        if shown and room < -2:
            break
        shown.append(told)
    return "  ".join(shown) or "-"


# -- routes

Column = tuple[str, Callable[[RouteRow], str], int]
"""Heading, text of a row, and how readily it gives way where there is no room: the highest first."""


def _columns(look: Look, seconds: float) -> list[Column]:
    return [
        ("requests", lambda row: f"{row.totals.requests:,}", 0),
        ("per s", lambda row: number(row.totals.requests / seconds), 5),
        ("time", lambda row: share(row.share, 1), 0),
        ("", lambda row: look.bar(row.share, 8), 7),
        ("p50", lambda row: duration(row.totals.quantiles.p50), 4),
        ("p95", lambda row: duration(row.totals.quantiles.p95), 0),
        ("p99", lambda row: duration(row.totals.quantiles.p99), 3),
        ("max", lambda row: duration(row.totals.quantiles.max), 9),
        ("5xx", lambda row: f"{row.totals.errors_5xx:,}" if row.totals.errors_5xx else "-", 1),
        ("db", lambda row: share(row.totals.parts_s.get("db", 0.0), row.totals.wall_s), 6),
        ("queries", lambda row: number(row.totals.queries / max(1, row.totals.requests)), 2),
        ("N+1", lambda row: f"{row.n_plus_one:,}" if row.n_plus_one else "-", 8),
    ]


def _routes(numbers: Numbers, look: Look, limit: int) -> Iterator[str]:
    if not numbers.rows:
        return
    seconds = max(1, numbers.overview.end_s - numbers.overview.begin_s)
    shown = numbers.rows[:limit]
    columns = _columns(look, seconds)
    while True:
        cells = [[text(row) for _, text, _ in columns] for row in shown]
        widths = [max(len(heading), *(len(line[at]) for line in cells)) for at, (heading, _, _) in enumerate(columns)]
        room = look.columns - len(_MARGIN) - sum(widths) - 2 * len(widths)
        if room >= _ROUTE_MIN or not any(priority for _, _, priority in columns):
            break
        columns.remove(max(columns, key=lambda column: column[2]))
    names = [look.ascii(printable(row.route)) for row in shown]
    width = max(5, min(max(map(len, names)), max(8, room)))
    order = "" if numbers.sort == "time" else f", by {numbers.sort}"
    heads = [f"{'routes' + order:<{width}}"[:width]] + [
        f"{heading:>{widths[at]}}" for at, (heading, _, _) in enumerate(columns)
    ]
    yield look.style.MIGRATE_HEADING("  ".join(heads).rstrip())
    for row, name, line in zip(shown, names, cells, strict=True):
        told = "  ".join(f"{cell:>{widths[at]}}" for at, cell in enumerate(line))
        shown_name = look.ascii(cut(name, width))
        yield f"{shown_name:<{width}}  " + (look.style.ERROR(told) if row.totals.errors_5xx else told)
    if len(numbers.rows) > limit:
        yield f"and {len(numbers.rows) - limit:,} more"
    yield ""


# -- one route


def _route(detail: RouteDetail, look: Look) -> Iterator[str]:
    totals = detail.row.totals
    statuses = [f"{status} {n:,}" for status, n in sorted(totals.statuses.items())]
    methods = [f"{method} {n:,}" for method, n in sorted(totals.methods.items(), key=lambda item: -item[1])]
    yield from look.wrap("statuses", statuses)
    yield from look.wrap("methods", methods)
    if totals.page_cache:
        outcomes = sorted(totals.page_cache.items(), key=lambda item: -item[1])
        yield from look.wrap("page cache", (f"{outcome} {n:,}" for outcome, n in outcomes))
    if detail.exceptions:
        yield from look.wrap("exceptions", (f"{printable(name)} {n:,}" for name, n in detail.exceptions.items()))
    for alias, database in detail.databases.items():
        waited = database.parts_s.get("pool", 0.0)
        rows = f"{database.rows:,} rows"
        if database.uncounted:
            rows = f"at least {rows}" if database.rows else "unknown rows"
        yield f"{'database':<11} {printable(alias)}: {database.queries:,} queries, {rows}, " + (
            f"{span(round(database.parts_s.get('db', 0.0), 1))}, waited {span(round(waited, 1))} for connections"
        )
    if detail.row.n_plus_one:
        yield look.style.WARNING(f"{'N+1':<11} {detail.row.n_plus_one:,} requests repeated a query")
    yield ""
    yield from _spread(detail, look)
    yield from _slowest(detail, look)


def _spread(detail: RouteDetail, look: Look) -> Iterator[str]:
    """How many requests took how long."""
    counts: dict[float, int] = {}
    for cell in detail.heat:
        counts[cell.upper_s] = counts.get(cell.upper_s, 0) + cell.count
    if not counts:
        return
    yield look.style.MIGRATE_HEADING("response times up to")
    top, whole = max(counts.values()), sum(counts.values())
    room = max(10, min(60, look.columns - 34))
    for upper_s in sorted(counts):
        n = counts[upper_s]
        yield f"{duration(upper_s):>9}  {look.bar(n / top, room)} {n:>8,}  {share(n, whole):>7}"
    yield ""


def _slowest(detail: RouteDetail, look: Look) -> Iterator[str]:
    if not detail.samples:
        return
    yield look.style.MIGRATE_HEADING("slowest requests")
    for sample in sorted(detail.samples, key=lambda sample: -sample.duration_s)[:5]:
        at = datetime.datetime.fromtimestamp(sample.at_s).strftime("%Y-%m-%d %H:%M:%S")
        parts = sorted(sample.parts_s.items(), key=lambda item: -item[1])[:3]
        spent = ", ".join(f"{part} {duration(seconds)}" for part, seconds in parts if seconds > 0)
        line = f"{at}  {sample.method} {sample.status}  {paint(look, sample.duration_s)}  {spent}"
        yield f"{line}  {count(sample.queries, 'query', 'queries')}  {printable(sample.request_id)}".rstrip()
        for repeated in sample.repeated[:2]:
            sql = look.ascii(cut(printable(" ".join(repeated.sql.split())), max(20, look.columns - 30)))
            yield look.style.WARNING(f"    {repeated.count} x {duration(repeated.duration_s)}  {sql}")
            if repeated.site:
                yield f"      {printable(repeated.site)}"
    yield ""


# -- processes


def _processes(live: Live, look: Look) -> Iterator[str]:
    if not live.processes:
        yield "No process has reported lately."
        return
    head = ["processes", "threads", "busy", "queued", "memory", "requests", "up", "release"]
    rows: list[tuple[list[str], bool]] = []
    for process in live.processes:
        cells = [
            f"{printable(process.host)}:{process.pid}",
            "-" if process.threads is None else str(process.threads),
            "-" if process.busy is None else str(process.busy),
            "-" if process.queued is None else str(process.queued),
            "-" if process.rss_bytes is None else size(process.rss_bytes),
            f"{process.requests:,}",
            span(max(0, round(live.at_s - process.started_s))),
            printable(process.release) or "-",
        ]
        saturated = process.threads is not None and process.busy == process.threads
        rows.append((cells, saturated or bool(process.queued)))
    widths = [max(len(head[at]), *(len(cells[at]) for cells, _ in rows)) for at in range(len(head))]
    shown = list(range(len(head)))
    for at in _GIVE_WAY:
        if len(_MARGIN) + sum(widths[each] + 2 for each in shown) - 2 > look.columns:
            shown.remove(at)

    def line(cells: Sequence[str]) -> str:
        told = (f"{cells[at]:<{widths[at]}}" if at in (0, 7) else f"{cells[at]:>{widths[at]}}" for at in shown)
        return "  ".join(told).rstrip()

    yield look.style.MIGRATE_HEADING(line(head))
    for cells, is_full in rows:
        yield look.style.WARNING(line(cells)) if is_full else line(cells)
    if live.running:
        oldest = max(live.running, key=lambda each: each.age_s)
        told = f"{count(len(live.running), 'request')} running, the oldest for {span(round(oldest.age_s, 1))}:"
        room = look.columns - len(_MARGIN) - len(told) - 1
        name = f"{printable(oldest.method)} {look.ascii(printable(oldest.route or '(not routed yet)'))}"
        yield f"{told} {look.ascii(cut(name, max(12, room)))}"
