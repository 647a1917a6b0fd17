"""A pool of database connections: fewer of them than threads, lent to one thread at a time. No Django, no driver here.

A connection goes round like this: acquire() takes the idle one used last, or opens one in the calling thread while
there is room, or waits in line; release() hands it to the thread that has waited longest, or lays it on the idle stack.
Who has what and who waits is kept in places.py; the dealings with the server are in physical.py, when to ask one that
refuses in outage.py; what is done at leisure (closing what is old, refilling, finding what was lost) in housekeeper.py.

The invariants, and what keeps each:

1. Never more than `max_size` connections exist. Each has an Entry in `entries` from before it is opened until after it
   is closed, and `room()` alone adds one.
2. Nobody overtakes the line: while a thread is in `waiters`, nothing lies in `idle`, and there is no room that the
   server would let us use. Whoever changes one of these calls `serve()` before it lets go of the lock.
3. An entry lies in `idle`, or it refers to the lease of somebody who is there to give it back; the pool's own chores
   take a lease too. Whatever is neither was lost, and is found, closed and replaced by the housekeeper.
4. A waiter that gives up looks, under the lock, whether it has been served meanwhile: nothing is handed into the void.
5. The lock is never held during a call to the driver.

`_lock` guards everything but the fields of a lease that are its holder's. It is reentrant for one reason: the garbage
collector may run in any line, and with it the end of a generator that gives its connection back. Such a call finds
the lock to be its own already; it leaves its errand to the housekeeper and touches nothing. For the same reason all
pools of a process have one lock (what it guards takes a microsecond), and none is asked for while it is held. A thread
may also be interrupted in any line by an exception from outside; the order of stores makes an entry lost then, by 3.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic

from .config import Driver, PoolConfig
from .errors import PoolError, closed, timed_out
from .holders import Holder
from .housekeeper import Housekeeper
from .lease import C, Entry, Lease, this_thread
from .outage import is_refusal
from .physical import Physical
from .places import Places, Waiter
from .statistics import PoolStatistics

__all__ = ["BROKEN", "Driver", "Entry", "Holder", "Lease", "Pool", "PoolConfig"]

logger = logging.getLogger("django_wsgiperf.db")

BROKEN = "broken"
"""The reason to discard a connection that failed. The idle ones are in doubt then, and asked before they are lent."""

FAIL_OVER_NS = 5_000_000_000
"""Connections are not all replaced again within this time because of errors."""

_FIRST_LOOK_S = 0.05
_LAST_LOOK_S = 1.0
"""Whoever waits for longer looks ever more seldom whether a holder has died."""

_locks: dict[int, threading.RLock] = {}
"""The lock of this process's pools, by its number: a forked child has another, for its parent's may be held."""


def _shared_lock() -> threading.RLock:
    process = os.getpid()
    if process not in _locks:
        _locks.clear()
    return _locks.setdefault(process, threading.RLock())


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
        self._begin(forks=0)

    def _begin(self, *, forks: int) -> None:
        """Be empty, as at first and in a forked child."""
        self._lock = _shared_lock()
        self._next_fail_over_ns = 0
        self._is_inside: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        self.statistics = PoolStatistics(self._lock, forks=forks)
        self._physical = Physical(self.name, self._driver, self.config, self.clock, self._lock, self.statistics)
        self.housekeeper: Housekeeper[C] = Housekeeper(self)
        self._notice_loss = self.housekeeper.notice_loss
        self._places: Places[C] = Places(
            self.name, self.config, self.clock, self._physical.outage, self.statistics, self._notice_loss
        )

    # -- for holders

    def acquire(self, *, label: str = "", timeout_s: float | None = None) -> Lease[C]:
        """A connection, this thread's until release(). Waits at most `timeout_s` seconds, config.acquire_timeout_s.

        Opening one may take longer: how long is for the driver to say. A lease that is collected is taken back. Raises
        PoolTimeout, PoolOverloaded, PoolUnavailable, PoolClosed, or what the driver raised on opening."""
        if self._is_inside():
            raise PoolError(f"Pool {self.name!r} was asked for a connection by a destructor, in the midst of its work.")
        now = self.clock()
        lease: Lease[C] = Lease(label, this_thread(), now)
        physical, places, statistics = self._physical, self._places, self.statistics
        with self._lock:
            # What nearly always is, without a call: the same is in Physical.unfit() and Places.claim().
            if places.idle:
                entry = places.idle[-1]
                checked_ns = entry.checked_ns
                if (
                    now - checked_ns < physical.bypass_ns
                    and checked_ns > physical.suspect_ns
                    and now < entry.expires_ns
                ):
                    entry.lease = weakref.ref(lease, self._notice_loss)
                    lease.entry = entry
                    lease.raw = entry.raw  # type: ignore[assignment]  # It is None only while it is being opened.
                    places.idle.pop()
                    used = len(places.entries) - len(places.idle)
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
        now, places = self.clock(), self._places
        with self._lock:
            entry = lease.entry
            if entry is None or entry.lease is None or entry.lease() is not lease:
                return
            self.statistics.use_time.record(now - lease.acquired_ns)
            if not discard and entry.generation == places.generation:
                entry.used_ns = entry.checked_ns = now
                if places.waiters:
                    places.pass_on(entry)
                else:
                    entry.lease = None
                    places.idle.append(entry)
                return
            reason = discard or places.outdated(entry)
            if discard == BROKEN:
                self._physical.suspect_ns = now
            chore = places.take(entry, "(closing)")
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
            chores = self._places.retire()
        logger.info("Pool %s closes all of its connections: %s", self.name, reason)
        for chore in chores:
            self._close(chore, "evicted")

    def fail_over(self, lease: Lease[C], reason: str) -> None:
        """An error of this lease's connection says that its server is not what it was: evict_all(), once for them all.

        One that is older than the last eviction tells nothing new. And where the server remains as it is, such as
        read-only, each request that fails would have everybody's connections opened anew: so not again for a while."""
        if self._is_inside():
            self.housekeeper.defer(lambda: self.fail_over(lease, reason))
            return
        with self._lock:
            now, entry = self.clock(), lease.entry
            if entry is None or entry.generation != self._places.generation or now < self._next_fail_over_ns:
                return
            self._next_fail_over_ns = now + FAIL_OVER_NS
        self.evict_all(reason)

    def close(self, timeout_s: float = 5.0) -> None:
        """Lend nothing more, close what is idle, and wait `timeout_s` seconds for what other threads have.

        What comes back later is closed then; the housekeeper stays for it and ends after the last."""
        with self._lock:
            self._places.closed = True
            chores = self._places.retire()
            self._places.send_home(lambda: closed(self.name))
        for chore in chores:
            self._close(chore, "pool closed")
        self.housekeeper.finish(timeout_s)

    def after_fork_in_child(self) -> None:
        """Begin again, empty: the connections are the parent's. No other thread has survived, nor what it held."""
        before, physical = self._places, self._physical
        self._begin(forks=self.statistics.forks + 1)
        self._places.closed = before.closed
        for entry in before.entries:
            entry.lease = None
            physical.abandon(entry)

    def holders(self) -> list[Holder]:
        """Who has the connections now, the longest holder first."""
        now = self.clock()
        with self._lock:
            held = self._places.lent()
        held.sort(key=lambda pair: pair[1].acquired_ns)
        return [Holder.of(lease, now, self._physical.state(entry)) for entry, lease in held]

    def snapshot(self) -> dict[str, Any]:
        """The numbers of this moment and all that was counted, ready for JSON: PoolStatistics.snapshot() lists them."""
        with self._lock:
            return self.statistics.snapshot(
                name=self.name,
                config=self.config,
                idle=len(self._places.idle),
                opened=len(self._places.entries),
                pending=len(self._places.waiters),
                outage="" if self._physical.outage.error is None else str(self._physical.outage.error),
            )

    # -- acquiring, when the idle connection used last cannot simply be taken

    def _acquire_slowly(self, lease: Lease[C], deadline_ns: int) -> None:
        places = self._places
        useless: Entry[C] | None = None
        while True:
            with self._lock:
                is_settled = False
                try:
                    # What proved useless is given up and replaced in one step, or the place in line would be lost.
                    if useless is not None:
                        places.entries.discard(useless)
                    waiter = places.claim(lease, first=useless is not None)
                    # It took what the line had no use for, or joined it. In an outage time may have brought an attempt.
                    is_settled = useless is None and self._physical.outage.error is None
                finally:
                    if not is_settled:
                        places.serve()
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
                        if not is_refusal(error) or self.clock() >= deadline_ns or places.is_hopeless(entry):
                            raise
            useless, lease.entry = entry, None
        with self._lock:
            assert entry.raw is not None
            lease.raw = entry.raw
            now = self.clock()
            lease.waited_ns, lease.acquired_ns = now - lease.acquired_ns, now
            self.statistics.wait_time.record(lease.waited_ns)

    def _wait(self, waiter: Waiter[C], deadline_ns: int) -> None:
        """Sleep until served; raises when that does not come in time, or cannot come."""
        if self._physical.outage.error is not None:
            self.housekeeper.wake()
        look_s = _FIRST_LOOK_S
        while True:
            remaining_s = (deadline_ns - self.clock()) / 1e9
            if remaining_s > 0 and waiter.alarm.acquire(timeout=min(remaining_s, look_s)):
                if waiter.lease.entry is not None:
                    return  # The alarm goes off once, after that was set.
            else:
                self.housekeeper.close_lost()
                look_s = min(look_s * 2, _LAST_LOOK_S)
            with self._lock:
                if waiter.lease.entry is not None:
                    return
                if waiter.error is not None:
                    raise waiter.error
                if self.clock() >= deadline_ns:
                    self._places.waiters.remove(waiter)
                    break
        raise self._timed_out(waiter.lease)

    def _timed_out(self, lease: Lease[C]) -> PoolError:
        """Why there was nothing for `lease`, in full."""
        outage, holders = self._physical.outage, self.holders()
        with self._lock:
            if not holders and outage.error is not None:
                return self._places.unavailable()
            self.statistics.timeouts += 1
        waited_s = (self.clock() - lease.acquired_ns) / 1e9
        error = timed_out(self.name, waited_s, holders, self.config.max_size, len(self._places.waiters))
        error.__cause__ = outage.error
        return error

    def _withdraw(self, lease: Lease[C]) -> None:
        """acquire() failed or was interrupted, in whatever line: give up its place in line, or what it was lent."""
        with self._lock:
            self._places.leave_line(lease)
            entry = lease.entry
            if entry is None or entry.lease is None or entry.lease() is not lease or entry not in self._places.entries:
                return
            chore = self._places.take(entry, "(closing)")
        self._close(chore, "interrupted")

    # -- without the lock: these speak to the server

    def _open(self, entry: Entry[C]) -> None:
        """Connect, in this thread. Raises what the driver raises; the entry is the caller's to drop then."""
        self._physical.open(entry)
        if self._places.waiters:
            with self._lock:
                self._places.serve()  # A server that has answered may be asked for more.
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
            entry.lease = None
            self._places.entries.discard(entry)
            self._places.serve()
        if self._places.closed or self._physical.outage.error is not None:
            self.housekeeper.wake()  # It ends with the last entry; it has the next attempt made.
