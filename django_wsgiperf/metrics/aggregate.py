"""Records are summed here, by minute and route, by one thread of each process.

Takes finished records and hits of the page cache, gives a Tally for each minute that is not over and written yet. A
record counts for the minute in which it ended; when that one is closed already, for the oldest that is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .alike import Alike
from .minute import MINUTE_S, Hit, Minute
from .record import Record
from .tally import (
    DATABASE_NUMBERS,
    INDEX,
    MAX_ALIASES,
    OTHER,
    PARTS,
    Cell,
    SampleData,
    count_bounded,
    new_outcome,
)

MAX_OVERFLOW: Final = 1000
"""Names of routes past the limit that are remembered, to tell how many there are."""
MAX_NAME: Final = 200

_REQUESTS, _EXCEPTIONS, _ABORTED, _STREAMED = (INDEX[n] for n in ("requests", "exceptions", "aborted", "streamed"))
_CPU_KNOWN, _CPU = INDEX["cpu_known"], INDEX["cpu_ns"]
_QUEUE, _PYTHON, _DB, _POOL = PARTS["queue"], PARTS["python"], PARTS["db"], PARTS["pool"]
_CACHE, _TEMPLATE, _GC, _WRITE = PARTS["cache"], PARTS["template"], PARTS["gc"], PARTS["write"]
_ACCOUNTS = (_DB, _POOL, _CACHE, _TEMPLATE, _GC)
"""In the order of Record.accounts()."""
_QUERIES, _ROWS, _BYTES, _N_PLUS_ONE = INDEX["queries"], INDEX["rows"], INDEX["bytes"], INDEX["n_plus_one"]
_CALLS, _HITS, _MISSES = INDEX["cache_calls"], INDEX["cache_hits"], INDEX["cache_misses"]


class Aggregator:
    """Sums of one process. One thread at a time may use it: its owner holds a lock."""

    def __init__(
        self,
        *,
        host: str,
        boot: str,
        release: str = "",
        max_routes: int = 200,
        slow_samples: int = 3,
        n_plus_one: int = 5,
    ) -> None:
        self._host = host
        self._boot = boot
        self._release = release
        self._max_routes = max_routes
        self._slow_samples = slow_samples
        self._n_plus_one = n_plus_one
        self.minutes: dict[int, Minute] = {}
        """By start; the oldest first."""
        self.closed_before = 0
        """Start of the first minute that may be written to."""
        self.routes: set[str] = set()
        """That have cells of their own, in all minutes."""
        self.overflow: set[str] = set()
        """Some that had to be counted as (other)."""
        self.records = 0
        self._samples_made = 0

    def minute(self, at_s: float) -> Minute:
        """The minute that something counts for."""
        start = max(int(at_s) // MINUTE_S * MINUTE_S, self.closed_before)
        minute = self.minutes.get(start)
        if minute is None:
            minute = self.minutes[start] = Minute(start)
            if len(self.minutes) > 1:
                self.minutes = dict(sorted(self.minutes.items()))
        return minute

    def close(self, start: int) -> None:
        """Nothing counts for that minute any more, nor for one before it."""
        self.closed_before = max(self.closed_before, start + MINUTE_S)

    def restart(self) -> None:
        """Begin with no minutes, as when the clock was set back. Who needs the present ones has taken them."""
        self.minutes = {}
        self.closed_before = 0

    def route(self, name: str) -> str:
        """The name that a route is counted under."""
        if name in self.routes:
            return name
        if not name or len(name) > MAX_NAME:
            name = name[:MAX_NAME] or "(middleware)"
            if name in self.routes:
                return name
        if len(self.routes) >= self._max_routes:
            if len(self.overflow) < MAX_OVERFLOW:
                self.overflow.add(name)
            return OTHER
        self.routes.add(name)
        return name

    # -- records

    def add(self, records: Iterable[Record], now_s: float) -> None:
        """Count finished records. `now_s` bounds what a clock that was set may have made of them."""
        minute: Minute | None = None
        for record in records:
            ended_s = record.began_s + record.total_ns / 1e9 if record.total_ns > 0 else record.began_s
            ended_s = min(ended_s, now_s)
            if minute is None or not minute.start <= ended_s < minute.start + MINUTE_S:
                minute = self.minute(ended_s)
            self._add(minute, record, ended_s)

    def _counted(self, minute: Minute, name: str, times: int = 1) -> Cell:
        """The cell of a route that is told apart, in which so many requests more are counted."""
        tally = minute.tally
        cell = tally.routes.get(name)
        if cell is None:
            cell = tally.routes[name] = Cell()
        cell.sums[_REQUESTS] += times
        minute.changed += 1
        self.records += times
        if self._release:
            tally.releases[self._release] = tally.releases.get(self._release, 0) + times
        return cell

    def _add(self, minute: Minute, record: Record, ended_s: float) -> None:
        name = record.route
        if name not in self.routes:
            name = self.route(name)
        cell = self._counted(minute, name)
        sums = cell.sums
        if record.db:
            self._add_databases(cell, record)
        if record.cache:
            self._add_caches(cell, record)
        parts = record.first_byte_parts
        write_ns = record.write_ns if record.write_ns > 0 else 0
        if parts is None:
            sums[_TEMPLATE] += record.template_ns
            sums[_GC] += record.gc_ns
            python_ns = record.total_ns - record.accounted_ns - write_ns
        else:
            # A stream: until its head was ready. Its body may take hours.
            python_ns = record.ttfb_ns - sum(parts)
            for index, value in zip(_ACCOUNTS, parts, strict=True):
                sums[index] += value
        if python_ns > 0:
            sums[_PYTHON] += python_ns
        queue_ns = record.queue_ns
        response_ns = record.ttfb_ns if record.ttfb_ns >= 0 else record.total_ns
        if queue_ns >= 0:
            sums[_QUEUE] += queue_ns
            response_ns += queue_ns
            cell.queue.record(queue_ns)
        cell.response.record(response_ns)
        sums[_WRITE] += write_ns
        if record.cpu_ns >= 0:
            sums[_CPU_KNOWN] += 1
            sums[_CPU] += record.cpu_ns
        if record.body_bytes > 0:
            sums[_BYTES] += record.body_bytes
        self._count(cell, record)
        if self._slow_samples:
            slow = minute.slow.get(name)
            if slow is None or len(slow) < self._slow_samples or response_ns > slow[-1].response_ns:
                self._keep(minute, name, record, response_ns, ended_s)

    def _add_databases(self, cell: Cell, record: Record) -> None:
        sums = cell.sums
        execute_ns = wait_ns = queries = 0
        for alias, use in record.db.items():
            numbers = cell.databases.get(alias)
            if numbers is None:
                if len(cell.databases) >= MAX_ALIASES:
                    alias = OTHER
                numbers = cell.databases.setdefault(alias, [0] * DATABASE_NUMBERS)
            execute_ns += use.execute_ns
            wait_ns += use.wait_ns
            queries += use.queries
            sums[_ROWS] += use.rows
            numbers[0] += use.queries
            numbers[1] += use.rows
            numbers[2] += use.execute_ns
            numbers[3] += use.wait_ns
            numbers[4] += use.errors
            numbers[5] += use.uncounted
        if record.first_byte_parts is None:
            sums[_DB] += execute_ns
            sums[_POOL] += wait_ns
        sums[_QUERIES] += queries
        cell.database.record(execute_ns)
        if queries >= self._n_plus_one and self._repeats(record):
            sums[_N_PLUS_ONE] += 1

    def _repeats(self, record: Record) -> bool:
        return any(numbers[0] >= self._n_plus_one for numbers in record.queries.values())

    def _add_caches(self, cell: Cell, record: Record) -> None:
        sums = cell.sums
        call_ns = 0
        for alias, use in record.cache.items():
            numbers = cell.caches.get(alias)
            if numbers is None:
                if len(cell.caches) >= MAX_ALIASES:
                    alias = OTHER
                numbers = cell.caches.setdefault(alias, [0, 0, 0, 0])
            call_ns += use.call_ns
            sums[_CALLS] += use.calls
            sums[_HITS] += use.hits
            sums[_MISSES] += use.misses
            numbers[0] += use.calls
            numbers[1] += use.hits
            numbers[2] += use.misses
            numbers[3] += use.call_ns
        if record.first_byte_parts is None:
            sums[_CACHE] += call_ns

    def _count(self, cell: Cell, record: Record) -> None:
        """What is counted by kind."""
        key = (record.method, record.status)
        outcomes = cell.outcomes
        if key in outcomes:
            outcomes[key] += 1
        else:
            new_outcome(cell, *key)
        if record.page_cache:
            count_bounded(cell.page_cache, record.page_cache)
        if record.exception:
            cell.sums[_EXCEPTIONS] += 1
            count_bounded(cell.exceptions, record.exception[:MAX_NAME])
        if record.aborted:
            cell.sums[_ABORTED] += 1
        if record.streaming:
            cell.sums[_STREAMED] += 1

    # -- hits of the page cache

    def add_hits(self, hits: Iterable[Hit], now_s: float) -> None:
        """Count answers that never reached Django."""
        minute: Minute | None = None
        for ended_s, name, method, status, body_bytes, duration_ns, outcome, queue_ns in hits:
            ended_s = min(ended_s, now_s)
            if minute is None or not minute.start <= ended_s < minute.start + MINUTE_S:
                minute = self.minute(ended_s)
            if name not in self.routes:
                name = self.route(name)
            cell = self._counted(minute, name)
            sums = cell.sums
            sums[_PYTHON] += duration_ns
            sums[_BYTES] += body_bytes
            if queue_ns >= 0:
                sums[_QUEUE] += queue_ns
                cell.queue.record(queue_ns)
                duration_ns += queue_ns
            cell.response.record(duration_ns)
            key = (method, status)
            if key in cell.outcomes:
                cell.outcomes[key] += 1
            else:
                new_outcome(cell, method, status)
            count_bounded(cell.page_cache, outcome)

    def add_alike(self, alike: Alike, now_s: float) -> None:
        """Count what there is of hits that are alike."""
        tooks, sizes = alike.take()
        count = len(sizes)
        if not count:
            return
        cell = self._counted(self.minute(now_s), self.route(alike.route), count)
        sums = cell.sums
        sums[_PYTHON] += sum(tooks)
        sums[_BYTES] += sum(sizes)
        cell.queue.record_none(count)
        cell.response.record_all(tooks)
        new_outcome(cell, "GET", alike.status, count)
        count_bounded(cell.page_cache, "hit", count)

    # -- slow requests

    def _keep(self, minute: Minute, name: str, record: Record, response_ns: int, at_s: float) -> None:
        self._samples_made += 1
        id = f"{minute.start // 60:x}-{self._boot}-{self._samples_made:x}"
        minute.keep(name, record, response_ns, at_s, id, self._slow_samples)

    def samples(self, minute: Minute, most: int) -> list[SampleData]:
        """The slowest requests of a minute, `most` in all."""
        return minute.samples(per_route=self._slow_samples, most=most, host=self._host, repeats=self._n_plus_one)
