"""The store in this process's memory: for one process, for development and tests. It is gone with the process."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from .base import LEVELS, PARTS, Extent, Part, Report, Row, rolled

MAX_BYTES: Final = 32 << 20


P = ParamSpec("P")
R = TypeVar("R")


def _locked(
    method: Callable[Concatenate[MemoryStore, P], R],
) -> Callable[Concatenate[MemoryStore, P], R]:
    """With the store's lock held: around the method, since the compiler of Python 3.12 may forget a `with` that stands
    around a loop, and an interruption there would leave it locked."""

    @functools.wraps(method)
    def locked(self: MemoryStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


class MemoryStore:
    """Rows in a dictionary. `_lock` guards all of it."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._lock = threading.RLock()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._rows: dict[tuple[int, int, str], Row] = {}
        self._reports: dict[str, Report] = {}
        self._leases: dict[str, tuple[str, int]] = {}

    @_locked
    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            known = self._rows.get(row.key)
            if known is None or not known.rolled:
                self._put(row)

    def _put(self, row: Row) -> None:
        self._drop(row.key)
        self._rows[row.key] = row
        self._bytes += _size(row)
        while self._bytes > self._max_bytes and len(self._rows) > 1:
            # What has been rolled is missed least, and of that the finest and oldest.
            others = (each for each in self._rows.values() if each.key != row.key)
            self._drop(min(others, key=lambda each: (not each.rolled, each.key)).key)

    def _drop(self, key: tuple[int, int, str]) -> None:
        row = self._rows.pop(key, None)
        if row is not None:
            self._bytes -= _size(row)

    def read(self, extents: Sequence[Extent], parts: Sequence[Part], host: str = "") -> Iterable[Row]:
        with self._lock:
            rows = list(self._rows.values())
        unasked = [part for part in PARTS if part not in parts]
        return [
            _without(row, unasked)
            for row in rows
            if (not host or row.host == host)
            and any(
                (row.level == extent.level or (row.level < extent.level and not row.rolled))
                and extent.begin <= row.start < extent.end
                for extent in extents
            )
        ]

    @_locked
    def unrolled(self, level: int, before: int, limit: int, *, closed: bool, skip: int = 0) -> list[Row]:
        found = [
            row
            for row in self._rows.values()
            if row.level == level and not row.rolled and row.closed == closed and row.start < before
        ]
        return sorted(found, key=lambda row: (row.start, row.owner))[skip : skip + limit]

    @_locked
    def at(self, level: int, start: int) -> list[Row]:
        return [row for row in self._rows.values() if row.level == level and row.start == start]

    @_locked
    def fold(self, put: Sequence[Row], taken: Sequence[Row]) -> bool:
        for row in put:
            known = self._rows.get(row.key)
            if (known.version if known is not None else 0) != row.version:
                return False
        for row in taken:
            known = self._rows.get(row.key)
            if known is None or known.rolled or known.version != row.version:
                return False
        for row in put:
            self._put(replace(row, version=row.version + 1))
        for row in taken:
            known = self._rows.get(row.key)
            if known is not None:
                self._put(rolled(known))
        return True

    @_locked
    def trim(self, level: int, before: int, limit: int, *, samples_only: bool = False) -> int:
        found = [
            row
            for row in self._rows.values()
            if row.level == level
            and row.start < before
            and (bool(row.samples) if samples_only else row.rolled or level == LEVELS[-1])
        ][:limit]
        for row in found:
            if samples_only:
                self._put(replace(row, samples=b""))
            else:
                self._drop(row.key)
        return len(found)

    @_locked
    def lease(self, name: str, owner: str, now: int, ttl_s: int) -> bool:
        holder, until = self._leases.get(name, ("", 0))
        if holder not in ("", owner) and now < until <= now + 10 * ttl_s:
            return False
        self._leases[name] = (owner, now + ttl_s)
        return True

    @_locked
    def report(self, report: Report) -> None:
        self._reports[report.instance] = report

    @_locked
    def remove(self, instance: str) -> None:
        self._reports.pop(instance, None)

    @_locked
    def reports(self, seen_since: int) -> list[Report]:
        return [each for each in self._reports.values() if each.seen >= seen_since]

    @_locked
    def forget_reports(self, seen_before: int) -> None:
        for each in [each for each in self._reports.values() if each.seen < seen_before]:
            del self._reports[each.instance]


def _without(row: Row, unasked: Iterable[Part]) -> Row:
    empty: dict[str, Any] = dict.fromkeys(unasked, b"")
    return replace(row, **empty)


def _size(row: Row) -> int:
    return 500 + len(row.summary) + len(row.detail) + len(row.samples)
