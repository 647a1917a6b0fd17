"""From the sums of this process to the store: its own rows, with all that they have so far, until they are final.

A minute that could not be written is kept and written later, for MAX_AGE_S; what is older is given up and counted,
since by then a roll-up may take what there is of it (rollup.GIVEN_UP_S is longer). Nothing here knows of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from . import payload
from .aggregate import Aggregator
from .minute import MINUTE_S, Minute
from .stores.base import Row, Store
from .tally import Tally

GRACE_S: Final = 2
"""After its end a minute waits so long for records of its last moments."""
MAX_AGE_S: Final = 15 * 60
MAX_STRANDED: Final = 3
"""So many times the clock may go back before what was not written then is given up."""
MAX_SAMPLES: Final = 100
"""Slow requests of one process and minute."""


@dataclass(slots=True)
class _Written:
    """What the store has of a minute."""

    version: int = 0
    changed: int = -1
    slow_changed: int = -1
    samples: bytes = b""
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A row on its way to the store, and which state of its minute it has."""

    written: _Written
    changed: int
    row: Row


@dataclass(slots=True)
class _Kept:
    """Minutes under one owner: it has another name after the clock went back, so that no minute is written twice."""

    owner: str
    minutes: dict[int, Minute]
    written: dict[int, _Written] = field(default_factory=dict)


class Writer:
    """Writes what `aggregator` has. One thread at a time may use it: its owner holds a lock."""

    def __init__(
        self, aggregator: Aggregator, *, instance: str, host: str, forget: Callable[[Tally], None] = lambda tally: None
    ) -> None:
        """`forget` is told what of the sums is not kept here any longer, whether it was written or given up."""
        self._aggregator = aggregator
        self._instance = instance
        self._host = host
        self._forget = forget
        self._epoch = 0
        self._now_s = 0.0
        self._written: dict[int, _Written] = {}
        self._stranded: list[_Kept] = []
        self.given_up = 0
        """Requests whose minute could not be written in time."""

    @property
    def owner(self) -> str:
        """The name that rows are written under."""
        return self._instance if not self._epoch else f"{self._instance}~{self._epoch}"

    def watch_clock(self, now_s: float) -> None:
        """Tell the time. When it went back by a minute or more, minutes that were written come a second time."""
        if now_s < self._now_s - MINUTE_S:
            aggregator = self._aggregator
            if aggregator.minutes:
                self._stranded.append(_Kept(self.owner, dict(aggregator.minutes), self._written))
            self._written = {}
            aggregator.restart()
            self._epoch += 1
        self._now_s = now_s

    def pending(self) -> Iterator[Minute]:
        """All minutes that are not written for good."""
        for kept in self._stranded:
            yield from kept.minutes.values()
        yield from self._aggregator.minutes.values()

    @property
    def waiting(self) -> int:
        """How many there are. Any thread: what is counted may change meanwhile."""
        return len(self._aggregator.minutes) + sum([len(kept.minutes) for kept in tuple(self._stranded)])

    def write(self, store: Store, now_s: float, *, last: bool = False) -> None:
        """Write what is new. `last`: nothing more will come. Raises StoreError, after which all is kept."""
        prepared = self.prepare(now_s, last=last)
        if prepared:
            store.write([each.row for each in prepared])
        self.confirm(prepared)

    def prepare(self, now_s: float, *, last: bool = False) -> list[Prepared]:
        """What is to be written. Between this and confirm() further records may be summed."""
        self.watch_clock(now_s)
        kept = [*self._stranded, _Kept(self.owner, self._aggregator.minutes, self._written)]
        prepared: list[Prepared] = []
        for each in kept:
            for start, minute in each.minutes.items():
                written = each.written.setdefault(start, _Written())
                is_final = last or each.owner != self.owner or now_s >= start + MINUTE_S + GRACE_S
                if is_final and each.owner == self.owner:
                    # Whether this writing comes through or is repeated, it is the same.
                    self._aggregator.close(start)
                if minute.changed != written.changed or is_final:
                    written.version += 1
                    row = self._row(each.owner, minute, written, closed=is_final)
                    prepared.append(Prepared(written, minute.changed, row))
        return prepared

    def confirm(self, prepared: list[Prepared]) -> None:
        """The store has them."""
        for each in prepared:
            each.written.changed, each.written.finished = each.changed, each.row.closed
        self._finish()

    def _finish(self) -> None:
        """Let go of minutes that are written for good."""
        for start in [start for start, written in self._written.items() if written.finished]:
            self._let_go(self._aggregator.minutes, self._written, start)
        for kept in self._stranded:
            for start in [start for start, written in kept.written.items() if written.finished]:
                self._let_go(kept.minutes, kept.written, start)
        self._stranded = [kept for kept in self._stranded if kept.minutes]

    def _let_go(self, minutes: dict[int, Minute], written: dict[int, _Written], start: int) -> int:
        """Gives the requests that were counted in that minute."""
        written.pop(start, None)
        minute = minutes.pop(start, None)
        if minute is None:
            return 0
        self._forget(minute.tally)
        return sum(cell["requests"] for cell in minute.tally.routes.values())

    def give_up(self, now_s: float) -> None:
        """Drop what is too old to be written."""
        oldest = now_s - MAX_AGE_S - MINUTE_S
        for start in [start for start in self._aggregator.minutes if start < oldest]:
            self._aggregator.close(start)
            self.given_up += self._let_go(self._aggregator.minutes, self._written, start)
        for kept in self._stranded[:-MAX_STRANDED]:
            self.given_up += sum(self._let_go(kept.minutes, kept.written, start) for start in list(kept.minutes))
        del self._stranded[:-MAX_STRANDED]

    def _row(self, owner: str, minute: Minute, written: _Written, *, closed: bool) -> Row:
        tally = minute.tally
        if minute.slow_changed != written.slow_changed:
            written.samples = payload.pack_samples(self._aggregator.samples(minute, MAX_SAMPLES))
            written.slow_changed = minute.slow_changed
        return Row(
            level=0,
            start=minute.start,
            owner=owner,
            host=self._host,
            closed=closed,
            version=written.version,
            summary=payload.pack_summary(tally, tally.total()),
            detail=payload.pack_detail(tally),
            samples=written.samples,
        )
