"""How many requests that compute may run at once: no more than keep the interpreter lock busy.

Twelve threads that compute under one lock are each twelve times slower and finish nothing sooner; the thread that
reads the sockets has to win the lock back from all of them after each system call. So requests of routes that compute
(routes.py) wait for one of a few permits, first come, first served, while all others run as before. Two permits are
the least: one request computes while another may wait for its database.

Knows no sockets and no threads: `ComputeLimit` is told how busy the process is, and says how many.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

LEAST = 2
FIRST = 3
_SATURATED = 0.95
_HUNGRY = 0.85
_NO_IDLE = 0.02
_SOME_IDLE = 0.05
_HOLD_LOOKS = 12


def gil_enabled() -> bool:
    """Whether threads exclude each other; without the lock, threads that compute do so side by side."""
    check = getattr(sys, "_is_gil_enabled", None)
    return check is None or bool(check())


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds since the last look: `process_s` processor time of this process, `wall_s` time, and of the machine's
    processors `idle` the unused part, from 0 to 1, or None where the system does not tell."""

    process_s: float
    wall_s: float
    idle: float | None


class ComputeLimit:
    """How many requests may compute at once, from `LEAST` to `most`; begins with `FIRST`."""

    __slots__ = ("_hold", "_most", "limit")

    def __init__(self, most: int) -> None:
        self._most = most
        self._hold = 0
        self.limit = min(FIRST, most)

    def adjust(self, load: Load, waiting: int) -> int:
        """The next limit, when `waiting` requests wait for a permit.

        Up while the lock has time left and somebody could use it; down while it has none, but not soon after it went
        up: pages that compute a quarter of their time need four permits, and with three are short of one at once. A
        machine whose processors are all taken has nothing to give to more threads, however little this process gets.
        """
        if load.wall_s <= 0:
            return self.limit
        used = load.process_s / load.wall_s
        if used > _SATURATED or (load.idle is not None and load.idle < _NO_IDLE):
            if self._hold:
                self._hold -= 1
            else:
                self.limit = max(min(LEAST, self._most), self.limit - 1)
        elif waiting and used < _HUNGRY and (load.idle is None or load.idle > _SOME_IDLE):
            self.limit = min(self._most, self.limit + max(1, self.limit // 2))
            self._hold = _HOLD_LOOKS
        return self.limit


class Meter:
    """Measures `Load` from one call to the next."""

    __slots__ = ("_idle", "_process_s", "_total", "_wall_s")

    def __init__(self) -> None:
        self._wall_s = time.monotonic()
        self._process_s = time.process_time()
        self._idle, self._total = _machine()

    def load(self) -> Load:
        """Since the last call."""
        wall_s, process_s, (idle, total) = time.monotonic(), time.process_time(), _machine()
        passed = total - self._total
        load = Load(
            process_s - self._process_s,
            wall_s - self._wall_s,
            (idle - self._idle) / passed if passed > 0 else None,
        )
        self._wall_s, self._process_s, self._idle, self._total = wall_s, process_s, idle, total
        return load


def _machine() -> tuple[int, int]:
    """Idle and all processor ticks of the machine since its start; zeros where the system does not tell."""
    try:
        with open("/proc/stat", "rb") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)
    except (OSError, ValueError, IndexError):
        return 0, 0
