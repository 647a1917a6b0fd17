"""Who has which connection, and who waits for one: a pool's idle stack, its line, and the rules of both.

Bookkeeping only: nothing here sleeps, locks, or speaks to a server. Every method is called with the pool's lock held,
and leaves the invariants 1 to 3 of pool.py as it finds them. What loops does so here, in functions that know no lock:
the compiler of Python 3.12 may forget a `with` around the end of a round, where an interruption would leave it locked.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Generic

from . import errors
from .config import PoolConfig
from .lease import C, Entry, Lease, this_thread
from .outage import Outage
from .statistics import PoolStatistics


class Waiter(Generic[C]):
    """A thread in line, and the lock it sleeps on. It has been served when `lease.entry` or `error` is set."""

    __slots__ = ("alarm", "error", "lease")

    def __init__(self, lease: Lease[C]) -> None:
        self.lease = lease
        self.error: errors.PoolError | None = None
        self.alarm = threading.Lock()
        self.alarm.acquire()


class Places(Generic[C]):
    """The entries of one pool. `notice_loss` is called, in any line of any thread, when a lease is collected."""

    def __init__(
        self,
        name: str,
        config: PoolConfig,
        clock: Callable[[], int],
        outage: Outage,
        statistics: PoolStatistics,
        notice_loss: Callable[[weakref.ref[Any]], None],
    ) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self._outage = outage
        self._statistics = statistics
        self._notice_loss = notice_loss
        self.entries: set[Entry[C]] = set()
        self.idle: list[Entry[C]] = []
        """The one used last is the last."""
        self.waiters: deque[Waiter[C]] = deque()
        self.generation = 0
        self.closed = False

    # -- lending

    def claim(self, lease: Lease[C], *, first: bool) -> Waiter[C] | None:
        """Lend `lease` what there is, or put it in line, `first` or last. Raises when it need not even wait."""
        if self.closed:
            raise errors.closed(self._name)
        if (first or not self.waiters) and self._lend_next(lease):
            return None
        if self.is_hopeless():
            raise self.unavailable()
        waiting, most = len(self.waiters), self._config.max_waiters
        if most is not None and waiting >= most and not first:
            self._statistics.overloaded += 1
            raise errors.overloaded(self._name, waiting, most, self._config.max_size)
        waiter = Waiter(lease)
        if first:
            self.waiters.appendleft(waiter)
        else:
            self.waiters.append(waiter)
        self._statistics.pending_max = max(self._statistics.pending_max, waiting + 1)
        return waiter

    def serve(self) -> None:
        """Give the oldest waiters what there is, or the news that there will be nothing."""
        while self.waiters:
            waiter = self.waiters[0]
            # A waiter that has been lent something is left here when its benefactor was interrupted.
            if waiter.lease.entry is None and not self._lend_next(waiter.lease):
                break
            self.waiters.popleft()
            waiter.alarm.release()
        if self.waiters and self.is_hopeless():
            self.send_home(self.unavailable)

    def pass_on(self, entry: Entry[C]) -> None:
        """Give a connection that comes back to the oldest waiter, in one step; there is one."""
        while self.waiters:
            waiter = self.waiters[0]
            is_served = waiter.lease.entry is not None
            if not is_served:
                self._lend(entry, waiter.lease)
            self.waiters.popleft()
            waiter.alarm.release()
            if not is_served:
                return
        entry.lease = None
        self.idle.append(entry)

    def send_home(self, error: Callable[[], errors.PoolError]) -> None:
        """Have everybody in line raise an `error` of its own."""
        while self.waiters:
            waiter = self.waiters.popleft()
            waiter.error = error()
            waiter.alarm.release()

    def leave_line(self, lease: Lease[C]) -> None:
        """`lease` waits no longer, if it did."""
        for waiter in list(self.waiters):
            if waiter.lease is lease:
                self.waiters.remove(waiter)

    def room(self) -> Entry[C] | None:
        """A new entry to open a connection for; None when there may be no more, or the server is to be left alone."""
        if self.closed or len(self.entries) >= self._config.max_size:
            return None
        attempts = sum(entry.raw is None for entry in self.entries)
        if not self._outage.allows(attempts, self._clock()):
            return None
        entry: Entry[C] = Entry(self.generation)
        self.entries.add(entry)
        self._statistics.open_max = max(self._statistics.open_max, len(self.entries))
        self._count_used()
        return entry

    def take(self, entry: Entry[C], chore: str) -> Lease[C]:
        """A lease of the pool's own, on an entry that is idle or was its caller's until now."""
        lease: Lease[C] = Lease(chore, this_thread(), self._clock())
        self._lend(entry, lease)
        if entry in self.idle:
            self.idle.remove(entry)
        return lease

    def _lend_next(self, lease: Lease[C]) -> bool:
        """Lend the idle connection used last, else room to open one, which the holder then does."""
        if self.idle:
            self._lend(self.idle[-1], lease)
            self.idle.pop()
            self._count_used()
            return True
        entry = self.room()
        if entry is not None:
            self._lend(entry, lease)
        return entry is not None

    def _lend(self, entry: Entry[C], lease: Lease[C]) -> None:
        entry.lease = weakref.ref(lease, self._notice_loss)
        lease.entry = entry

    def _count_used(self) -> None:
        self._statistics.used_max = max(self._statistics.used_max, len(self.entries) - len(self.idle))

    def lent(self) -> list[tuple[Entry[C], Lease[C]]]:
        """What somebody has, the pool itself for a chore included."""
        had = ((entry, entry.lease()) for entry in self.entries if entry.lease is not None)
        return [(entry, lease) for entry, lease in had if lease is not None]

    # -- what has come to its end

    def take_lost(self) -> list[tuple[Lease[C] | None, Lease[C]]]:
        """What its holder cannot give back any more: its lease, if that is left, and the pool's own."""
        lost: list[tuple[Lease[C] | None, Lease[C]]] = []
        for entry in self.entries:
            if entry not in self.idle and entry.is_lost():
                former = entry.lease() if entry.lease is not None else None
                lost.append((former, self.take(entry, "(closing)")))
        self._statistics.reclaimed += len(lost)
        return lost

    def take_old(self, now: int) -> list[tuple[Lease[C], str]]:
        """The idle connections that have lived or rested for too long, and which of both."""
        old: list[tuple[Lease[C], str]] = []
        idle_ns = int(self._config.idle_timeout_s * 1e9)
        # The stack's bottom has been idle for longest.
        for entry in list(self.idle):
            if now >= entry.expires_ns:
                old.append((self.take(entry, "(closing)"), "lifetime"))
            elif idle_ns and now - entry.used_ns >= idle_ns and len(self.idle) > self._config.min_idle:
                old.append((self.take(entry, "(closing)"), "idle"))
        return old

    def late(self, acquired_ns: int) -> list[tuple[Entry[C], Lease[C]]]:
        """What somebody has had since then, each once."""
        late = [
            (entry, lease)
            for entry, lease in self.lent()
            if not lease.reported and entry not in self.idle and lease.acquired_ns <= acquired_ns
        ]
        for _, lease in late:
            lease.reported = True
        return late

    def retire(self) -> list[Lease[C]]:
        """Make every connection that exists now one of the past; the idle ones are the caller's to close."""
        self.generation += 1
        return [self.take(entry, "(closing)") for entry in list(self.idle)]

    def outdated(self, entry: Entry[C]) -> str:
        """Why a connection that comes back is not to be lent again; empty when it is."""
        if entry.generation == self.generation:
            return ""
        return "pool closed" if self.closed else "evicted"

    def is_hopeless(self, failed: Entry[C] | None = None) -> bool:
        """Whether the server has refused for too long and there is nothing else to hope for: no connection that could
        come back, nor, as long as the server has never answered, another attempt than the one that `failed`."""
        return self._outage.gives_up(self._clock()) and all(
            entry is failed or (entry.raw is None and self._outage.reached) for entry in self.entries
        )

    def unavailable(self) -> errors.PoolUnavailable:
        """The news of an outage, counted."""
        self._statistics.unavailable += 1
        return errors.unavailable(self._name, self._outage.describe(self._clock()), self._outage.error)
