"""What a store of metrics can do: rows of bytes by level, start and owner, changed so that nothing is counted twice.

A process writes its own rows of level 0 again and again, with all that they have so far, so that a writing that may or
may not have come through is simply repeated. A roll-up adds rows into one of the next level and marks them as rolled,
both or neither (`fold`), and only when nobody has changed them meanwhile. A reader takes the rows of one level and
those of finer levels that are not rolled yet, in one consistent look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, Protocol

LEVELS: Final = (0, 60, 600, 7200, 86400)
"""0 are the minutes of single processes; then the seconds that a host's rows span."""

Part = Literal["summary", "detail", "samples"]
PARTS: Final[tuple[Part, ...]] = ("summary", "detail", "samples")
EMPTIED: Final[dict[int, tuple[Part, ...]]] = {0: PARTS, 60: ("samples",)}
"""What rows of a level lose when they are rolled: it is read in the next level's row."""


class StoreError(Exception):
    """The store cannot be reached or used now. The message says why, and what to do where that is known."""


class Extent(NamedTuple):
    """Rows of `level` and finer ones that are not rolled, which start from `begin` on and before `end`."""

    level: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """Sums of a span of time. Of the parts, those that were not asked for are empty."""

    level: int
    start: int
    owner: str
    host: str
    rolled: bool = False
    closed: bool = False
    version: int = 0
    summary: bytes = b""
    detail: bytes = b""
    samples: bytes = b""

    @property
    def key(self) -> tuple[int, int, str]:
        return self.level, self.start, self.owner


def rolled(row: Row) -> Row:
    """What remains of a row when it has been added to the next level."""
    lost: dict[str, Any] = dict.fromkeys(EMPTIED.get(row.level, ()), b"")
    return replace(row, rolled=True, **lost)


@dataclass(frozen=True, slots=True)
class Report:
    """The last words of a process, in bytes of payload.py."""

    instance: str
    host: str
    seen: int
    report: bytes


class Store(Protocol):
    """All methods raise StoreError, and nothing else that the store's being away may cause."""

    def write(self, rows: Sequence[Row]) -> None:
        """Put rows of level 0 in the place of those with the same keys, but for those that were rolled meanwhile."""
        ...

    def read(self, extents: Sequence[Extent], parts: Sequence[Part], host: str = "") -> Iterable[Row]:
        """The rows of all extents, each once, of one moment."""
        ...

    def unrolled(self, level: int, before: int, limit: int, *, closed: bool, skip: int = 0) -> list[Row]:
        """Rows of a level that start before that, are not rolled, and are closed or not: complete, the oldest first,
        without the first `skip`."""
        ...

    def at(self, level: int, start: int) -> list[Row]:
        """All rows of a level and start, complete."""
        ...

    def fold(self, put: Sequence[Row], taken: Sequence[Row]) -> bool:
        """Put rows and mark those that are in them as rolled, all or nothing; False when somebody was there before.

        Of what is put, `version` is the one that is to be there now, 0 for none. Of what is taken it is the one that
        was read; level 0 then loses its content, and level 60 its samples (EMPTIED)."""
        ...

    def trim(self, level: int, before: int, limit: int, *, samples_only: bool = False) -> int:
        """Delete up to `limit` rows that start before that: rolled ones, and of the last level all. Gives how many.

        With `samples_only` the rows stay and lose their samples."""
        ...

    def lease(self, name: str, owner: str, now: int, ttl_s: int) -> bool:
        """Whether `owner` is the one to do `name` for the next `ttl_s` seconds."""
        ...

    def report(self, report: Report) -> None:
        """Put a process's report in place of its last."""
        ...

    def remove(self, instance: str) -> None:
        """A process has ended."""
        ...

    def reports(self, seen_since: int) -> list[Report]:
        """Of all processes that reported since."""
        ...

    def forget_reports(self, seen_before: int) -> None:
        """Delete reports of processes that ended without a word."""
        ...
