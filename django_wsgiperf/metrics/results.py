"""What query.py answers with: plain data for the admin page, the exports and the command line. No Django, no store.

Times are seconds and unix seconds as the names say; shares are between 0 and 1; None is what is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PERIODS: Final = {
    "15m": 15 * 60,
    "1h": 3600,
    "6h": 6 * 3600,
    "24h": 24 * 3600,
    "7d": 7 * 86400,
    "30d": 30 * 86400,
}
"""Names of periods, as in addresses and on the command line, and their seconds."""

BREAKDOWN: Final = ("queue", "python", "db", "pool", "cache", "template", "gc", "write")
"""The parts of a request's time, in the order in which they are stacked. They exclude each other and add up."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of response times, in seconds; None where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    mean: float | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a period."""

    requests: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    exceptions: int = 0
    aborted: int = 0
    wall_s: float = 0.0
    """First byte times, queue and write included: what BREAKDOWN adds up to."""
    cpu_s: float = 0.0
    parts_s: Mapping[str, float] = field(default_factory=dict)
    """By the names of BREAKDOWN."""
    queries: int = 0
    rows: int = 0
    uncounted: int = 0
    """Of a database: statements that gave rows which its driver does not count, as SQLite's of SELECT."""
    cache_calls: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    page_cache: Mapping[str, int] = field(default_factory=dict)
    """Requests by outcome: "hit", "stale", "miss", "bypass", ..."""
    bytes: int = 0
    statuses: Mapping[int, int] = field(default_factory=dict)
    methods: Mapping[str, int] = field(default_factory=dict)
    quantiles: Quantiles = Quantiles()
    queue_p95_s: float | None = None
    apdex: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One step of a time series."""

    start_s: int
    totals: Totals
    busy_share: float | None = None
    """Of the threads of all processes, on average."""
    threads: int | None = None
    queue_peak: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: "deploy" (a new release), "start", "stop", "recycle"."""

    at_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """A bar of a waterfall. `text` holds no parameters."""

    kind: str
    start_s: float
    duration_s: float
    text: str


@dataclass(frozen=True, slots=True)
class RepeatedQuery:
    """The same statement several times in one request: N+1, mostly."""

    sql: str
    count: int
    duration_s: float
    site: str
    """file:line in function, of the code that asked; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the slowest requests of a route and period."""

    id: str
    at_s: float
    route: str
    method: str
    status: int
    duration_s: float
    parts_s: Mapping[str, float]
    spans: tuple[Span, ...]
    spans_dropped: int
    repeated: tuple[RepeatedQuery, ...]
    stacks: tuple[str, ...]
    queries: int
    cpu_s: float | None
    page_cache: str
    exception: str
    request_id: str
    trace_id: str
    host: str


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A line of the table of routes."""

    route: str
    totals: Totals
    share: float
    """Of the time of all routes."""
    n_plus_one: int = 0
    """Requests that repeated a query often enough."""


@dataclass(frozen=True, slots=True)
class HeatCell:
    """Requests of one step of time whose response time was at most `upper_s` (and more than the next smaller)."""

    start_s: int
    upper_s: float
    count: int


@dataclass(frozen=True, slots=True)
class RouteDetail:
    """All about one route."""

    row: RouteRow
    series: tuple[Point, ...]
    heat: tuple[HeatCell, ...]
    databases: Mapping[str, Totals]
    """By alias: queries, rows, uncounted, parts_s["db"] and parts_s["pool"] alone have meaning."""
    samples: tuple[Sample, ...]
    exceptions: Mapping[str, int] = field(default_factory=dict)
    """By class, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The first screen. `previous` is the period before, for comparison."""

    period: str
    host: str
    """Empty for all."""
    begin_s: int
    end_s: int
    step_s: int
    totals: Totals
    previous: Totals
    series: tuple[Point, ...]
    marks: tuple[Mark, ...]
    top: tuple[RouteRow, ...]
    hosts: tuple[str, ...]
    releases: tuple[str, ...]
    """Of the processes that live: more than one while a deploy lasts, or when it went wrong."""
    previous_s: int = 0
    """How long the period before is; the present one is `end_s` - `begin_s`, up to a step less."""


@dataclass(frozen=True, slots=True)
class Running:
    """A request that runs now."""

    process: str
    slot: int | None
    """Of `serve`; None under other servers, where requests cannot be interrupted."""
    key: str
    """Names it for interrupt()."""
    method: str
    route: str
    age_s: float
    sql: str
    stack: tuple[str, ...]
    request_id: str
    streaming: bool = False
    interruptible: bool = False


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process that reported lately. `server` has the numbers of `serve`'s worker, as in /-/stats; None elsewhere."""

    instance: str
    host: str
    pid: int
    release: str
    started_s: float
    seen_s: float
    threads: int | None
    busy: int | None
    queued: int | None
    rss_bytes: int | None
    requests: int
    server: Mapping[str, object] | None
    pools: tuple[Mapping[str, object], ...]
    """Pool.snapshot() of each database pool (db/statistics.py)."""
    page_cache: Mapping[str, object] | None
    """Engine.numbers() of the response cache."""
    pipeline: Mapping[str, object]
    """pending, dropped, last_flush_s, last_error, aggregate_cpu_s, records, of the metrics themselves."""
    reachable: bool = False
    """Whether it answered just now; else the numbers are those of its last report."""


@dataclass(frozen=True, slots=True)
class Live:
    """Now."""

    at_s: float
    processes: tuple[ProcessRow, ...]
    running: tuple[Running, ...]
    problem: str = ""
    """Why the store cannot be read: then these are the processes of this host alone."""
