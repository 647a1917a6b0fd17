"""The database pools of all processes: each as it reported itself, and all of one alias added up.

Reads Pool.snapshot() (db/statistics.py), whose keys are a contract. Knows nothing of how it is shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django_wsgiperf.metrics.results import ProcessRow

from .numbers import integer, mapping, number

PREFIX: Final = "db.client.connection."


@dataclass(frozen=True, slots=True)
class Durations:
    """Of a histogram whose buckets double: quantiles are the upper bounds of their buckets, in seconds."""

    count: int = 0
    mean_s: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None

    @classmethod
    def of(cls, snapshots: Sequence[Mapping[str, Any]]) -> Durations:
        """Of several snapshots of Histogram, which add up exactly."""
        buckets: Counter[int] = Counter()
        for snapshot in snapshots:
            buckets.update({_bound(key): integer(count) for key, count in mapping(snapshot, "buckets_us").items()})
        count = sum(buckets.values())
        if not count:
            return cls()
        total = sum(number(snapshot.get("sum_s")) for snapshot in snapshots)
        return cls(count, total / count, *(_quantile(buckets, count, share) for share in (0.5, 0.95, 0.99)))


def _bound(key: object) -> int:
    text = str(key)
    return int(text) if text.isdecimal() else 0


def _quantile(buckets: Mapping[int, int], count: int, share: float) -> float:
    """The bound below which the share of all lies. The first bucket is below a microsecond: that is no time at all."""
    seen = 0
    for bound in sorted(buckets):
        seen += buckets[bound]
        if seen >= share * count:
            return 0.0 if bound <= 1 else bound / 1e6
    return 0.0


@dataclass(frozen=True, slots=True)
class PoolNumbers:
    """One pool, or those of one alias in `processes` processes. Counters are since the processes started."""

    alias: str
    process: str
    processes: int
    used: int
    idle: int
    max: int
    used_max: int
    pending: int
    pending_max: int
    timeouts: int
    overloaded: int
    unavailable: int
    created: int
    connect_failures: int
    reclaimed: int
    closed: Mapping[str, int]
    resets: Mapping[str, int]
    wait: Durations
    use: Durations
    create: Durations
    outage: str

    @property
    def used_share(self) -> float:
        return self.used / self.max if self.max else 0.0

    @property
    def idle_share(self) -> float:
        return self.idle / self.max if self.max else 0.0


def by_alias(processes: Sequence[ProcessRow]) -> list[PoolNumbers]:
    """The pools of all processes, added up by alias."""
    grouped: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for process in processes:
        for snapshot in process.pools:
            grouped[_alias(snapshot)].append(snapshot)
    return [_numbers(alias, "", snapshots) for alias, snapshots in sorted(grouped.items())]


def by_process(processes: Sequence[ProcessRow]) -> list[PoolNumbers]:
    """Each pool of each process."""
    return [
        _numbers(_alias(snapshot), f"{process.host} {process.pid}", [snapshot])
        for process in processes
        for snapshot in process.pools
    ]


def _alias(snapshot: Mapping[str, Any]) -> str:
    return str(snapshot.get(f"{PREFIX}pool.name", ""))


def _numbers(alias: str, process: str, snapshots: Sequence[Mapping[str, Any]]) -> PoolNumbers:
    def total(key: str) -> int:
        return sum(integer(snapshot.get(key)) for snapshot in snapshots)

    def counted(key: str, inner: str) -> int:
        return sum(integer(mapping(snapshot, key).get(inner)) for snapshot in snapshots)

    def reasons(key: str) -> dict[str, int]:
        found: Counter[str] = Counter()
        for snapshot in snapshots:
            found.update({str(name): integer(count) for name, count in mapping(snapshot, key).items()})
        return dict(found.most_common())

    def durations(key: str) -> Durations:
        return Durations.of([mapping(snapshot, PREFIX + key) for snapshot in snapshots])

    return PoolNumbers(
        alias=alias,
        process=process,
        processes=len(snapshots),
        used=counted(f"{PREFIX}count", "used"),
        idle=counted(f"{PREFIX}count", "idle"),
        max=total(f"{PREFIX}max"),
        used_max=total("used_max"),
        pending=total(f"{PREFIX}pending_requests"),
        pending_max=total("pending_max"),
        timeouts=total(f"{PREFIX}timeouts"),
        overloaded=total("overloaded"),
        unavailable=total("unavailable"),
        created=total("created"),
        connect_failures=total("connect_failures"),
        reclaimed=total("reclaimed"),
        closed=reasons("closed"),
        resets=reasons("resets"),
        wait=durations("wait_time"),
        use=durations("use_time"),
        create=durations("create_time"),
        outage=next((text for snapshot in snapshots if (text := str(snapshot.get("outage") or ""))), ""),
    )
