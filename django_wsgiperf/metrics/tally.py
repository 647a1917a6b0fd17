"""What was counted in a span of time: a Cell of sums for each route, and what held for the processes as a whole.

Plain data that merges exactly, so that processes, minutes and hosts can be added up in any order. aggregate.py fills
it from records, payload.py makes bytes of it, rollup.py and query.py merge it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import add
from typing import Any, Final

from .histogram import Histogram
from .results import BREAKDOWN

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
OTHER_METHOD: Final = "_OTHER"
OTHER: Final = "(other)"
"""Where what exceeds a bound is counted."""

SUMS: Final = (
    "requests",
    "exceptions",
    "aborted",
    "streamed",
    "cpu_known",
    "cpu_ns",
    *(f"{part}_ns" for part in BREAKDOWN),
    "queries",
    "rows",
    "cache_calls",
    "cache_hits",
    "cache_misses",
    "bytes",
    "n_plus_one",
)
"""Names of the sums of a Cell, in order. New ones are added at the end: stored rows have them by name."""
INDEX: Final = {name: index for index, name in enumerate(SUMS)}
PARTS: Final = {part: INDEX[f"{part}_ns"] for part in BREAKDOWN}

MAX_STATUSES: Final = 64
"""Pairs of method and status that are told apart for one route; further ones have the status 0."""
MAX_EXCEPTIONS: Final = 20
DATABASE_NUMBERS: Final = 6
"""Of a database: queries, rows, ns in statements, ns for connections, errors, statements whose rows nobody counted.
Rows of the store that are older have fewer."""
MAX_ALIASES: Final = 16
MAX_MARKS: Final = 60
MAX_RELEASES: Final = 16


class Cell:
    """The sums of some requests: of a route, or of all."""

    __slots__ = ("caches", "database", "databases", "exceptions", "outcomes", "page_cache", "queue", "response", "sums")

    def __init__(self) -> None:
        self.sums = [0] * len(SUMS)
        self.outcomes: dict[tuple[str, int], int] = {}
        """Requests by method and status."""
        self.page_cache: dict[str, int] = {}
        """Requests by what the response cache did."""
        self.exceptions: dict[str, int] = {}
        """By class."""
        self.databases: dict[str, list[int]] = {}
        """By alias: queries, rows, ns in statements, ns waited for connections, errors."""
        self.caches: dict[str, list[int]] = {}
        """By alias: calls, hits, misses, ns."""
        self.response = Histogram()
        """From the moment that the request was complete until its first byte: queue and all."""
        self.database = Histogram()
        """Time in statements, of requests that had any."""
        self.queue = Histogram()
        """Where the server tells it."""

    def __getitem__(self, name: str) -> int:
        """A sum by its name in SUMS."""
        return self.sums[INDEX[name]]

    def merge(self, other: Cell) -> None:
        """Add what is in `other`."""
        self.sums[:] = map(add, self.sums, other.sums)
        merge_counts(self.outcomes, other.outcomes, MAX_STATUSES, lambda key: (key[0], 0))
        merge_counts(self.page_cache, other.page_cache, MAX_EXCEPTIONS)
        merge_counts(self.exceptions, other.exceptions, MAX_EXCEPTIONS)
        merge_lists(self.databases, other.databases)
        merge_lists(self.caches, other.caches)
        self.response.merge(other.response)
        self.database.merge(other.database)
        self.queue.merge(other.queue)

    @property
    def wall_ns(self) -> int:
        """All parts together."""
        return sum(self.sums[PARTS["queue"] : PARTS["write"] + 1])

    @property
    def busy_ns(self) -> int:
        """Time that threads were kept: without the queue before and the writing after."""
        return self.wall_ns - self.sums[PARTS["queue"]] - self.sums[PARTS["write"]]

    def of_status(self, hundred: int) -> int:
        """Requests by the first digit of their status."""
        return sum(count for (_, status), count in self.outcomes.items() if status // 100 == hundred)


class Tally:
    """Cells by route, what the processes were like meanwhile, and the slowest requests."""

    __slots__ = ("dropped", "marks", "queue_peak", "releases", "routes", "samples", "thread_ns")

    def __init__(self) -> None:
        self.routes: dict[str, Cell] = {}
        self.thread_ns = 0
        """Threads times the time that they were there; 0 where the server does not tell."""
        self.queue_peak = -1
        """Requests that waited for a thread at once, of one process; -1 where the server does not tell."""
        self.dropped = 0
        """Requests that were not counted: too many waited to be."""
        self.releases: dict[str, int] = {}
        """Release of the project -> requests."""
        self.marks: list[Mark] = []
        self.samples: list[SampleData] = []
        """The slowest requests; pick_samples() keeps them few."""

    def merge(self, other: Tally, max_routes: int) -> None:
        """Add what is in `other`, but for its samples. Routes past `max_routes` become OTHER."""
        for route, cell in other.routes.items():
            self.cell(route, max_routes).merge(cell)
        self.merge_gauges(other)

    def merge_gauges(self, other: Tally) -> None:
        """Add all of `other` but its routes and samples."""
        self.thread_ns += other.thread_ns
        self.queue_peak = max(self.queue_peak, other.queue_peak)
        self.dropped += other.dropped
        merge_counts(self.releases, other.releases, MAX_RELEASES)
        if other.marks:
            self.marks = merged_marks(self.marks, other.marks)

    def cell(self, route: str, max_routes: int) -> Cell:
        """The cell of a route, made if there is room."""
        cell = self.routes.get(route)
        if cell is None:
            if len(self.routes) >= max_routes and route != OTHER:
                return self.cell(OTHER, max_routes)
            cell = self.routes[route] = Cell()
        return cell

    def total(self) -> Cell:
        """All routes together."""
        total = Cell()
        for cell in self.routes.values():
            total.merge(cell)
        return total


Mark = tuple[float, str, str, str]
"""(unix seconds, "start" or "stop" or "recycle", release, process)."""

SampleData = dict[str, Any]
"""A slow request as it is stored; samples.py knows the keys."""


def merge_counts(into: dict[Any, int], more: Mapping[Any, int], limit: int, other: Any = None) -> None:
    """Add counts by key. Past `limit` keys further ones are counted as `other(key)`, or OTHER."""
    for key, count in more.items():
        if key not in into and len(into) >= limit:
            key = OTHER if other is None else other(key)
        into[key] = into.get(key, 0) + count


def merge_lists(into: dict[str, list[int]], more: Mapping[str, list[int]]) -> None:
    """Add lists of numbers by alias."""
    for key, numbers in more.items():
        if key not in into and len(into) >= MAX_ALIASES:
            key = OTHER
        known = into.get(key)
        if known is None:
            into[key] = list(numbers)
        else:
            known[:] = map(add, known, numbers)


def merged_marks(one: Iterable[Mark], two: Iterable[Mark]) -> list[Mark]:
    """Marks of both in order of time, each once; when there are too many, the first of each kind and release."""
    marks = sorted({*one, *two})
    if len(marks) <= MAX_MARKS:
        return marks
    seen: set[tuple[str, str]] = set()
    first: list[Mark] = []
    rest: list[Mark] = []
    for mark in marks:
        (rest if mark[1:3] in seen else first).append(mark)
        seen.add((mark[1], mark[2]))
    return sorted([*first, *rest][:MAX_MARKS])


def new_outcome(cell: Cell, method: str, status: int, times: int = 1) -> None:
    """Count a method and a status, together for the first time or past a bound."""
    if method not in METHODS:
        method = OTHER_METHOD
    if (method, status) not in cell.outcomes and len(cell.outcomes) >= MAX_STATUSES:
        status = 0
    cell.outcomes[method, status] = cell.outcomes.get((method, status), 0) + times


def count_bounded(counts: dict[str, int], key: str, times: int = 1) -> None:
    """Count by name, past the bound as (other)."""
    if key not in counts and len(counts) >= MAX_EXCEPTIONS:
        key = OTHER
    counts[key] = counts.get(key, 0) + times
