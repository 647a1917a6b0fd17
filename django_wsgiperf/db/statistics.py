"""What a pool counts: plain numbers that the pool adds to while it holds its lock, and histograms of three durations.

Knows nothing of connections. Pool.snapshot() joins these with the numbers of the moment; its keys are a contract.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import AbstractContextManager
from typing import Any

from .config import PoolConfig

_BUCKETS = 40
"""The last bucket begins at 2**38 us, three days; longer is counted there."""


class Histogram:
    """Durations in buckets that double: bucket b counts those below 2**b microseconds, and not below 2**(b - 1)."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.sum_ns = 0

    def record(self, duration_ns: int) -> None:
        """Add one duration. A clock that went back counts as no time at all."""
        if duration_ns > 0:
            self.sum_ns += duration_ns
            bucket = (duration_ns // 1000).bit_length()
            self.counts[bucket if bucket < _BUCKETS else _BUCKETS - 1] += 1
        else:
            self.counts[0] += 1

    def snapshot(self) -> dict[str, Any]:
        """`count`, `sum_s` (seconds) and `buckets_us`: counts by exclusive upper bound in us, empty ones left out."""
        return {
            "count": sum(self.counts),
            "sum_s": self.sum_ns / 1e9,
            "buckets_us": {str(1 << bucket): count for bucket, count in enumerate(self.counts) if count},
        }


class PoolStatistics:
    """The counters of one pool in one process. They only grow, and begin again at zero in a forked child.

    `lock` is the pool's own, which guards them: the pool holds it already when it counts, count_reset() takes it."""

    __slots__ = (
        "closed",
        "connect_failures",
        "create_time",
        "created",
        "forks",
        "lock",
        "open_max",
        "overloaded",
        "pending_max",
        "ping_failures",
        "pings",
        "reclaimed",
        "resets",
        "timeouts",
        "unavailable",
        "use_time",
        "used_max",
        "wait_time",
    )

    def __init__(self, lock: AbstractContextManager[Any], *, forks: int = 0) -> None:
        self.lock = lock
        self.wait_time = Histogram()
        self.create_time = Histogram()
        self.use_time = Histogram()
        self.created = 0
        self.connect_failures = 0
        self.closed: defaultdict[str, int] = defaultdict(int)
        self.resets: defaultdict[str, int] = defaultdict(int)
        self.pings = 0
        self.ping_failures = 0
        self.timeouts = 0
        self.overloaded = 0
        self.unavailable = 0
        self.reclaimed = 0
        self.forks = forks
        self.used_max = 0
        self.open_max = 0
        self.pending_max = 0

    def count_reset(self, kind: str) -> None:
        """One session was cleaned on its way back; `kind` says how: "rollback", "hard"."""
        with self.lock:
            self.resets[kind] += 1

    def snapshot(
        self, *, name: str, config: PoolConfig, idle: int, opened: int, pending: int, outage: str
    ) -> dict[str, Any]:
        """All numbers, ready for JSON, with the lock held. A contract: keys are added, never changed.

        Names that begin with "db.client.connection." are OpenTelemetry's (semantic conventions, database client
        metrics) and mean what they mean there; a duration is a Histogram.snapshot(). "used" are all that are not idle:
        lent, being opened, being closed. wait_time has every acquire() that gave a connection, the immediate ones as 0.
        Of the others: `closed` is by reason and `resets` by kind; `reclaimed` were never released by their holders;
        `unavailable` were turned away because of an outage, whose last error is `outage`, empty when there is none;
        `*_max` are high-water marks."""
        return {
            "db.client.connection.pool.name": name,
            "db.client.connection.count": {"idle": idle, "used": opened - idle},
            "db.client.connection.max": config.max_size,
            "db.client.connection.idle.min": config.min_idle,
            "db.client.connection.idle.max": config.max_size,
            "db.client.connection.pending_requests": pending,
            "db.client.connection.timeouts": self.timeouts,
            "db.client.connection.create_time": self.create_time.snapshot(),
            "db.client.connection.wait_time": self.wait_time.snapshot(),
            "db.client.connection.use_time": self.use_time.snapshot(),
            "created": self.created,
            "connect_failures": self.connect_failures,
            "closed": dict(self.closed),
            "resets": dict(self.resets),
            "pings": self.pings,
            "ping_failures": self.ping_failures,
            "overloaded": self.overloaded,
            "unavailable": self.unavailable,
            "reclaimed": self.reclaimed,
            "forks": self.forks,
            "used_max": self.used_max,
            "open_max": self.open_max,
            "pending_max": self.pending_max,
            "outage": outage,
        }
