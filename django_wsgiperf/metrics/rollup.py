"""Sums are made coarser with age, by one process at a time: minutes of processes become minutes of hosts, then ten
minutes, two hours, days. What is too old is deleted, a little at a time.

A level's row is kept beside the coarser one that it was added to, until its own retention is over. A row that comes
late is added wherever its span of time has already arrived. That nothing is added twice is the store's promise
(fold() is all or nothing and sees what others changed); the lease only spares the work.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from . import payload, samples
from .histogram import Histogram
from .stores.base import LEVELS, Row, Store
from .tally import OTHER, SampleData, Tally
from .unread import Unread

if TYPE_CHECKING:
    from django_wsgiperf.conf import MetricsSettings

logger = logging.getLogger("django_wsgiperf.metrics")

SETTLED_S: Final = 90
"""So long after its end a minute is rolled up."""
GIVEN_UP_S: Final = 20 * 60
"""After so long what a process wrote of a minute is all there will be: longer than writer.MAX_AGE_S by minutes, in
which clocks may differ."""
REMEMBERED_S: Final = 2 * 3600
"""So long it is remembered that a process's minute was rolled up, should it be written again."""
SAMPLES: Final = {60: 100, 600: 100, 7200: 150, 86400: 200}
"""Slow requests that a row of each level keeps."""
_LEASE_S: Final = 60
_BUDGET_S: Final = 5.0
_ROWS: Final = 200
_TRIM: Final = 200
_TRIMS: Final = 10
_NEXT: Final = dict(pairwise(LEVELS))


def retention_s(settings: MetricsSettings, level: int) -> int:
    """For how many seconds rows of a level are kept."""
    return {
        0: REMEMBERED_S,
        60: settings.retention_1m_hours * 3600,
        600: settings.retention_10m_days * 86400,
        7200: settings.retention_2h_days * 86400,
        86400: settings.retention_2h_days * 86400,
    }[level]


def samples_retention_s(settings: MetricsSettings, level: int) -> int:
    """For how long the slow requests of a level are kept: until the next level's are as good."""
    return min(retention_s(settings, level), {600: 26 * 3600, 7200: 15 * 86400}.get(level, 1 << 40))


def run(store: Store, settings: MetricsSettings, *, owner: str, now_s: int, unread: Unread | None = None) -> bool:
    """Do what is to be done, for a few seconds at most; False when another process does. Raises StoreError.

    What cannot be read is noted on `unread`."""
    if not store.lease("rollup", owner, now_s, _LEASE_S):
        return False
    work = _RollUp(store, settings, now_s, unread)
    work.roll_up()
    work.trim()
    return True


@dataclass(slots=True)
class _Delta:
    """What is added to a row."""

    tally: Tally = field(default_factory=Tally)
    samples: list[SampleData] = field(default_factory=list)


class _Leave(Exception):
    """A row is there that a newer version wrote: it, and what belongs to it, is left to that."""


class _RollUp:
    def __init__(self, store: Store, settings: MetricsSettings, now_s: int, unread: Unread | None = None) -> None:
        self._store = store
        self._unread = unread or Unread()
        self._settings = settings
        self._now_s = now_s
        self._ends = time.monotonic() + _BUDGET_S
        # `(other)` has a place of its own.
        self._max_routes = settings.max_routes + 1

    def roll_up(self) -> None:
        now = self._now_s
        self._roll(0, now - SETTLED_S - 60, closed=True)
        self._roll(0, now - GIVEN_UP_S - 60, closed=False)
        for level in LEVELS[1:-1]:
            span = _NEXT[level]
            self._roll(level, (now - 2 * SETTLED_S) // span * span, closed=True)

    def _roll(self, level: int, before: int, *, closed: bool) -> None:
        """Roll up a portion. Where one has rows that are left to a newer version, the next comes too: else so many of
        them would stand in the way of all others."""
        left = 0
        while True:
            rows = self._store.unrolled(level, before, _ROWS, closed=closed, skip=left)
            found = self._fold(level, rows)
            left += found
            if not found or len(rows) < _ROWS or time.monotonic() >= self._ends:
                return

    def _fold(self, level: int, rows: Iterable[Row]) -> int:
        """Roll up what is to be; how many were left to a newer version."""
        span, left = _NEXT[level], 0
        groups: dict[tuple[int, str], list[Row]] = {}
        for row in rows:
            groups.setdefault((row.start // span * span, row.host), []).append(row)
        for (start, host), group in groups.items():
            if time.monotonic() >= self._ends:
                return left  # The next turn goes on.
            if self._unread.is_newer((span, start, host)):
                left += len(group)
                continue
            delta, taken = self._sum(group)
            left += len(group) - len(taken)
            if not taken:
                continue
            try:
                put = self._plan(span, start, host, delta)
            except _Leave:
                left += len(taken)
                continue
            if not self._store.fold(put, taken):
                logger.debug("Another process has changed what was to be rolled up of %s at %d", host, start)
        return left

    def _sum(self, rows: Iterable[Row]) -> tuple[_Delta, list[Row]]:
        """The sum of rows, and which of them are in it."""
        delta, taken = _Delta(), []
        for row in rows:
            try:
                self._add(delta, row)
            except payload.Newer as error:
                self._unread.note(row, error)
                continue
            except payload.Unreadable as error:
                # To keep it would mean to stumble over it for ever.
                self._unread.note(row, error)
                logger.warning("Metrics of %s at %d cannot be read and are lost: %s", row.owner, row.start, error)
            taken.append(row)
        return delta, taken

    def _add(self, delta: _Delta, row: Row) -> None:
        """Add all of a row or nothing. Raises Unreadable."""
        gauges, _ = payload.unpack_summary(row.summary)
        routes = payload.Detail(row.detail).tally()
        slow = payload.unpack_samples(row.samples)
        delta.tally.merge_gauges(gauges)
        delta.tally.merge(routes, self._max_routes)
        delta.samples += slow

    def _plan(self, level: int, start: int, host: str, delta: _Delta) -> list[Row]:
        """The rows to put, so that `delta` is in the row of that level, and in all that this one was added to."""
        there = self._store.at(level, start)
        mine = next((row for row in there if row.owner == host), None)
        if mine is None and sum(row.owner != OTHER for row in there) >= self._settings.max_hosts:
            host = OTHER
            mine = next((row for row in there if row.owner == host), None)
        above = _NEXT.get(level)
        expired = start < self._now_s - retention_s(self._settings, level)
        put: list[Row] = []
        if mine is not None or not expired:
            put.append(self._merged(mine or Row(level, start, host, host, closed=True), delta))
        if above is not None and (mine.rolled if mine is not None else expired):
            put += self._plan(above, start // above * above, host, delta)
        return put

    def _merged(self, row: Row, delta: _Delta) -> Row:
        """The row with `delta` added."""
        both = _Delta()
        if row.version:
            try:
                self._add(both, row)
            except payload.Newer as error:
                self._unread.note(row, error)
                raise _Leave from None
            except payload.Unreadable as error:
                self._unread.note(row, error)
                logger.warning("Metrics of %s at %d cannot be read and are lost: %s", row.owner, row.start, error)
        both.tally.merge(delta.tally, self._max_routes)
        if row.level > 60:
            for cell in both.tally.routes.values():
                # A sixth of the room, and nobody asks for it of a time that is past: the sums by alias are kept.
                cell.database = Histogram()
        keeps_samples = not (row.rolled and row.level == 60)
        slow = samples.pick([*both.samples, *delta.samples], self._settings.slow_samples, SAMPLES[row.level])
        return Row(
            row.level,
            row.start,
            row.owner,
            row.host,
            rolled=row.rolled,
            closed=True,
            version=row.version,
            summary=payload.pack_summary(both.tally, both.tally.total()),
            detail=payload.pack_detail(both.tally),
            samples=payload.pack_samples(slow) if keeps_samples else b"",
        )

    def trim(self) -> None:
        """Delete what is too old, in small pieces, so that nobody waits for locks."""
        for level in LEVELS:
            self._trim(level, self._now_s - retention_s(self._settings, level))
        for level in (600, 7200):
            self._trim(level, self._now_s - samples_retention_s(self._settings, level), samples_only=True)
        self._store.forget_reports(self._now_s - REMEMBERED_S)

    def _trim(self, level: int, before: int, *, samples_only: bool = False) -> None:
        for _ in range(_TRIMS):
            if self._store.trim(level, before, _TRIM, samples_only=samples_only) < _TRIM:
                return
            if time.monotonic() >= self._ends:
                return
