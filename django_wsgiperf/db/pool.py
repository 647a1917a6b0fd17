"""A pool of database connections: fewer of them than threads, lent to one thread at a time. No Django, no driver here.

A connection goes round like this: acquire() takes the idle one used last, or opens one in the calling thread while
there is room, or waits in line; release() hands it to the thread that has waited longest, or lays it on the idle stack.
What is done at leisure (closing what is old, refilling, finding what was lost) is in housekeeper.py, when to ask a
server that refuses is in outage.py, what is counted in statistics.py.

The invariants, and what keeps each:

1. Never more than `max_size` connections exist. Each has an Entry in `_entries` from before it is opened until after it
   is closed, and `_room()` alone adds one.
2. While a thread waits in `_waiters`, nothing lies in `_idle` and there is no room that the server would let us use:
   whoever changes one of these calls `_serve()` before it lets go of the lock. So nobody overtakes the line.
3. A connection is idle, lent (its entry refers to a lease), or in the hands of one thread that checks or closes it.
   A waiter that gives up looks under the lock whether it has been served meanwhile: no connection is handed into
   the void. A lease whose thread, owner or last reference is gone is taken back, and its connection closed.
4. No call to the driver is made with the lock held.

`_lock` guards everything but the fields of a lease that are its holder's. It is reentrant for one reason: the garbage
collector may run in any line, and with it the end of a generator that gives its connection back. Such a call finds
the lock its own; it leaves its errand to the housekeeper and changes nothing. A thread may also be interrupted in any
line by an exception from outside; stores are in an order that lets the housekeeper find whatever that leaves.
"""

from __future__ import annotations

import logging
import random
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
from .outage import Outage
from .statistics import PoolStatistics

__all__ = ["BROKEN", "Driver", "Entry", "Holder", "Lease", "Pool", "PoolConfig"]

logger = logging.getLogger("django_wsgiperf.db")

BROKEN = "broken"
"""The reason to discard a connection that failed: all idle ones are then asked if they are alive, before they are lent."""

_NEVER = -(1 << 62)
_ALWAYS = 1 << 62


class _Waiter(Generic[C]):
    """A thread in line, and the lock it sleeps on. It is served when `lease.entry` or `error` is set."""

    __slots__ = ("alarm", "error", "lease")

    def __init__(self, lease: Lease[C]) -> None:
        self.lease = lease
        self.error: PoolError | None = None
        self.alarm = threading.Lock()
        self.alarm.acquire()


class Pool(Generic[C]):
    """At most `config.max_size` connections of `driver`; `name` is shown in errors, logs and thread names.

    `clock` gives nanoseconds that never go back. Without `background` nothing is done at leisure, unless a test calls
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
        self._driver = driver
        self._clock = clock
        self.background = background
        self._bypass_ns = int(self.config.bypass_window_s * 1e9)
        self._closed = False
        self._begin(forks=0)

    def _begin(self, *, forks: int) -> None:
        """An empty pool, as at first and in a forked child."""
        self._lock = threading.RLock()
        self._is_inside: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        self._entries: set[Entry[C]] = set()
        self._idle: list[Entry[C]] = []
        self._waiters: deque[_Waiter[C]] = deque()
        self._generation = 0
        self._suspect_ns = _NEVER
        """Connections last known to work before this are asked, however lately that was."""
        self._outage = Outage(self.config.acquire_timeout_s)
        self.statistics = PoolStatistics(self._lock, forks=forks)
        self.housekeeper: Housekeeper[C] = Housekeeper(self)

    # -- for holders

    def acquire(self, *, label: str = "", timeout_s: float | None = None, owner: object | None = None) -> Lease[C]:
        """A connection, this thread's until release(). Waits `timeout_s` seconds (the configuration's) at most.

        Opening a connection may take longer: that time is the driver's. `owner` is referred to weakly; when it is
        collected the lease is taken back. Raises PoolTimeout, PoolOverloaded, PoolUnavailable, PoolClosed, or what the
        driver raised on opening a connection."""
        if self._is_inside():
            raise PoolError(f"Pool {self.name!r} was asked for a connection by a destructor that interrupted the pool.")
        now = self._clock()
        lease: Lease[C] = Lease(
            label, threading.current_thread(), now, None if owner is None else weakref.ref(owner, self._on_lost)
        )
        with self._lock:
            if self._idle:
                entry = self._idle[-1]
                checked_ns = entry.checked_ns
                if now - checked_ns < self._bypass_ns and checked_ns > self._suspect_ns and now < entry.expires_ns:
                    self._lend(entry, lease)
                    self._idle.pop()
                    lease.raw = entry.raw  # type: ignore[assignment]  # None only while it is being opened.
                    self.statistics.wait_time.record(0)
                    return lease
        timeout_s = self.config.acquire_timeout_s if timeout_s is None else timeout_s
        try:
            self._acquire_slowly(lease, now + int(timeout_s * 1e9))
        except BaseException:
            self._abandon(lease)
            raise
        return lease

    def release(self, lease: Lease[C], *, discard: str = "") -> None:
        """Give a connection back, in a state fit for the next; or have it closed, for the reason `discard`.

        May be called again, from any thread, after a fork and after close(): what is not ours any more is let be."""
        if self._is_inside():
            self.housekeeper.defer(lambda: self.release(lease, discard=discard))
            return
        now = self._clock()
        with self._lock:
            entry = lease.entry
            if lease.released or entry is None:
                return
            lease.released = True
            self.statistics.use_time.record(now - lease.acquired_ns)
            reason = discard or self._outdated(entry)
            if not reason:
                entry.used_ns = entry.checked_ns = now
                self._shelve(entry)
                return
            if discard == BROKEN:
                self._suspect_ns = now
            entry.lease = None
        self._close(entry, reason)

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
            idle, self._idle = self._idle, []
        logger.info("Pool %s closes all of its connections: %s", self.name, reason)
        for entry in idle:
            self._close(entry, reason)

    def close(self, timeout_s: float = 5.0) -> None:
        """Lend nothing more, close what is idle, and wait `timeout_s` seconds for the rest, closed as it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            while self._waiters:
                self._fail(self._waiters.popleft(), self._closed_error())
        deadline_s = time.monotonic() + timeout_s
        self.housekeeper.stop(timeout_s)
        for entry in idle:
            self._close(entry, "pool closed")
        while self._entries and time.monotonic() < deadline_s:
            self._close_lost()
            time.sleep(0.005)

    def after_fork_in_child(self) -> None:
        """Begin again, empty: the connections are the parent's. No other thread has survived, nor what it held."""
        entries = self._entries
        self._begin(forks=self.statistics.forks + 1)
        for entry in entries:
            lease = entry.lease() if entry.lease is not None else None
            if lease is not None:
                lease.released = True
            if entry.raw is not None:
                try:
                    self._driver.abandon(entry.raw)
                except Exception:
                    logger.debug("Pool %s could not abandon a connection of its parent", self.name, exc_info=True)

    def holders(self) -> list[Holder]:
        """Who has the connections now, the longest holder first."""
        now = self._clock()
        with self._lock:
            lent = [(entry, entry.lease()) for entry in self._entries if entry.lease is not None]
        held = [(entry.raw, lease) for entry, lease in lent if lease is not None and not lease.released]
        held.sort(key=lambda pair: pair[1].acquired_ns)
        return [Holder.of(lease, now, "connecting" if raw is None else self._state(raw)) for raw, lease in held]

    def snapshot(self) -> dict[str, Any]:
        """The numbers of this moment and all that was counted, ready for JSON: PoolStatistics.snapshot() lists them."""
        with self._lock:
            return self.statistics.snapshot(
                name=self.name,
                config=self.config,
                idle=len(self._idle),
                used=sum(entry.lease is not None for entry in self._entries),
                opened=len(self._entries),
                pending=len(self._waiters),
                outage="" if self._outage.error is None else f"{self._outage.error}",
            )

    # -- acquiring, when it is not the moment's work of taking an idle connection just used

    def _acquire_slowly(self, lease: Lease[C], deadline_ns: int) -> None:
        failed: Entry[C] | None = None
        error: Exception | None = None
        while True:
            with self._lock:
                # What proved useless is given up and replaced in one step, or the place in line would be lost.
                if failed is not None:
                    self._entries.discard(failed)
                waiter = self._claim(lease, first=failed is not None, error=error)
                self._serve()
            if waiter is not None:
                self._wait(waiter, deadline_ns)
            entry = lease.entry
            assert entry is not None
            if entry.raw is None:
                try:
                    self._open(entry)
                except Exception as refusal:
                    error = refusal
                    if self._clock() >= deadline_ns or self._is_hopeless():
                        raise
                else:
                    lease.is_new = True
                    break
            else:
                reason = self._unfit(entry)
                if not reason:
                    break
                self._close_raw(entry, reason)
            failed, lease.entry = entry, None
        with self._lock:
            assert entry.raw is not None
            lease.raw = entry.raw
            now = self._clock()
            lease.waited_ns, lease.acquired_ns = now - lease.acquired_ns, now
            self.statistics.wait_time.record(lease.waited_ns)

    def _claim(self, lease: Lease[C], *, first: bool, error: Exception | None) -> _Waiter[C] | None:
        """Lend `lease` an idle connection or room to open one, or put it in line, `first` or last. Lock held."""
        if self._closed:
            raise self._closed_error()
        if first or not self._waiters:
            entry = self._idle[-1] if self._idle else self._room()
            if entry is not None:
                self._lend(entry, lease)
                if self._idle:
                    self._idle.pop()
                return None
        if self._is_hopeless():
            self.statistics.unavailable += 1
            raise self._unavailable() from self._outage.error
        waiter = _Waiter(lease)
        if first:
            self._waiters.appendleft(waiter)
        else:
            if self.config.max_waiters is not None and len(self._waiters) >= self.config.max_waiters:
                self.statistics.overloaded += 1
                raise PoolOverloaded(
                    f"Pool {self.name!r} has no connection free, and {len(self._waiters)} threads wait already, "
                    f"which is its max_waiters. Let more wait, or raise max_size ({self.config.max_size})."
                ) from error
            self._waiters.append(waiter)
        self.statistics.pending_max = max(self.statistics.pending_max, len(self._waiters))
        return waiter

    def _wait(self, waiter: _Waiter[C], deadline_ns: int) -> None:
        """Sleep until served; raises when that does not come in time, or cannot."""
        if self._outage.restricts():
            self.housekeeper.wake()
        remaining_s = (deadline_ns - self._clock()) / 1e9
        if not (remaining_s > 0 and waiter.alarm.acquire(timeout=min(remaining_s, threading.TIMEOUT_MAX))):
            self._close_lost()
        with self._lock:
            if waiter.lease.entry is not None:
                return
            if waiter.error is not None:
                raise waiter.error from self._outage.error
            self._waiters.remove(waiter)
            self.statistics.timeouts += 1
            waiting, cause = len(self._waiters), self._outage.error
        holders = self.holders()
        raise PoolTimeout(
            f"Pool {self.name!r} had no connection free for {(self._clock() - waiter.lease.acquired_ns) / 1e9:.1f} s: "
            f"{len(holders)} of at most {self.config.max_size} in use, {waiting} more threads waiting. "
            f"Held by:\n{describe(holders)}",
            holders,
        ) from cause

    def _abandon(self, lease: Lease[C]) -> None:
        """acquire() failed or was interrupted, in whatever line: give up the place in line, or what was lent."""
        with self._lock:
            for waiter in self._waiters:
                if waiter.lease is lease:
                    self._waiters.remove(waiter)
                    break
            entry, lease.released = lease.entry, True
            if entry is None or entry not in self._entries or entry.lease is None or entry.lease() is not lease:
                return
            entry.lease = None
        self._close(entry, "interrupted")

    # -- primitives; those that change something are called with the lock held

    def _lend(self, entry: Entry[C], lease: Lease[C]) -> None:
        entry.lease = weakref.ref(lease, self._on_lost)
        lease.entry = entry
        used = len(self._entries) - len(self._idle)
        if used >= self.statistics.used_max:
            self.statistics.used_max = sum(each.lease is not None for each in self._entries)

    def _shelve(self, entry: Entry[C]) -> None:
        """Lay a fit connection on the idle stack, or hand it to the oldest waiter."""
        self._idle.append(entry)
        entry.lease = None
        if self._waiters:
            self._serve()

    def _serve(self) -> None:
        """Give the oldest waiters what there is: idle connections, else room to open one; else the bad news."""
        while self._waiters:
            entry = self._idle[-1] if self._idle else self._room()
            if entry is None:
                break
            waiter = self._waiters[0]
            self._lend(entry, waiter.lease)
            if self._idle:
                self._idle.pop()
            self._waiters.popleft()
            waiter.alarm.release()
        if self._waiters and self._is_hopeless():
            while self._waiters:
                self.statistics.unavailable += 1
                self._fail(self._waiters.popleft(), self._unavailable())

    def _room(self) -> Entry[C] | None:
        """A new entry to open a connection for; None when there may be no more, or the server is to be left alone."""
        if len(self._entries) >= self.config.max_size or self._closed:
            return None
        if self._outage.restricts():
            attempts = sum(entry.raw is None for entry in self._entries)
            if not self._outage.allows(attempts, self._clock()):
                return None
        entry: Entry[C] = Entry(self._generation)
        self._entries.add(entry)
        self.statistics.open_max = max(self.statistics.open_max, len(self._entries))
        return entry

    def _is_hopeless(self) -> bool:
        """Whether there is no connection that could come back, and the server has refused for too long."""
        return self._outage.gives_up(self._clock()) and all(entry.raw is None for entry in self._entries)

    def _outdated(self, entry: Entry[C]) -> str:
        """Why a connection that comes back is not to be lent again; empty when it is."""
        if self._closed:
            return "pool closed"
        return "evicted" if entry.generation != self._generation else ""

    def _fail(self, waiter: _Waiter[C], error: PoolError) -> None:
        waiter.error = error
        waiter.alarm.release()

    def _closed_error(self) -> PoolClosed:
        return PoolClosed(f"Pool {self.name!r} has been closed.")

    def _unavailable(self) -> PoolUnavailable:
        outage, now = self._outage, self._clock()
        return PoolUnavailable(
            f"Pool {self.name!r} has no connection: the server has refused for {(now - outage.since_ns) / 1e9:.1f} s, "
            f"and is asked again in {max(0, outage.retry_at_ns - now) / 1e9:.1f} s. It said: {outage.error}"
        )

    # -- what speaks to the driver; never with the lock held

    def _open(self, entry: Entry[C]) -> None:
        """Connect, in this thread. Raises what the driver raises, and then `entry` is gone."""
        started = self._clock()
        try:
            raw = self._driver.connect()
        except BaseException as error:
            with self._lock:
                self.statistics.connect_failures += 1
                now = self._clock()
                news = isinstance(error, Exception) and self._outage.failed(error, started, now)
                self._entries.discard(entry)
                self._serve()
            if news:
                logger.warning("Pool %s could not open a connection: %s", self.name, error)
            raise
        lifetime_s = self.config.max_lifetime_s * (1 - random.random() * self.config.lifetime_jitter)
        with self._lock:
            now = self._clock()
            entry.raw = raw
            entry.created_ns = entry.used_ns = entry.checked_ns = now
            entry.expires_ns = now + int(lifetime_s * 1e9) if lifetime_s else _ALWAYS
            self.statistics.created += 1
            self.statistics.create_time.record(now - started)
            news = self._outage.succeeded()
            self._serve()
        if news:
            logger.info("Pool %s opens connections again", self.name)
        self.housekeeper.start()

    def _unfit(self, entry: Entry[C]) -> str:
        """Why a connection is not to be lent, asking the server if it has not been used lately; empty when it is."""
        now = self._clock()
        if now >= entry.expires_ns:
            return "lifetime"
        if now - entry.checked_ns < self._bypass_ns and entry.checked_ns > self._suspect_ns:
            return ""
        return "" if self._ask(entry) else "dead"

    def _ask(self, entry: Entry[C]) -> bool:
        """Whether a connection is alive. When it is not, the others are in doubt too."""
        assert entry.raw is not None
        try:
            alive = self._driver.is_alive(entry.raw)
        except Exception:
            alive = False
        with self._lock:
            now = self._clock()
            self.statistics.pings += 1
            if alive:
                entry.checked_ns = now
            else:
                self.statistics.ping_failures += 1
                self._suspect_ns = now
        return alive

    def _take_in(self, entry: Entry[C]) -> None:
        """Put a connection that was opened for nobody to the idle ones."""
        with self._lock:
            reason = self._outdated(entry)
            if not reason:
                self._shelve(entry)
                return
        self._close(entry, reason)

    def _close(self, entry: Entry[C], reason: str) -> None:
        """Close the connection of an entry that is nobody's, and give its room to the oldest waiter."""
        try:
            self._close_raw(entry, reason)
        finally:
            with self._lock:
                self._entries.discard(entry)
                self._serve()

    def _close_raw(self, entry: Entry[C], reason: str) -> None:
        raw = entry.raw
        if raw is None:
            return
        with self._lock:
            self.statistics.count_closed(reason)
        try:
            self._driver.close(raw)
        except Exception:
            logger.debug("Pool %s could not close a connection (%s)", self.name, reason, exc_info=True)

    def _close_lost(self) -> None:
        """Take back what its holder can not give back any more. Its state is unknown, so it is closed."""
        self.housekeeper.run_errands()
        lost: list[tuple[Entry[C], Lease[C] | None]] = []
        with self._lock:
            for entry in self._entries:
                if entry.lease is None or entry in self._idle:
                    continue
                lease = entry.lease()
                if lease is None or lease.is_lost():
                    lost.append((entry, lease))
            for entry, lease in lost:
                entry.lease = None
                self.statistics.reclaimed += 1
                if lease is not None:
                    lease.released = True
        for entry, lease in lost:
            holder = "a holder that is gone" if lease is None else Holder.of(lease, self._clock(), "lost")
            logger.warning("Pool %s takes back a connection that was never released: %s", self.name, holder)
            self._close(entry, "reclaimed")

    def _state(self, raw: C) -> str:
        try:
            return self._driver.state(raw)
        except Exception:
            return "unknown"

    def _on_lost(self, _: weakref.ref[Any]) -> None:
        """A lease or its owner was collected, in any thread and any line: only wake the one who will look."""
        self.housekeeper.wake()
