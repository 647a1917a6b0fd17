"""A pool's dealings with the server: opening connections, asking whether they are alive, closing them.

Each is done in the thread that needs it, with the pool's lock free; the lock is taken only to note what came of it. Who
may have which connection is none of this module's business: that is pool.py's.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Generic

from .config import Driver, PoolConfig
from .lease import C, Entry
from .outage import Outage, is_refusal
from .statistics import PoolStatistics

logger = logging.getLogger("django_wsgiperf.db")

_NEVER = -(1 << 62)
_ALWAYS = 1 << 62


class Physical(Generic[C]):
    """The connections behind the entries of one pool, and what is known of their server. `lock` is the pool's."""

    def __init__(
        self,
        name: str,
        driver: Driver[C],
        config: PoolConfig,
        clock: Callable[[], int],
        lock: threading.RLock,
        statistics: PoolStatistics,
    ) -> None:
        self._name = name
        self._driver = driver
        self._config = config
        self._clock = clock
        self._lock = lock
        self._statistics = statistics
        self.bypass_ns = int(config.bypass_window_s * 1e9)
        self.suspect_ns = _NEVER
        """Connections last known to work no later than this are asked first, however lately that was."""
        self.outage = Outage(config.acquire_timeout_s)

    def open(self, entry: Entry[C]) -> None:
        """Connect for `entry`. Raises what the driver raises."""
        lifetime_s = self._config.max_lifetime_s * (1 - random.random() * self._config.lifetime_jitter)
        started_ns = self._clock()
        try:
            raw = self._driver.connect()
        except Exception as error:
            with self._lock:
                self._statistics.connect_failures += 1
                news = is_refusal(error) and self.outage.failed(error, started_ns, self._clock())
            if news:
                logger.warning("Pool %s could not open a connection: %s", self._name, self.outage.error)
            raise
        with self._lock:
            # At once: should the thread be interrupted in any later line, it is closed and counted with its entry.
            entry.raw = raw
            self._statistics.created += 1
            now = self._clock()
            entry.created_ns = entry.used_ns = entry.checked_ns = now
            entry.expires_ns = now + int(lifetime_s * 1e9) if lifetime_s else _ALWAYS
            self._statistics.create_time.record(now - started_ns)
            news = self.outage.succeeded()
        if news:
            logger.info("Pool %s opens connections again", self._name)

    def unfit(self, entry: Entry[C]) -> str:
        """Why a connection is not to be lent, asking the server if it has not been used lately; empty when it is."""
        now = self._clock()
        if now >= entry.expires_ns:
            return "lifetime"
        if now - entry.checked_ns < self.bypass_ns and entry.checked_ns > self.suspect_ns:
            return ""
        return "" if self.is_alive(entry) else "dead"

    def is_alive(self, entry: Entry[C]) -> bool:
        """Ask the server. When one connection is dead, the others are in doubt too."""
        assert entry.raw is not None
        try:
            alive = self._driver.is_alive(entry.raw)
        except Exception:
            alive = False
        with self._lock:
            now = self._clock()
            self._statistics.pings += 1
            if alive:
                entry.checked_ns = now
            else:
                self._statistics.ping_failures += 1
                self.suspect_ns = now
        return alive

    def close(self, entry: Entry[C], reason: str) -> None:
        """End the session, for what it is worth: a connection that cannot even be closed is gone all the same."""
        raw = entry.raw
        if raw is None:
            return
        with self._lock:
            # Whoever was interrupted in here is followed by somebody who closes it again: that is counted once.
            if not entry.is_closed:
                entry.is_closed = True
                self._statistics.closed[reason] += 1
        try:
            self._driver.close(raw)
        except Exception:
            logger.debug("Pool %s could not close a connection (%s)", self._name, reason, exc_info=True)

    def abandon(self, entry: Entry[C]) -> None:
        """In a forked child: let go of what is the parent's."""
        if entry.raw is None:
            return
        try:
            self._driver.abandon(entry.raw)
        except Exception:
            logger.debug("Pool %s could not abandon a connection of its parent", self._name, exc_info=True)

    def state(self, entry: Entry[C]) -> str:
        """What Driver.state() says, "connecting" before there is anything to say it of."""
        if entry.raw is None:
            return "connecting"
        try:
            return self._driver.state(entry.raw)
        except Exception:
            return "unknown"
