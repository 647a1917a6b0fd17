"""The two things that a pool passes about: an Entry, one place for a connection, and a Lease, one use of it.

An Entry outlives its leases and carries what is known of the connection. A Lease belongs to whoever acquired it; the
pool itself only refers to it weakly, so that a lease that nobody has any more is noticed.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

C = TypeVar("C")


@dataclass(slots=True, eq=False)
class Entry(Generic[C]):
    """A place in the pool. It counts towards the maximum from before its connection is opened until it is closed.

    Times are the pool's clock, in nanoseconds. All but `data` is guarded by the pool's lock."""

    generation: int
    """Pool.evict_all() begins a new one; a connection of an older one is closed when it comes back."""
    raw: C | None = None
    """None while it is being opened."""
    data: dict[str, Any] = field(default_factory=dict)
    """For the holder: what it wants to remember of this connection from one lease to the next."""
    created_ns: int = 0
    expires_ns: int = 0
    used_ns: int = 0
    checked_ns: int = 0
    """When it was last known to work: used, or asked."""
    lease: weakref.ref[Lease[C]] | None = None
    """None while it is idle, and while the pool itself has it: to ask whether it is alive, or to close it."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Lease(Generic[C]):
    """One use of a connection, from Pool.acquire() to Pool.release().

    `label`, `last_sql`, `dirty` and `thread` are the holder's to write, without a lock."""

    label: str
    """What the holder is doing, such as "GET shop:book"."""
    thread: threading.Thread | None
    """The holder: once it has ended the lease is taken back. None for a connection that threads share."""
    acquired_ns: int
    owner: weakref.ref[Any] | None = None
    """When this is collected the lease is taken back."""
    raw: C = field(init=False)
    entry: Entry[C] | None = None
    is_new: bool = False
    """The connection was opened for this lease."""
    waited_ns: int = 0
    """How long acquire() took: the queue, the check whether it is alive, and opening it."""
    last_sql: str = ""
    """Without parameters: it is shown in errors and logs."""
    dirty: bool = False
    """The session may differ from a fresh one in more than its transaction."""
    released: bool = False
    """The pool's: it has been given back, or taken."""
    reported: bool = False
    """The pool's: it has been logged as held too long."""

    def is_lost(self) -> bool:
        """Whether nobody is left who could release it. The main thread is never gone: exit handlers run in it last."""
        if self.released or (self.owner is not None and self.owner() is None):
            return True
        thread = self.thread
        return thread is not None and not thread.is_alive() and thread is not threading.main_thread()
