"""A pool of database connections: fewer of them than threads, lent to one thread at a time. No Django, no driver here.

A connection goes round like this: acquire() takes the idle one used last, or opens one in the calling thread while
there is room, or waits in line; release() hands it to the thread that has waited longest, or lays it on the idle stack.
What is done at leisure (closing what is old, refilling, finding what was lost) is in housekeeper.py; the dealings with
the server are in physical.py, when to ask one that refuses in outage.py, what is counted in statistics.py.

The invariants, and what keeps each:

1. Never more than `max_size` connections exist. Each has an Entry in `_entries` from before it is opened until after it
   is closed, and `_room()` alone adds one.
2. Nobody overtakes the line: while a thread waits in `_waiters`, nothing lies in `_idle`, and there is no room that the
   server would let us use. Whoever changes one of these calls `_serve()` before it lets go of the lock.
3. An entry lies in `_idle`, or it refers to the lease of somebody who is there to give it back; the pool's own chores
   take a lease too. Whatever is neither was lost, and is found, closed and replaced by the housekeeper.
4. A waiter that gives up looks, under the lock, whether it has been served meanwhile: nothing is handed into the void.
5. The lock is never held during a call to the driver.

`_lock` guards everything but the fields of a lease that are its holder's. It is reentrant for one reason: the garbage
collector may run in any line, and with it the end of a generator that gives its connection back. Such a call finds
the lock to be its own already; it leaves its errand to the housekeeper and touches nothing. A thread may also be
interrupted in any line by an exception from outside. The order of stores is such that an entry is then lost by rule 3.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Generic

from .config import Driver, PoolConfig
from .errors import PoolClosed, PoolError, PoolOverloaded, PoolTimeout, PoolUnavailable
from .holders import Holder, describe
from .housekeeper import Housekeeper
from .lease import C, Entry, Lease
from .outage import is_refusal
from .physical import Physical
from .statistics import PoolStatistics

__all__ = ["BROKEN", "Driver", "Entry", "Holder", "Lease", "Pool", "PoolConfig"]

logger = logging.getLogger("django_wsgiperf.db")

BROKEN = "broken"
"""The reason to discard a connection that failed. The idle ones are in doubt then, and asked before they are lent."""

_FIRST_LOOK_S = 0.05
_LAST_LOOK_S = 1.0
"""Whoever waits for longer looks ever more seldom whether a holder has died."""


class _Waiter(Generic[C]):
    """A thread in line, and the lock it sleeps on. It has been served when `lease.entry` or `error` is set."""

    __slots__ = ("alarm", "error", "lease")

    def __init__(self, lease: Lease[C]) -> None:
        self.lease = lease
        self.error: PoolError | None = None
        self.alarm = threading.Lock()
        self.alarm.acquire()


class Pool(Generic[C]):
    """At most `config.max_size` connections of `driver`; `name` is shown in errors, logs and thread names.

    `clock` gives nanoseconds that never go back. Without `background` nothing is done at leisure, except by calls of
    housekeeper.run_once()."""

    def __init__(
        self,
        name: str,
        driver: Driver[C],
        config: PoolConfig | None = None,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        background: bool = True,
    ) -> None:
        self.name = name
        self.config = config or PoolConfig()
        self.background = background
        self.clock = clock
        self._driver = driver
        self._closed = False
        self._begin(forks=0)

    def _begin(self, *, forks: int) -> None:
        """Be empty, as at first and in a forked child."""
        self._lock = threading.RLock()
        self._is_inside: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        self._entries: set[Entry[C]] = set()
        self._idle: list[Entry[C]] = []
        self._waiters: deque[_Waiter[C]] = deque()
        self._generation = 0
        self.statistics = PoolStatistics(self._lock, forks=forks)
        self._physical = Physical(self.name, self._driver, self.config, self.clock, self._lock, self.statistics)
        self.housekeeper: Housekeeper[C] = Housekeeper(self)
        self._notice_loss = self.housekeeper.notice_loss

    # -- for holders

    def acquire(self, *, label: str = "", timeout_s: float | None = None, owner: object | None = None) -> Lease[C]:
        """A connection, this thread's until release(). Waits at most `timeout_s` seconds, config.acquire_timeout_s.

        Opening one may take longer: how long is for the driver to say. `owner` is referred to weakly; when it is
        collected the lease is taken back. Raises PoolTimeout, PoolOverloaded, PoolUnavailable, PoolClosed, or what the
        driver raised on opening."""
        if self._is_inside():
            raise PoolError(f"Pool {self.name!r} was asked for a connection by a destructor, in the midst of its work.")
        now = self.clock()
        lease: Lease[C] = Lease(
            label, threading.current_thread(), now, None if owner is None else weakref.ref(owner, self._notice_loss)
        )
        physical, idle, statistics = self._physical, self._idle, self.statistics
        with self._lock:
            # What nearly always is, without a call: everything below is in _lend_idle(), unfit() and record() too.
            if idle:
                entry = idle[-1]
                checked_ns = entry.checked_ns
                if (
                    now - checked_ns < physical.bypass_ns
                    and checked_ns > physical.suspect_ns
                    and now < entry.expires_ns
                ):
                    entry.lease = weakref.ref(lease, self._notice_loss)
                    lease.entry = entry
                    lease.raw = entry.raw  # type: ignore[assignment]  # It is None only while it is being opened.
                    idle.pop()
                    used = len(self._entries) - len(idle)
                    if used > statistics.used_max:
                        statistics.used_max = used
                    statistics.wait_time.counts[0] += 1
                    return lease
        timeout_s = self.config.acquire_timeout_s if timeout_s is None else timeout_s
        try:
            self._acquire_slowly(lease, now + int(timeout_s * 1e9))
        except BaseException:
            self._withdraw(lease)
            raise
        return lease

    def release(self, lease: Lease[C], *, discard: str = "") -> None:
        """Give a connection back, in a state fit for the next; or have it closed, for the reason `discard`.

        May be called again, from any thread, after a fork and after close(): what is not the lease's is let be."""
        if self._is_inside():
            self.housekeeper.defer(lambda: self.release(lease, discard=discard))
            return
        now = self.clock()
        with self._lock:
            entry = lease.entry
            if entry is None or entry.lease is None or entry.lease() is not lease:
                return
            self.statistics.use_time.record(now - lease.acquired_ns)
            if not discard and entry.generation == self._generation:
                entry.used_ns = entry.checked_ns = now
                entry.lease = None
                self._idle.append(entry)
                if self._waiters:
                    self._serve()
                return
            reason = discard or self._outdated(entry)
            if discard == BROKEN:
                self._physical.suspect_ns = now
            chore = self._take(entry, "(closing)")
        self._close(chore, reason)

    # -- for those who run it

    def prewarm(self, count: int | None = None, timeout_s: float = 5.0) -> int:
        """Open connections side by side until there are `count` (min_idle); how many there are after `timeout_s`."""
        return self.housekeeper.prewarm(self.config.min_idle if count is None else count, timeout_s)

    def evict_all(self, reason: str) -> None:
        """Close every connection that exists now: the idle at once, the others when they come back."""
        if self._is_inside():
            self.housekeeper.defer(lambda: self.evict_all(reason))
            return
        with self._lock:
            self._generation += 1
            chores = [self._take(entry, "(closing)") for entry in list(self._idle)]
        logger.info("Pool %s closes all of its connections: %s", self.name, reason)
        for chore in chores:
            self._close(chore, "evicted")

    def close(self, timeout_s: float = 5.0) -> None:
        """Lend nothing more, close what is idle, and wait `timeout_s` seconds for what other threads have.

        What comes back later is closed then; the housekeeper stays for it and ends after the last."""
        with self._lock:
            self._closed = True
            self._generation += 1
            chores = [self._take(entry, "(closing)") for entry in list(self._idle)]
            while self._waiters:
                self._fail(PoolClosed(self._closed_text()))
        for chore in chores:
            self._close(chore, "pool closed")
        self.housekeeper.finish(timeout_s)

    def after_fork_in_child(self) -> None:
        """Begin again, empty: the connections are the parent's. No other thread has survived, nor what it held."""
        entries, physical = self._entries, self._physical
        self._begin(forks=self.statistics.forks + 1)
        for entry in entries:
            entry.lease = None
            physical.abandon(entry)

    def holders(self) -> list[Holder]:
        """Who has the connections now, the longest holder first."""
        now = self.clock()
        with self._lock:
            lent = [(entry, entry.lease()) for entry in self._entries if entry.lease is not None]
        held = [(entry, lease) for entry, lease in lent if lease is not None]
        held.sort(key=lambda pair: pair[1].acquired_ns)
        return [Holder.of(lease, now, self._physical.state(entry)) for entry, lease in held]

    def snapshot(self) -> dict[str, Any]:
        """The numbers of this moment and all that was counted, ready for JSON: PoolStatistics.snapshot() lists them."""
        with self._lock:
            return self.statistics.snapshot(
                name=self.name,
                config=self.config,
                idle=len(self._idle),
                opened=len(self._entries),
                pending=len(self._waiters),
                outage="" if self._physical.outage.error is None else str(self._physical.outage.error),
            )

    # -- acquiring, when the idle connection used last cannot simply be taken

    def _acquire_slowly(self, lease: Lease[C], deadline_ns: int) -> None:
        useless: Entry[C] | None = None
        while True:
            with self._lock:
                # What proved useless is given up and replaced in one step, or the place in line would be lost.
                if useless is not None:
                    self._entries.discard(useless)
                try:
                    waiter = self._claim(lease, first=useless is not None)
                finally:
                    self._serve()
            if waiter is not None:
                self._wait(waiter, deadline_ns)
            entry = lease.entry
            assert entry is not None
            if entry.raw is not None:
                reason = self._physical.unfit(entry)
                if not reason:
                    break
                self._physical.close(entry, reason)
            else:
                try:
                    self._open(entry)
                    lease.is_new = True
                    break
                except Exception as error:
                    with self._lock:
                        if not is_refusal(error) or self.clock() >= deadline_ns or self._is_hopeless(entry):
                            raise
            useless, lease.entry = entry, None
        with self._lock:
            assert entry.raw is not None
            lease.raw = entry.raw
            now = self.clock()
            lease.waited_ns, lease.acquired_ns = now - lease.acquired_ns, now
            self.statistics.wait_time.record(lease.waited_ns)

    def _claim(self, lease: Lease[C], *, first: bool) -> _Waiter[C] | None:
        """Lend `lease` an idle connection or room to open one, or put it in line, `first` or last. Lock held."""
        if self._closed:
            raise PoolClosed(self._closed_text())
        if (first or not self._waiters) and self._lend_next(lease):
            return None
        if self._is_hopeless():
            raise self._unavailable()
        waiting, most = len(self._waiters), self.config.max_waiters
        if most is not None and waiting >= most and not first:
            self.statistics.overloaded += 1
            raise PoolOverloaded(
                f"Pool {self.name!r} has no connection free, and {waiting} threads wait for one already: max_waiters "
                f"is {most}. Allow more, or raise max_size ({self.config.max_size})."
            )
        waiter = _Waiter(lease)
        if first:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        self.statistics.pending_max = max(self.statistics.pending_max, waiting + 1)
        return waiter

    def _wait(self, waiter: _Waiter[C], deadline_ns: int) -> None:
        """Sleep until served; raises when that does not come in time, or cannot come."""
        if self._physical.outage.error is not None:
            self.housekeeper.wake()
        look_s = _FIRST_LOOK_S
        while True:
            remaining_s = (deadline_ns - self.clock()) / 1e9
            if remaining_s <= 0 or not waiter.alarm.acquire(timeout=min(remaining_s, look_s)):
                self.housekeeper.close_lost()
                look_s = min(look_s * 2, _LAST_LOOK_S)
            with self._lock:
                if waiter.lease.entry is not None:
                    return
                if waiter.error is not None:
                    raise waiter.error
                if self.clock() >= deadline_ns:
                    self._waiters.remove(waiter)
                    break
        raise self._timed_out(waiter.lease)

    def _timed_out(self, lease: Lease[C]) -> PoolError:
        """Why there was nothing for `lease`, in full."""
        outage, holders = self._physical.outage, self.holders()
        with self._lock:
            if not holders and outage.error is not None:
                return self._unavailable()
            self.statistics.timeouts += 1
        error = PoolTimeout(
            f"Pool {self.name!r} had no connection free for {(self.clock() - lease.acquired_ns) / 1e9:.1f} s: "
            f"{len(holders)} of at most {self.config.max_size} in use, {len(self._waiters)} more threads waiting. "
            f"In use by:\n{describe(holders)}",
            holders,
        )
        error.__cause__ = outage.error
        return error

    def _withdraw(self, lease: Lease[C]) -> None:
        """acquire() failed or was interrupted, in whatever line: give up its place in line, or what it was lent."""
        with self._lock:
            for waiter in list(self._waiters):
                if waiter.lease is lease:
                    self._waiters.remove(waiter)
            entry = lease.entry
            if entry is None or entry.lease is None or entry.lease() is not lease or entry not in self._entries:
                return
            chore = self._take(entry, "(closing)")
        self._close(chore, "interrupted")

    # -- with the lock held

    def _lend(self, entry: Entry[C], lease: Lease[C]) -> None:
        entry.lease = weakref.ref(lease, self._notice_loss)
        lease.entry = entry

    def _lend_idle(self, lease: Lease[C]) -> None:
        """Lend the idle connection used last; there is one."""
        self._lend(self._idle[-1], lease)
        self._idle.pop()
        used = len(self._entries) - len(self._idle)
        if used > self.statistics.used_max:
            self.statistics.used_max = used

    def _lend_next(self, lease: Lease[C]) -> bool:
        """Lend what there is: an idle connection, else room to open one, which the holder then does."""
        if self._idle:
            self._lend_idle(lease)
            return True
        entry = self._room()
        if entry is not None:
            self._lend(entry, lease)
        return entry is not None

    def _room(self) -> Entry[C] | None:
        """A new entry to open a connection for; None when there may be no more, or the server is to be left alone."""
        if self._closed or len(self._entries) >= self.config.max_size:
            return None
        attempts = sum(entry.raw is None for entry in self._entries)
        if not self._physical.outage.allows(attempts, self.clock()):
            return None
        entry: Entry[C] = Entry(self._generation)
        self._entries.add(entry)
        self.statistics.open_max = max(self.statistics.open_max, len(self._entries))
        self.statistics.used_max = max(self.statistics.used_max, len(self._entries) - len(self._idle))
        return entry

    def _take(self, entry: Entry[C], chore: str) -> Lease[C]:
        """A lease of the pool's own, on an entry that is idle or was its caller's until now."""
        lease: Lease[C] = Lease(chore, threading.current_thread(), self.clock())
        self._lend(entry, lease)
        if entry in self._idle:
            self._idle.remove(entry)
        return lease

    def _serve(self) -> None:
        """Give the oldest waiters what there is, or the news that there will be nothing."""
        while self._waiters:
            waiter = self._waiters[0]
            # A waiter that has been lent something is left here when its benefactor was interrupted.
            if waiter.lease.entry is None and not self._lend_next(waiter.lease):
                break
            self._waiters.popleft()
            waiter.alarm.release()
        if self._waiters and self._is_hopeless():
            while self._waiters:
                self._fail(self._unavailable())

    def _fail(self, error: PoolError) -> None:
        waiter = self._waiters.popleft()
        waiter.error = error
        waiter.alarm.release()

    def _is_hopeless(self, failed: Entry[C] | None = None) -> bool:
        """Whether the server has refused for too long and there is nothing else to hope for: no connection that could
        come back, nor, as long as the server has never answered, another attempt than the one that `failed`."""
        outage = self._physical.outage
        return outage.gives_up(self.clock()) and all(
            entry is failed or (entry.raw is None and outage.reached) for entry in self._entries
        )

    def _outdated(self, entry: Entry[C]) -> str:
        """Why a connection that comes back is not to be lent again; empty when it is."""
        if entry.generation == self._generation:
            return ""
        return "pool closed" if self._closed else "evicted"

    def _unavailable(self) -> PoolUnavailable:
        self.statistics.unavailable += 1
        outage = self._physical.outage
        error = PoolUnavailable(f"Pool {self.name!r} has no connection. {outage.describe(self.clock())}")
        error.__cause__ = outage.error
        return error

    def _closed_text(self) -> str:
        return f"Pool {self.name!r} has been closed; its process is ending, or its database was taken away."

    # -- without the lock: these speak to the server

    def _open(self, entry: Entry[C]) -> None:
        """Connect, in this thread. Raises what the driver raises; the entry is the caller's to drop then."""
        self._physical.open(entry)
        if self._waiters:
            with self._lock:
                self._serve()  # A server that has answered may be asked for more.
        self.housekeeper.start()

    def _close(self, chore: Lease[C], reason: str) -> None:
        """Close a connection that the pool has taken, and give its room to the oldest waiter."""
        entry = chore.entry
        assert entry is not None
        try:
            self._physical.close(entry, reason)
        finally:
            self._drop(entry)

    def _drop(self, entry: Entry[C]) -> None:
        with self._lock:
            self._entries.discard(entry)
            self._serve()
        if self._closed or self._physical.outage.error is not None:
            self.housekeeper.wake()  # It ends with the last entry; it has the next attempt made.
