"""Numbers that all processes of one server share: each worker writes its own row, anybody reads all.

An anonymous memory map made in the master before the first fork. A row has one writer, and every field is an
aligned 64-bit word, so that readers need no lock; they may see fields of two moments. Counters of workers that are
gone live on in a block of the master's, so that sums over the server never fall.
"""

from __future__ import annotations

import mmap
import os
import time
from array import array
from typing import TYPE_CHECKING, Any

from .slots import HISTOGRAM_BUCKETS

if TYPE_CHECKING:
    from .reactor import Reactor

FREE, STARTING, SERVING, DRAINING, ENDED = range(5)
"""States of a row. The master frees and claims; the rest is the worker's."""
STATE_NAMES = ("free", "starting", "serving", "draining", "ended")

SHED = ("queue_length", "queue_deadline")
TIMEOUTS = ("header", "body", "write", "keepalive", "request", "handshake")
"""The keys of ReactorStatistics.shed and .timeouts."""

_STATUS = ("state", "pid", "age", "retiring", "started_s", "seen_s", "polled_ms", "open", "full", "pressure")
"""`open` (active connections), `full` (no free thread) and `pressure` are sharing.py's, and written at each turn of the
reactor, the others each second."""
GAUGES = (
    "threads",
    "busy",
    "queued",
    "queue_max",
    "queue_peak",
    "connections",
    "connections_max",
    "connections_peak",
    "rss_bytes",
)
"""`_max` is since the worker's start, `_peak` in the second before it published."""
COUNTERS = (
    "requests",
    "accepted",
    "reserved",
    "bad_requests",
    "client_left_queue",
    "sent_away",
    "lost_threads",
    "received_bytes",
    "sent_bytes",
    "queued_ns",
    "served_ns",
    "written_ns",
    *(f"responses_{digit}xx" for digit in range(1, 6)),
    *(f"shed_{reason}" for reason in SHED),
    *(f"timeouts_{kind}" for kind in TIMEOUTS),
)
HISTOGRAMS = ("queue_histogram", "service_histogram", "write_histogram")

_NAMES = (*_STATUS, *GAUGES, *COUNTERS)
_INDEX = {name: index for index, name in enumerate(_NAMES)}
_COUNTED_AT = _INDEX[COUNTERS[0]]
_HISTOGRAM_AT = {name: len(_NAMES) + n * HISTOGRAM_BUCKETS for n, name in enumerate(HISTOGRAMS)}
_ROW_WORDS = len(_NAMES) + len(HISTOGRAMS) * HISTOGRAM_BUCKETS

ROWS = 1088
"""Twice the most workers there can be, for HUP, and some that end at the same time."""
_USED, _STOPPING, _MOVES, _MIGRATED = range(4)
_PAST_AT = 8
_ROWS_AT = _PAST_AT + _ROW_WORDS


class Scoreboard:
    """Rows of 64-bit words, one for each living worker."""

    _the_one: Scoreboard | None = None

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, (_ROWS_AT + ROWS * _ROW_WORDS) * 8)).cast("q")
        self._owners: dict[int, Any] = {}
        """In the master: the worker of each row that is not free."""

    @classmethod
    def shared(cls) -> Scoreboard:
        """The board of this server, made by the master."""
        if cls._the_one is None:
            cls._the_one = cls()
        return cls._the_one

    # -- the master's

    def claim(self, worker: Any) -> int:
        """A row for `worker`, which is about to be forked and has its `pid` afterwards, and its `age`."""
        for row in range(ROWS):
            owner = self._owners.get(row)
            if owner is None or not is_alive(owner.pid):
                break
        else:
            raise RuntimeError(f"more than {ROWS} workers")
        self._bury(row)
        self._owners[row] = worker
        self.set(row, "age", worker.age)
        self.set(row, "state", STARTING)
        self._words[_USED] = max(self._words[_USED], row + 1)
        return row

    def _bury(self, row: int) -> None:
        """Add the row's counters to those of the past, and clear it."""
        words, start = self._words, _ROWS_AT + row * _ROW_WORDS
        words[_MOVES] += 1  # Odd: readers of sums look again.
        for n in range(_COUNTED_AT, _ROW_WORDS):
            words[_PAST_AT + n] += words[start + n]
        words[start : start + _ROW_WORDS] = memoryview(array("q", bytes(_ROW_WORDS * 8)))
        words[_MOVES] += 1

    @property
    def stopping(self) -> bool:
        """The master has been asked to end: workers that are told to go have no successors."""
        return bool(self._words[_STOPPING])

    @stopping.setter
    def stopping(self, value: bool) -> None:
        self._words[_STOPPING] = value

    # -- the worker's

    def set(self, row: int, name: str, value: int) -> None:
        self._words[_ROWS_AT + row * _ROW_WORDS + _INDEX[name]] = value

    def word(self, row: int, name: str) -> int:
        """The index of a field in `words`, for those that use it often."""
        return _ROWS_AT + row * _ROW_WORDS + _INDEX[name]

    @property
    def words(self) -> memoryview:
        return self._words

    @property
    def migrated(self) -> bool:
        """A worker has found every migration applied."""
        return bool(self._words[_MIGRATED])

    @migrated.setter
    def migrated(self, value: bool) -> None:
        self._words[_MIGRATED] = value

    def publish(self, row: int, reactor: Reactor, *, lost_threads: int, rss_bytes: int) -> None:
        """Write the worker's present numbers."""
        pool, statistics = reactor.pool, reactor.statistics
        slots = reactor.counters()
        now = int(time.time())
        if not self.get(row, "started_s"):
            self.set(row, "started_s", now)
        values = {
            "pid": os.getpid(),
            "seen_s": now,
            "polled_ms": reactor.polled_at_ns // 1_000_000,
            "threads": pool.size,
            "busy": pool.busy,
            "queued": pool.waiting,
            "queue_max": statistics.queue_max,
            "queue_peak": max(statistics.queue_peak, pool.waiting),
            "connections": len(reactor.connections),
            "connections_max": statistics.open_max,
            "connections_peak": max(statistics.open_peak, len(reactor.connections)),
            "lost_threads": lost_threads,
            "rss_bytes": rss_bytes,
            "requests": sum(slot.requests for slot in slots),
            "accepted": statistics.accepted,
            "reserved": statistics.reserved,
            "bad_requests": statistics.bad_requests,
            "client_left_queue": statistics.abandoned,
            "sent_away": statistics.sent_away,
            "received_bytes": statistics.received_bytes,
            "sent_bytes": sum(slot.sent_bytes for slot in slots),
            "queued_ns": sum(slot.queued_ns for slot in slots),
            "served_ns": sum(slot.served_ns for slot in slots),
            "written_ns": statistics.written_ns,
        }
        statistics.queue_peak = statistics.open_peak = 0
        for digit in range(1, 6):
            values[f"responses_{digit}xx"] = sum(slot.statuses[digit] for slot in slots)
        for reason in SHED:
            values[f"shed_{reason}"] = statistics.shed.get(reason, 0)
        for kind in TIMEOUTS:
            values[f"timeouts_{kind}"] = statistics.timeouts.get(kind, 0)
        for name, value in values.items():
            self.set(row, name, value)
        start = _ROWS_AT + row * _ROW_WORDS
        for name, offset in _HISTOGRAM_AT.items():
            parts = [statistics.write_histogram] if name == "write_histogram" else [getattr(s, name) for s in slots]
            counts = array("q", map(sum, zip(*parts, strict=True)))
            self._words[start + offset : start + offset + HISTOGRAM_BUCKETS] = memoryview(counts)

    # -- everybody's

    def get(self, row: int, name: str) -> int:
        value: int = self._words[_ROWS_AT + row * _ROW_WORDS + _INDEX[name]]
        return value

    def living(self) -> list[int]:
        """The rows of workers that have begun and whose process is there."""
        states = (SERVING, DRAINING)
        used = range(self._words[_USED])
        return [row for row in used if self.get(row, "state") in states and is_alive(self.get(row, "pid"))]

    def others_serve(self, row: int) -> bool:
        """Whether another worker takes requests, one that has not been told to go."""
        return any(self.get(other, "state") == SERVING for other in self.living() if other != row)

    def rows(self) -> list[dict[str, Any]]:
        """Every living worker's last published numbers, by name, with its `row`, and its `state` as a word."""
        rows: list[dict[str, Any]] = []
        for row in self.living():
            values: dict[str, Any] = {
                name: self.get(row, name) for name in _NAMES if name not in ("open", "full", "pressure")
            }
            values["state"] = STATE_NAMES[values["state"]]
            rows.append({"row": row, **values})
        return rows

    def totals(self) -> tuple[dict[str, int], dict[str, list[int]]]:
        """The server's counters, and its histograms as counts by bucket, with those of workers that are gone."""
        words = self._words
        for _ in range(1000):
            before = words[_MOVES]
            sums = words[_PAST_AT : _PAST_AT + _ROW_WORDS].tolist()
            for row in range(words[_USED]):
                start = _ROWS_AT + row * _ROW_WORDS
                for n, value in enumerate(words[start + _COUNTED_AT : start + _ROW_WORDS], _COUNTED_AT):
                    sums[n] += value
            if before == words[_MOVES] and not before % 2:
                break
        counters = {name: sums[_INDEX[name]] for name in COUNTERS}
        return counters, {name: sums[at : at + HISTOGRAM_BUCKETS] for name, at in _HISTOGRAM_AT.items()}


def is_alive(pid: object) -> bool:
    """Whether there is such a process; a worker that was never forked has a word for its pid."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
