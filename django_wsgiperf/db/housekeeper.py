"""What a pool does at leisure, in one thread of its own: `wsgiperf-pool-<name>`, a daemon, ended by Pool.close().

Closes what is too old or too long idle, asks idle connections whether they are alive, keeps min_idle of them, takes
back what was lost, logs what is held too long, and gives waiters their turn when it is time to ask a failing server.
It is the pool's other half: it works on the pool's own lists, under the pool's lock, and by the pool's rules.
"""

from __future__ import annotations

import bisect
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic

from .holders import Holder
from .lease import C, Entry, Lease

if TYPE_CHECKING:
    from .pool import Pool

logger = logging.getLogger("django_wsgiperf.db")

_LONGEST_REST_S = 5.0
_SHORTEST_REST_S = 0.02
_ROUNDS_PER_LIMIT = 8
"""A time limit is looked at this many times while it runs, so that it is overrun by an eighth at most."""
_PREWARM_THREADS = 8
_SLEPT_NS = 2_000_000_000
"""When the calendar has gone this much further than the pool's clock, the machine was asleep, its peers were not."""


class Housekeeper(Generic[C]):
    """The thread, its errands, and one method for each of its duties; run_once() is all of them once."""

    def __init__(self, pool: Pool[C], *, calendar_ns: Callable[[], int] = time.time_ns) -> None:
        self._pool = pool
        self._calendar_ns = calendar_ns
        self._last_look_ns: tuple[int, int] | None = None
        self._errands: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._alarm = threading.Lock()
        self._alarm.acquire()
        config = pool.config
        limits = (config.max_lifetime_s, config.idle_timeout_s, config.keepalive_s, config.leak_threshold_s)
        rest_s = min((limit / _ROUNDS_PER_LIMIT for limit in limits if limit), default=_LONGEST_REST_S)
        self._rest_s = min(_LONGEST_REST_S, max(_SHORTEST_REST_S, rest_s))

    # -- the thread

    def start(self) -> None:
        """Start the thread unless it runs, or the pool wants none."""
        if self._thread is not None or self._stopping or not self._pool.background:
            return
        with self._pool._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"wsgiperf-pool-{self._pool.name}", daemon=True)
                with contextlib.suppress(RuntimeError):  # The interpreter is on its way out: there is no leisure left.
                    thread.start()
                    self._thread = thread

    def stop(self, timeout_s: float) -> None:
        """End the thread, within `timeout_s` seconds if the driver lets it."""
        self._stopping = True
        self.wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def wake(self) -> None:
        """Look round now. Safe in any line of any thread, and so in a destructor."""
        with contextlib.suppress(RuntimeError):  # Somebody else has just done so.
            self._alarm.release()

    def defer(self, errand: Callable[[], None]) -> None:
        """Have something done that cannot be done in this line; safe where wake() is."""
        self._errands.append(errand)
        self.wake()

    def _run(self) -> None:
        while not self._stopping:
            try:
                rest_s = self.run_once()
            except Exception:
                logger.critical("The housekeeper of pool %s failed; it goes on", self._pool.name, exc_info=True)
                rest_s = self._rest_s
            self._alarm.acquire(timeout=rest_s)

    # -- the duties

    def run_once(self) -> float:
        """Everything there is to do now. Returns the seconds until there may be more."""
        pool = self._pool
        pool._close_lost()
        self._notice_sleep()
        self._close_old()
        if pool.config.keepalive_s:
            self._keep_alive()
        self._refill()
        if pool.config.leak_threshold_s:
            self._report_leaks()
        with pool._lock:
            pool._serve()
            if pool._waiters and pool._outage.error is not None:
                return min(self._rest_s, max(0.001, (pool._outage.retry_at_ns - pool._clock()) / 1e9))
        return self._rest_s

    def run_errands(self) -> None:
        while True:
            try:
                errand = self._errands.popleft()
            except IndexError:
                return
            errand()

    def _notice_sleep(self) -> None:
        """After a pause of the whole machine, which the pool's clock does not show, no connection is above doubt."""
        now, calendar = self._pool._clock(), self._calendar_ns()
        if self._last_look_ns is not None:
            then, calendar_then = self._last_look_ns
            if (calendar - calendar_then) - (now - then) > _SLEPT_NS:
                with self._pool._lock:
                    self._pool._suspect_ns = now
        self._last_look_ns = now, calendar

    def _close_old(self) -> None:
        pool, config = self._pool, self._pool.config
        now = pool._clock()
        idle_ns = int(config.idle_timeout_s * 1e9)
        old: list[tuple[Entry[C], str]] = []
        with pool._lock:
            # The stack's bottom has been idle for longest.
            for entry in list(pool._idle):
                if now >= entry.expires_ns:
                    old.append((entry, "lifetime"))
                elif idle_ns and now - entry.used_ns >= idle_ns and len(pool._idle) > config.min_idle:
                    old.append((entry, "idle"))
                else:
                    continue
                pool._idle.remove(entry)
        for entry, reason in old:
            pool._close(entry, reason)

    def _keep_alive(self) -> None:
        pool = self._pool
        keepalive_ns = int(pool.config.keepalive_s * 1e9)
        with pool._lock:
            quiet = list(pool._idle)
        for entry in quiet:
            with pool._lock:
                if entry not in pool._idle or pool._clock() - entry.checked_ns < keepalive_ns:
                    continue
                pool._idle.remove(entry)
            alive = pool._ask(entry)
            with pool._lock:
                reason = pool._outdated(entry) if alive else "dead"
                if not reason:
                    bisect.insort(pool._idle, entry, key=lambda each: each.used_ns)
                    pool._serve()
            if reason:
                pool._close(entry, reason)

    def _refill(self) -> None:
        pool = self._pool
        while self._open_one(lambda: len(pool._idle) < pool.config.min_idle and not pool._waiters):
            pass

    def prewarm(self, count: int, timeout_s: float) -> int:
        """Pool.prewarm()."""
        pool = self._pool

        def work() -> None:
            while self._open_one(lambda: len(pool._entries) < count):
                pass

        deadline_s = time.monotonic() + timeout_s
        threads = [
            threading.Thread(target=work, name=f"wsgiperf-pool-{pool.name}-prewarm-{number}", daemon=True)
            for number in range(min(count - len(pool._entries), _PREWARM_THREADS))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        with pool._lock:
            return sum(entry.raw is not None for entry in pool._entries)

    def _open_one(self, wanted: Callable[[], bool]) -> bool:
        """Open one connection for nobody, if `wanted` says so under the lock and there is room; whether it did."""
        pool = self._pool
        with pool._lock:
            entry = pool._room() if wanted() else None
        if entry is None:
            return False
        try:
            pool._open(entry)
        except Exception:
            return False
        pool._take_in(entry)
        return True

    def _report_leaks(self) -> None:
        pool = self._pool
        threshold_ns = int(pool.config.leak_threshold_s * 1e9)
        now = pool._clock()
        late: list[tuple[Entry[C], Lease[C]]] = []
        with pool._lock:
            for entry in pool._entries:
                lease = entry.lease() if entry.lease is not None else None
                if lease is None or lease.reported or lease.released or entry.raw is None:
                    continue
                if now - lease.acquired_ns >= threshold_ns:
                    lease.reported = True
                    late.append((entry, lease))
        for entry, lease in late:
            holder = Holder.of(lease, now, pool._state(entry.raw) if entry.raw is not None else "unknown")
            stack = "\n".join(f"  {line}" for line in holder.stack()) or "  (its thread has ended)"
            logger.warning(
                "Pool %s: a connection is held for long: %s. Its thread is at:\n%s", pool.name, holder, stack
            )
