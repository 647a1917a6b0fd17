"""What a pool is told: PoolConfig, its limits and times, and Driver, how it speaks to the database.

No Django: settings are read and checked in settings.py, drivers are in adapters/.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol, TypeVar

C = TypeVar("C")


class Driver(Protocol[C]):
    """What a pool asks of raw connections. Never called with the pool's lock held; any method may be slow or raise."""

    def connect(self) -> C:
        """A new connection. Reads the credentials anew each time; raises the driver's own error."""

    def close(self, raw: C) -> None:
        """End the session."""

    def is_alive(self, raw: C) -> bool:
        """Ask the server, in one round trip."""

    def abandon(self, raw: C) -> None:
        """In a forked child: let go of a connection without a word to the server, for the session is the parent's."""

    def state(self, raw: C) -> str:
        """ "idle", "active", "idle in transaction" or "unknown", without a round trip, from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """The limits of one pool in one process. Times are in seconds; ValueError when a value makes no sense."""

    max_size: int = 10
    """Connections there may be: idle, lent, being opened and being closed together."""
    min_idle: int = 0
    """Connections kept open and idle, as far as max_size allows."""
    acquire_timeout_s: float = 5.0
    max_waiters: int | None = None
    """Threads that may wait at a time; None for any number."""
    max_lifetime_s: float = 1800.0
    """Age at which a connection is replaced; 0 for never."""
    lifetime_jitter: float = 0.05
    """Up to this share of the lifetime is taken off by chance, so that connections do not all end together."""
    idle_timeout_s: float = 600.0
    """Idle connections above min_idle are closed after this; 0 for never."""
    keepalive_s: float = 0.0
    """Idle connections are asked whether they are alive this often; 0 for never."""
    bypass_window_s: float = 0.5
    """A connection used within this time is lent again unasked."""
    leak_threshold_s: float = 0.0
    """A connection held for longer is logged, with its holder; 0 for never."""

    def __post_init__(self) -> None:
        least = {"max_size": 1}
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not least.get(each.name, 0) <= value < float("inf"):
                raise ValueError(f"PoolConfig.{each.name} is {value!r}; it must be {least.get(each.name, 0)} or more.")
        if self.min_idle > self.max_size:
            raise ValueError(f"PoolConfig.min_idle is {self.min_idle}, more than max_size, {self.max_size}.")
        if self.lifetime_jitter >= 1:
            raise ValueError(f"PoolConfig.lifetime_jitter is {self.lifetime_jitter}; it must be less than 1.")
