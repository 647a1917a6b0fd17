"""The processes of the live screen, and how the metrics' own pipeline fares in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django_wsgiperf.metrics.pipeline import OWN_ROUTE
from django_wsgiperf.metrics.results import Live, ProcessRow, Running

from . import formats
from .numbers import integer, number
from .rules import capacity

FEWEST_RECORDS: Final = 1000


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """One process. `is_stale` ones neither answer nor report; `is_other` ones run another release than most."""

    row: ProcessRow
    uptime_s: float
    silent_s: float
    is_stale: bool
    is_other: bool
    overhead: Overhead

    @property
    def busy_share(self) -> float | None:
        busy, threads = self.row.busy, self.row.threads
        return busy / threads if busy is not None and threads else None


@dataclass(frozen=True, slots=True)
class Overhead:
    """What measuring costs, and whether it arrives."""

    pending: int
    dropped: int
    damaged: int
    newer: int
    """Rows of the store that it passed over."""
    records: int
    per_record_s: float | None
    """Unknown of few requests: then it is what writing and rolling up take, of which they are not the reason."""
    core_share: float | None
    last_flush: str
    last_error: str


def lines(live: Live, interval_s: float) -> list[ProcessLine]:
    """In the order of hosts, then of ages."""
    silent = {process.instance for process in capacity.stale(live.processes, live.at_s, interval_s)}
    told = [process for process in live.processes if process.release]
    releases = [process.release for process in told if process.instance not in silent] or [
        process.release for process in told
    ]
    usual = max(set(releases), key=lambda release: (releases.count(release), release), default="")
    return [
        ProcessLine(
            process,
            max(0.0, live.at_s - process.started_s),
            max(0.0, live.at_s - process.seen_s),
            process.instance in silent,
            bool(process.release) and process.release != usual,
            overhead(process.pipeline, max(0.0, live.at_s - process.started_s), live.at_s),
        )
        for process in sorted(live.processes, key=lambda each: (each.host, each.started_s, each.pid))
    ]


def overhead(pipeline: Mapping[str, object], uptime_s: float, now_s: float) -> Overhead:
    cpu = number(pipeline.get("aggregate_cpu_s"))
    records = integer(pipeline.get("records"))
    flushed = number(pipeline.get("last_flush_s"))
    return Overhead(
        integer(pipeline.get("pending")),
        integer(pipeline.get("dropped")),
        integer(pipeline.get("damaged")),
        integer(pipeline.get("newer")),
        records,
        cpu / records if records >= FEWEST_RECORDS else None,
        cpu / uptime_s if uptime_s > 0 else None,
        formats.duration(max(0.0, now_s - flushed)) if flushed else "",
        str(pipeline.get("last_error") or ""),
    )


def running(live: Live) -> list[Running]:
    """The requests that run, the oldest first; not those for these pages."""
    return sorted((each for each in live.running if each.route != OWN_ROUTE), key=lambda each: -each.age_s)
