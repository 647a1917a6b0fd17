"""OPTIONS["pool"]: Django's own psycopg pool stays in charge; it gets our timing, holders, early release, fork hook.

Connections are taken and returned by Django's code. What is added here: every use is a lease with its request, thread
and last statement; a connection whose thread has ended goes back to the pool, which would never see it again; a
timeout names the holders; and a forked child begins with a pool of its own. Sessions are not reset: psycopg's pool
rolls back and no more.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
from django.utils.asyncio import async_unsafe

from .activity import current_label
from .adapters.base import keep_for_ever
from .config import PoolConfig
from .holders import Holder
from .lease import Lease, this_thread
from .mixin import PooledMixin
from .pool import FAIL_OVER_NS
from .statistics import PoolStatistics

if TYPE_CHECKING:
    from .adapters.base import Adapter

_THREADS_END_S = 0.25
"""So long each thread of psycopg's pool has for its end, of which it warns otherwise."""
_LOOK_S = 0.25
"""Whoever waits looks this often whether a holder has died."""
_DJANGOS_SIZE = 4
"""psycopg_pool's min_size, which is the maximum too unless max_size says otherwise."""
_SHOWN = 20
"""Holders in the text of a timeout: as many as a person would read."""


class NativePool:
    """What is known of Django's pool for one alias. It can be asked what a `Pool` can be asked."""

    def __init__(self, name: str, wrapper: PooledMixin, adapter: Adapter) -> None:
        options = wrapper.settings_dict["OPTIONS"]["pool"]
        given = options if isinstance(options, dict) else {}
        least = given.get("min_size", _DJANGOS_SIZE)
        self.name = name
        self.alias = wrapper.alias
        self.config = PoolConfig(
            max_size=given.get("max_size") or least, min_idle=least, acquire_timeout_s=given.get("timeout", 30.0)
        )
        self._adapter = adapter
        self._wrapper_class = type(wrapper)
        self._settings_dict = wrapper.settings_dict
        # Django keeps them on the class, by alias.
        self._pools: dict[str, Any] = type(wrapper)._connection_pools  # type: ignore[attr-defined]
        self._begin(forks=0)

    def _begin(self, *, forks: int) -> None:
        self._lock = threading.Lock()
        """Guards the leases, the counters and the waiters."""
        self._leases: dict[int, Lease[Any]] = {}
        self._waiters = 0
        self._is_watched = False
        self._failed_over_ns = -FAIL_OVER_NS
        self.statistics = PoolStatistics(self._lock, forks=forks)

    # -- a wrapper takes and returns a connection

    def lend(self, lease: Lease[Any]) -> None:
        """Django's pool has given a connection, after `waited_ns`."""
        with self._lock:
            self._leases[id(lease)] = lease
            counted = self.statistics
            counted.wait_time.record(lease.waited_ns)
            counted.used_max = max(counted.used_max, len(self._leases))

    def returned(self, lease: Lease[Any]) -> None:
        """The connection is back in Django's pool, or closed."""
        with self._lock:
            if self._leases.pop(id(lease), None) is not None:
                self.statistics.use_time.record(time.monotonic_ns() - lease.acquired_ns)

    def has(self, lease: Lease[Any]) -> bool:
        """Whether the lease is still the holder's; it was taken back when its thread had ended."""
        return id(lease) in self._leases

    def _take_lost(self) -> list[Lease[Any]]:
        """Lock held."""
        lost = [lease for lease in self._leases.values() if lease.is_lost()]
        for lease in lost:
            del self._leases[id(lease)]
            self.statistics.reclaimed += 1
        return lost

    def reclaim(self) -> int:
        """Return the connections of holders that are gone; how many those were."""
        with self._lock:
            lost = self._take_lost()
        for lease in lost:
            self.discard(lease)
        return len(lost)

    def discard(self, lease: Lease[Any]) -> None:
        """Give back what is not fit for another: psycopg's pool opens a new connection for one that is closed."""
        self.returned(lease)
        lease.raw.close()
        lease.raw._pool.putconn(lease.raw)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a wait in psycopg's line: while all connections are lent, see whether somebody dies with one."""
        if len(self._leases) < self.config.max_size:
            yield
            return
        self.reclaim()
        with self._lock:
            self._waiters += 1
            is_first = not self._is_watched
            self._is_watched = True
        try:
            if is_first:
                watch = threading.Thread(target=self._watch, name=f"wsgiperf-pool-{self.name}-watch", daemon=True)
                try:
                    watch.start()
                except RuntimeError:  # The interpreter is on its way out, or there can be no more threads for now.
                    self._is_watched = False
            yield
        finally:
            with self._lock:
                self._waiters -= 1

    def _watch(self) -> None:
        """In a thread of its own, for as long as there are waiters at each look."""
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                if not self._waiters:
                    self._is_watched = False
                    return
            with contextlib.suppress(psycopg.Error):  # The pool is being closed.
                self.reclaim()

    def count_timeout(self) -> str:
        """A wait was in vain. Who holds the connections, for people."""
        with self._lock:
            self.statistics.timeouts += 1
        return "\n".join(f"  {holder}" for holder in self.holders()[:_SHOWN])

    # -- what can be asked of every pool

    def holders(self) -> list[Holder]:
        """Who has the connections now, the longest holder first."""
        with self._lock:
            leases = sorted(self._leases.values(), key=lambda lease: lease.acquired_ns)
        now = time.monotonic_ns()
        return [Holder.of(lease, now, self._adapter.state(lease.raw)) for lease in leases]

    def snapshot(self) -> dict[str, Any]:
        """The numbers of this moment and all that was counted; see PoolStatistics.snapshot()."""
        pool = self._pools.get(self.alias)
        told = pool.get_stats() if pool is not None else {}
        with self._lock:
            counted = self.statistics
            counted.created = told.get("connections_num", 0)
            counted.connect_failures = told.get("connections_errors", 0)
            return counted.snapshot(
                name=self.name,
                config=self.config,
                idle=told.get("pool_available", 0),
                opened=told.get("pool_available", 0) + len(self._leases),
                pending=told.get("requests_waiting", 0),
                outage="",
            )

    def prewarm(self, count: int | None = None, timeout_s: float = 5.0) -> int:
        """Open Django's pool and wait until it has its min_size; how many connections it has then."""
        wrapper: Any = self._wrapper_class(self._settings_dict, self.alias)
        pool = wrapper.pool
        pool.open()
        pool.wait(timeout_s)
        size: int = pool.get_stats()["pool_size"]
        return size

    def evict_all(self, reason: str) -> None:
        """Have every connection that exists now replaced, where psycopg's pool can do that."""
        pool = self._pools.get(self.alias)
        if pool is not None and hasattr(pool, "drain"):
            pool.drain()

    def fail_over(self, lease: Lease[Any], reason: str) -> None:
        """evict_all() for an error of this lease's connection, but not again for a while: Pool.fail_over()."""
        with self._lock:
            now = time.monotonic_ns()
            if lease.acquired_ns < self._failed_over_ns or now < self._failed_over_ns + FAIL_OVER_NS:
                return
            self._failed_over_ns = now
        self.evict_all(reason)

    def close(self, timeout_s: float = 5.0) -> None:
        """Close Django's pool; the next use makes another."""
        pool = self._pools.pop(self.alias, None)
        if pool is not None:
            pool.close(max(timeout_s, _THREADS_END_S))

    def after_fork_in_child(self) -> None:
        """The parent's pool has no threads here, and its connections are the parent's: keep it, and never touch it."""
        leases = list(self._leases.values())
        self._begin(forks=self.statistics.forks + 1)
        pool = self._pools.pop(self.alias, None)
        if pool is None:
            return
        # Collecting it would wait for its locks, which may be held by threads that do not exist here.
        keep_for_ever(pool)
        for raw in [*(lease.raw for lease in leases), *getattr(pool, "_pool", ())]:
            self._adapter.abandon(raw)


class NativePooledMixin(PooledMixin):
    """For PostgreSQL: takes its connections from our pool, or with OPTIONS["pool"] from Django's."""

    @async_unsafe
    def get_new_connection(self, conn_params: Any) -> Any:
        pooling = self._pooling
        native = pooling.of.pool if pooling.of is not None else None
        if not isinstance(native, NativePool) or self.alias != native.alias:
            return super().get_new_connection(conn_params)
        started_ns = time.monotonic_ns()
        try:
            with native.waiting():
                raw = super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            if _is_timeout(error):
                raise type(error)(f"{error}. Held by:\n{native.count_timeout()}") from error
            raise
        now_ns = time.monotonic_ns()
        thread = None if self._thread_sharing_count else this_thread()
        lease: Lease[Any] = Lease(current_label(), thread, now_ns, weakref.ref(self))
        lease.raw = raw
        lease.waited_ns = now_ns - started_ns
        native.lend(lease)
        pooling.cursors = {}
        pooling.unfit = ""
        pooling.lease = lease
        return raw

    def _give_back_to_django(self, lease: Lease[Any], discard: str) -> None:
        of = self._pooling.of
        assert of is not None
        assert isinstance(of.pool, NativePool)
        self._pooling.cursors = {}
        # Whom psycopg's pool lends a connection that a generator still has, such as notifies(), waits for its end.
        if discard == "abandoned" or (of.pool.has(lease) and lease.raw.lock.locked()):
            of.pool.discard(lease)
        elif of.pool.has(lease):
            try:
                # With no lease this is Django's own way.
                self._close()
            finally:
                of.pool.returned(lease)


def _is_timeout(error: BaseException) -> bool:
    from psycopg_pool import PoolTimeout, TooManyRequests

    return isinstance(error, (PoolTimeout, TooManyRequests))
