"""What one minute of one process has had so far: its sums, and its slowest requests. Filled by aggregate.py alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from . import samples
from .record import Record
from .tally import SampleData, Tally

MINUTE_S: Final = 60


class Hit(NamedTuple):
    """An answer of the page cache that never reached Django."""

    ended_s: float
    route: str
    method: str
    status: int
    body_bytes: int
    duration_ns: int
    outcome: str
    queue_ns: int


@dataclass(slots=True)
class _Slow:
    """One of the slowest so far. The record is made small when it is to be written."""

    response_ns: int
    record: Record
    at_s: float
    id: str
    data: SampleData | None = None


@dataclass(slots=True)
class Minute:
    """What one minute has had so far. `changed` goes up with each record, so that a writer sees what is new."""

    start: int
    tally: Tally = field(default_factory=Tally)
    slow: dict[str, list[_Slow]] = field(default_factory=dict)
    changed: int = 0
    slow_changed: int = 0

    def keep(self, route: str, record: Record, response_ns: int, at_s: float, id: str, most: int) -> None:
        """One of the `most` slowest of a route so far, which ended at `at_s`."""
        slow = self.slow.setdefault(route, [])
        slow.append(_Slow(response_ns, record, at_s - response_ns / 1e9, id))
        slow.sort(key=lambda each: -each.response_ns)
        del slow[most:]
        self.slow_changed += 1

    def samples(self, *, per_route: int, most: int, host: str, repeats: int) -> list[SampleData]:
        """The slowest requests, made small now: `per_route` of each, `most` in all."""
        chosen: list[SampleData] = []
        for name, slow in self.slow.items():
            for each in slow:
                if each.data is None:
                    each.data = samples.data_of(
                        each.record,
                        id=each.id,
                        route=name,
                        at_s=each.at_s,
                        host=host,
                        response_ns=each.response_ns,
                        repeats=repeats,
                    )
                chosen.append(each.data)
        return samples.pick(chosen, per_route, most)
