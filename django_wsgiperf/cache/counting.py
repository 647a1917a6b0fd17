"""What the cache counts. Plain integers, each written in one statement without a call, between which threads switch.

Numbers are since the process began; a forked child begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

from . import forking

_MAX_ADDRESSES: Final = 4_096


@dataclass(slots=True, weakref_slot=True)
class Counters:
    """One process's. Each request counts once among the first six."""

    hits: int = 0
    """Answered by what is stored, fresh."""
    stale_hits: int = 0
    """Answered by what is stored, past its time: while a new one is made, or because the application failed."""
    collapsed: int = 0
    """Answered by what another request, which was first, had made."""
    revalidated: int = 0
    """Answered by what is stored, after the application confirmed it."""
    misses: int = 0
    """Answered by the application, for want of something stored."""
    bypasses: int = 0
    """Left to the application without looking."""

    stored: int = 0
    errors_covered: int = 0
    """Failures of the application that a client got a stale page for."""
    refreshes: int = 0
    """Pages made anew in the background."""
    refresh_failures: int = 0
    refreshes_dropped: int = 0
    """Pages that should have been, when the queue was full."""
    invalidations: int = 0
    """Addresses and groups that unsafe requests made invalid."""
    store_hits: int = 0
    """Entries that came from the shared store."""
    hit_bytes: int = 0
    """Of bodies that were answered from here, but for those of HEAD and 304."""
    refusals: dict[str, int] = field(default_factory=dict)
    """Answers that were not stored, by reason."""
    last_refusals: dict[bytes, str] = field(default_factory=dict)
    """Key of an address -> why its last answer that was not stored was not. Begun anew when there are too many, which
    costs less at each refusal than to find the oldest."""

    def __post_init__(self) -> None:
        forking.watch(self)

    def __hash__(self) -> int:
        return id(self)

    def refuse(self, reason: str, address: bytes) -> None:
        """An answer was not stored."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        last = self.last_refusals
        if len(last) >= _MAX_ADDRESSES:
            last.clear()
        last[address] = reason

    def after_fork_in_child(self) -> None:
        for each in fields(self):
            setattr(self, each.name, {} if each.name in ("refusals", "last_refusals") else 0)
