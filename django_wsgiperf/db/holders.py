"""Who holds the connections of a pool, for people: the entries of Pool.holders() and the lines of a time-out.

Reads leases, changes nothing, and asks no server. SQL is shown as it was prepared, without its parameters.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .lease import Lease

_SHOWN = 20
_SQL_CHARACTERS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One lease of this moment."""

    thread_name: str
    thread_id: int
    label: str
    """What the holder said it does, such as "GET shop:book"; may be empty."""
    held_s: float
    state: str
    """Of the connection, as the driver knows it without asking: "idle", "active", "idle in transaction", "unknown"."""
    last_sql: str

    @classmethod
    def of(cls, lease: Lease[Any], now_ns: int, state: str) -> Holder:
        """`lease` as it is at `now_ns`, the pool's clock."""
        thread = lease.thread
        return cls(
            thread_name=thread.name if thread is not None else "(shared between threads)",
            thread_id=(thread.ident or 0) if thread is not None else 0,
            label=lease.label,
            held_s=(now_ns - lease.acquired_ns) / 1e9,
            state=state,
            last_sql=lease.last_sql,
        )

    def stack(self) -> list[str]:
        """Where the holder's thread is now, the outermost call first; empty when it has ended."""
        frame = sys._current_frames().get(self.thread_id)
        calls = traceback.StackSummary.extract(traceback.walk_stack(frame)) if frame is not None else ()
        return [f"{call.filename}:{call.lineno} in {call.name}" for call in reversed(list(calls))]

    def __str__(self) -> str:
        sql = " ".join(self.last_sql.split())
        if len(sql) > _SQL_CHARACTERS:
            sql = sql[: _SQL_CHARACTERS - 3] + "..."
        parts = [self.thread_name, self.label or "(no label)", f"held {self.held_s:.3f} s", self.state]
        return ", ".join([*parts, f"last SQL: {sql}"] if sql else parts)


def describe(holders: Sequence[Holder]) -> str:
    """A line each, the longest holder first, as many as a person would read."""
    lines = [f"  {holder}" for holder in holders[:_SHOWN]]
    if len(holders) > _SHOWN:
        lines.append(f"  and {len(holders) - _SHOWN} more")
    return "\n".join(lines)
