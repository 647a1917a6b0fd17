"""Rows of a store as sums: which rows make up a period, and their decoded form, which is remembered for a while.

A period is read twice: as a series, from summaries of one level, and as routes, from the coarsest rows that fit into
it, so that thirty days are some fifty rows. Rows that finer levels have not passed on yet are always among them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from . import payload
from .results import PERIODS
from .rollup import retention_s, samples_retention_s
from .stores.base import LEVELS, Extent, Row, Store
from .tally import Cell, SampleData, Tally
from .unread import Unread

if TYPE_CHECKING:
    from django_wsgiperf.conf import MetricsSettings

_STEPS: Final = {"15m": 60, "1h": 60, "6h": 300, "24h": 600, "7d": 7200, "30d": 21600}
MAX_REMEMBERED: Final = 24 << 20
"""Bytes of decoded rows, about."""


@dataclass(frozen=True, slots=True)
class Window:
    """A period that ends now: steps from `begin` on, of which the last is not over."""

    period: str
    begin: int
    end: int
    step: int
    level: int
    """Of the rows that make up its series."""

    @classmethod
    def of(cls, period: str, now_s: float, settings: MetricsSettings) -> Window:
        """Raises ValueError for a period that is none of PERIODS."""
        seconds = PERIODS.get(period)
        if seconds is None:
            raise ValueError(f"{period!r} is no period; write one of {', '.join(PERIODS)}")
        step = _STEPS[period]
        level = max(level for level in LEVELS[1:] if level <= step)
        for coarser in LEVELS[1:]:
            # Twice, for the period before is shown too.
            if coarser >= level and (retention_s(settings, coarser) >= 2 * seconds or coarser == LEVELS[-1]):
                level = coarser
                break
        step = max(step, level)
        begin = (int(now_s) // step + 1) * step - max(step, seconds // step * step)
        return cls(period, begin, int(now_s) + 1, step, level)

    @property
    def before(self) -> tuple[int, int]:
        """The period before: begin and end."""
        return self.begin - PERIODS[self.period] // self.level * self.level, self.begin

    def series(self) -> list[Extent]:
        """What the series is made of."""
        return [Extent(self.level, self.begin, self.end)]

    def whole(self) -> list[Extent]:
        """What the sums over all of it are made of."""
        return cover(self.begin, self.end, self.level)

    def whole_before(self) -> list[Extent]:
        """The same for the period before."""
        return cover(*self.before, self.level)

    def slow(self, settings: MetricsSettings) -> list[Extent]:
        """Where its slow requests are."""
        fitting = (level for level in LEVELS[2:] if samples_retention_s(settings, level) >= PERIODS[self.period])
        level = next(fitting, LEVELS[-1])
        return [Extent(level, self.begin // level * level, self.end)]

    def start_of(self, start: int) -> int:
        """The step that a row belongs to."""
        return max(self.begin, start // self.step * self.step)

    def starts(self) -> range:
        """Where the steps begin."""
        return range(self.begin, self.end, self.step)


def cover(begin: int, end: int, finest: int) -> list[Extent]:
    """Extents without a gap or an overlap, of the coarsest levels that fit; none finer than `finest` before the last
    of them."""
    for level in reversed(LEVELS[1:]):
        first, last = -(-begin // level) * level, end // level * level
        if level > finest and first < last:
            return [*cover(begin, first, finest), Extent(level, first, last), *cover(last, end, finest)]
    return [Extent(finest, begin, end)] if begin < end else []


@dataclass(frozen=True, slots=True)
class Summary:
    """A row without its routes."""

    row: Row
    tally: Tally
    total: Cell


class Reader:
    """Reads and decodes. `_lock` guards what is remembered; decoded rows are shared, and nobody changes them."""

    def __init__(self, store: Store, unread: Unread | None = None) -> None:
        """Rows that cannot be read are noted on `unread`."""
        self.store = store
        self._unread = unread or Unread()
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[Any, ...], tuple[int, Any]] = OrderedDict()
        self._bytes = 0

    def summaries(self, extents: list[Extent], host: str = "") -> Iterator[Summary]:
        """Of all rows, without their routes."""
        for row in self.store.read(extents, ("summary",), host):
            found = self._decoded(row, "summary", row.summary, _summary)
            if found is not None:
                yield Summary(row, *found)

    def details(self, extents: list[Extent], host: str = "") -> Iterator[tuple[Row, payload.Detail]]:
        """Of all rows, their routes."""
        for row in self.store.read(extents, ("detail",), host):
            found = self._decoded(row, "detail", row.detail, _detail)
            if found is not None:
                yield row, found

    def samples(
        self, extents: list[Extent], host: str, wanted: Callable[[str, float, str], bool], limit: int
    ) -> list[SampleData]:
        """The slowest requests of which `wanted(id, unix seconds, route)` holds, the slowest first."""
        found: dict[str, tuple[int, payload.Samples, int, Row]] = {}
        for row in self.store.read(extents, ("samples",), host):
            try:
                samples = payload.Samples(row.samples)
            except payload.Unreadable as error:
                self._unread.note(row, error)
                continue
            for place, (id, at_s, route, ns) in enumerate(samples.heads()):
                if wanted(id, at_s, route):
                    found[id] = (ns, samples, place, row)
        chosen = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))[: max(0, limit)]
        full: list[SampleData] = []
        for _, (_, samples, place, row) in chosen:
            try:
                full.append(samples.full(place))
            except payload.Unreadable as error:
                self._unread.note(row, error)
        return full

    def _decoded(self, row: Row, part: str, data: bytes, decode: Any) -> Any:
        """What the row's bytes stand for; None when they cannot be read."""
        key = (part, *row.key, row.version)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known[1]
        try:
            size, found = decode(data)
        except payload.Unreadable as error:
            self._unread.note(row, error)
            return None
        if row.level and row.version:  # Those of processes change with every writing.
            with self._lock:
                if key not in self._known:
                    self._known[key] = (size, found)
                    self._bytes += size
                self._forget_oldest()
        return found

    def _forget_oldest(self) -> None:
        """Lock held."""
        while self._bytes > MAX_REMEMBERED:
            self._bytes -= self._known.popitem(last=False)[1][0]


def _summary(data: bytes) -> tuple[int, tuple[Tally, Cell]]:
    return 4096 + 8 * len(data), payload.unpack_summary(data)


def _detail(data: bytes) -> tuple[int, payload.Detail]:
    detail = payload.Detail(data)
    detail.walls()  # Damage is found here, where the row is passed over, and not by whoever adds up the columns.
    return detail.size, detail


def route_cells(details: Iterable[payload.Detail]) -> dict[str, Cell]:
    """Every route's sums over all rows."""
    cells: dict[str, Cell] = {}
    for detail in details:
        for route in detail.routes:
            try:
                detail.add(route, cells.setdefault(route, Cell()))
            except payload.Unreadable:
                continue
    return cells


def top_routes(details: list[payload.Detail], number: int) -> tuple[dict[str, Cell], int]:
    """The sums of the routes that took most time, and the time of all in ns. Of the others nothing is unpacked."""
    walls: dict[str, int] = {}
    for detail in details:
        for route, wall in zip(detail.routes, detail.walls(), strict=True):
            walls[route] = walls.get(route, 0) + wall
    chosen = sorted(walls, key=lambda route: (-walls[route], route))[:number]
    cells = {route: Cell() for route in chosen}
    for detail in details:
        for route in chosen:
            try:
                detail.add(route, cells[route])
            except payload.Unreadable:
                continue
    return cells, sum(walls.values())
