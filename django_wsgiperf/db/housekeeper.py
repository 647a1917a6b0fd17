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
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from .holders import Holder
from .lease import C, Lease, this_thread

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
        self._alarm = threading.Lock()
        self._alarm.acquire()
        config = pool.config
        limits = (config.max_lifetime_s, config.idle_timeout_s, config.keepalive_s, config.leak_threshold_s)
        rest_s = min((limit / _ROUNDS_PER_LIMIT for limit in limits if limit), default=_LONGEST_REST_S)
        self._rest_s = min(_LONGEST_REST_S, max(_SHORTEST_REST_S, rest_s))

    # -- the thread

    def start(self) -> None:
        """Start the thread unless it runs, or the pool wants none."""
        if self._thread is not None or not self._pool.background:
            return
        thread = threading.Thread(target=self._run, name=f"wsgiperf-pool-{self._pool.name}", daemon=True)
        with self._pool._lock:
            is_first = self._thread is None
            if is_first:
                self._thread = thread
        if not is_first:
            return
        try:
            thread.start()
        except RuntimeError:  # The interpreter is on its way out, or there can be no more threads for now.
            self._thread = None

    def finish(self, timeout_s: float) -> None:
        """After Pool.close(): wait `timeout_s` seconds for what other threads have. The thread ends after the last."""
        pool, thread = self._pool, self._thread
        self.wake()
        self.close_lost()
        with pool._lock:
            lent = pool._places.lent()
        me = this_thread()
        # For what this thread has itself it would wait in vain.
        if thread is not None and thread is not me and all(lease.thread is not me for _, lease in lent):
            with contextlib.suppress(RuntimeError):  # It could not be started.
                thread.join(timeout_s)

    def wake(self) -> None:
        """Look round now. Safe in any line of any thread, and so in a destructor."""
        with contextlib.suppress(RuntimeError):  # Somebody else has just done so.
            self._alarm.release()

    def defer(self, errand: Callable[[], None]) -> None:
        """Have something done that cannot be done in this line; safe where wake() is."""
        self._errands.append(errand)
        self.wake()

    def notice_loss(self, _: weakref.ref[Any]) -> None:
        """A lease or its owner was collected, in any line of any thread."""
        self.wake()

    def _run(self) -> None:
        while not (self._pool._places.closed and not self._pool._places.entries):
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
        self.close_lost()
        self._notice_sleep()
        self._close_old()
        if pool.config.keepalive_s:
            self._keep_alive()
        self._refill()
        if pool.config.leak_threshold_s:
            self._report_leaks()
        with pool._lock:
            pool._places.serve()
            if pool._places.waiters and pool._physical.outage.error is not None:
                return min(self._rest_s, max(0.001, (pool._physical.outage.retry_at_ns - pool.clock()) / 1e9))
        return self._rest_s

    def close_lost(self) -> None:
        """Take back what its holder cannot give back any more. Its state is unknown, so it is closed."""
        pool = self._pool
        while self._errands:
            with contextlib.suppress(IndexError):  # Another thread was faster.
                self._errands.popleft()()
        with pool._lock:
            lost = pool._places.take_lost()
        for former, chore in lost:
            holder = "its holder is gone" if former is None else Holder.of(former, pool.clock(), "lost")
            logger.warning("Pool %s takes back a connection that was never released: %s", pool.name, holder)
            pool._close(chore, "reclaimed")

    def _notice_sleep(self) -> None:
        """After a pause of the whole machine, which the pool's clock does not show, no connection is above doubt."""
        now, calendar = self._pool.clock(), self._calendar_ns()
        if self._last_look_ns is not None:
            then, calendar_then = self._last_look_ns
            if (calendar - calendar_then) - (now - then) > _SLEPT_NS:
                with self._pool._lock:
                    self._pool._physical.suspect_ns = now
        self._last_look_ns = now, calendar

    def _close_old(self) -> None:
        pool = self._pool
        now = pool.clock()
        with pool._lock:
            old = pool._places.take_old(now)
        for chore, reason in old:
            pool._close(chore, reason)

    def _keep_alive(self) -> None:
        pool = self._pool
        keepalive_ns = int(pool.config.keepalive_s * 1e9)
        with pool._lock:
            quiet = list(pool._places.idle)
        for entry in quiet:
            with pool._lock:
                if entry not in pool._places.idle or pool.clock() - entry.checked_ns < keepalive_ns:
                    continue
                chore = pool._places.take(entry, "(keeping alive)")
            alive = pool._physical.is_alive(entry)
            self._give_back(chore, "" if alive else "dead")

    def _refill(self) -> None:
        pool = self._pool
        while self._open_one(lambda: len(pool._places.idle) < pool.config.min_idle and not pool._places.waiters):
            pass

    def prewarm(self, count: int, timeout_s: float) -> int:
        """Pool.prewarm()."""
        pool = self._pool

        def work() -> None:
            while self._open_one(lambda: len(pool._places.entries) < count):
                pass

        deadline_s = time.monotonic() + timeout_s
        threads = [
            threading.Thread(target=work, name=f"wsgiperf-pool-{pool.name}-prewarm-{number}", daemon=True)
            for number in range(min(count - len(pool._places.entries), _PREWARM_THREADS))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        with pool._lock:
            return sum(entry.raw is not None for entry in pool._places.entries)

    def _open_one(self, wanted: Callable[[], bool]) -> bool:
        """Open one connection for nobody, if `wanted` says so under the lock and there is room; whether it did."""
        pool = self._pool
        with pool._lock:
            entry = pool._places.room() if wanted() else None
            if entry is None:
                return False
            chore = pool._places.take(entry, "(opening ahead)")
        try:
            pool._open(entry)
        except Exception:
            pool._drop(entry)
            return False
        self._give_back(chore, "")
        return True

    def _give_back(self, chore: Lease[C], reason: str) -> None:
        """Lay a connection where its last use puts it in the idle stack, or close it for `reason`."""
        pool, entry = self._pool, chore.entry
        assert entry is not None
        with pool._lock:
            reason = reason or pool._places.outdated(entry)
            if not reason:
                entry.lease = None
                bisect.insort(pool._places.idle, entry, key=lambda each: each.used_ns)
                pool._places.serve()
                return
        pool._close(chore, reason)

    def _report_leaks(self) -> None:
        pool = self._pool
        threshold_ns = int(pool.config.leak_threshold_s * 1e9)
        now = pool.clock()
        with pool._lock:
            late = pool._places.late(now - threshold_ns)
        for entry, lease in late:
            holder = Holder.of(lease, now, pool._physical.state(entry))
            stack = "\n".join(f"  {line}" for line in holder.stack()) or "  (its thread has ended)"
            logger.warning(
                "Pool %s: a connection is held for long: %s. Its thread is at:\n%s", pool.name, holder, stack
            )
