"""The two things that a pool passes about: an Entry, one place for a connection, and a Lease, one use of it.

An Entry outlives its leases and carries what is known of the connection. A Lease belongs to whoever acquired it; the
pool refers to it weakly, so that it notices a lease that nobody has any more.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

C = TypeVar("C")


class ForeignThread:
    """A thread that `threading` has not started, such as one of uWSGI: the stand-in that it has for it never ends."""

    __slots__ = ("_mark", "ident", "name")

    def __init__(self, stand_in: threading.Thread, mark: weakref.ref[Any]) -> None:
        self.name = stand_in.name
        self.ident = stand_in.ident
        self._mark = mark

    def is_alive(self) -> bool:
        """Whether what the thread has for itself is still there."""
        return self._mark() is not None


class _Mark:
    """Goes with the thread that has it."""


class _Own(threading.local):
    def __init__(self) -> None:
        self.mark = _Mark()
        self.thread = ForeignThread(threading.current_thread(), weakref.ref(self.mark))


_own = _Own()
_STAND_IN: type[threading.Thread] = threading._DummyThread


def this_thread() -> threading.Thread | ForeignThread:
    """The current thread, such that its end can be seen."""
    thread = threading.current_thread()
    return thread if type(thread) is not _STAND_IN else _own.thread


@dataclass(slots=True, eq=False)
class Entry(Generic[C]):
    """A place in the pool. It counts towards the maximum from before its connection is opened until it is closed.

    Times are the pool's clock, in nanoseconds. Guarded by the pool's lock."""

    generation: int
    """Pool.evict_all() begins a new one; a connection of an older one is closed when it comes back."""
    raw: C | None = None
    """None while it is being opened."""
    created_ns: int = 0
    expires_ns: int = 0
    used_ns: int = 0
    checked_ns: int = 0
    """When it was last known to work: used, or asked."""
    is_closed: bool = False
    """Its connection is being closed, or has been, and is counted as such."""
    lease: weakref.ref[Lease[C]] | None = None
    """Who has it, the pool itself for a chore included. An entry that is neither idle nor had by anybody was lost."""

    def is_lost(self) -> bool:
        """Whether nobody is left who could give it back; only of an entry that is not idle."""
        lease = self.lease() if self.lease is not None else None
        return lease is None or lease.is_lost()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Lease(Generic[C]):
    """One use of a connection, from Pool.acquire() to Pool.release().

    `label`, `last_sql`, `dirty` and `thread` are the holder's to write, without a lock."""

    label: str
    """What the holder is doing, such as "GET shop:book"."""
    thread: threading.Thread | ForeignThread | None
    """The holder: once it has ended the lease is taken back. None for a connection that threads share."""
    acquired_ns: int
    owner: weakref.ref[Any] | None = None
    """When this is collected the lease is taken back."""
    entry: Entry[C] | None = None
    raw: C = field(init=False)
    is_new: bool = False
    """The connection was opened for this lease."""
    waited_ns: int = 0
    """How long acquire() took: the queue, the question whether it is alive, and opening it."""
    last_sql: str = ""
    """Without parameters: it is shown in errors and logs."""
    dirty: bool = False
    """The session may differ from a fresh one in more than its transaction."""
    reported: bool = False
    """The housekeeper's: it has been logged as held too long."""

    def is_lost(self) -> bool:
        """Whether its holder is gone. The main thread never is: the handlers of exit run in it last."""
        if self.owner is not None and self.owner() is None:
            return True
        thread = self.thread
        return thread is not None and not thread.is_alive() and thread is not threading.main_thread()
