"""What a pool raises. Plain exceptions: the Django side turns them into subclasses of django.db.OperationalError.

A driver's own error (wrong password, server refuses) is not wrapped: the thread that tried to connect gets it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from .holders import Holder, describe


class PoolError(Exception):
    """Anything that a pool of database connections could not do."""


class PoolTimeout(PoolError):
    """No connection became free in time. `holders` says who had them, the longest holder first."""

    def __init__(self, message: str, holders: Sequence[Holder] = ()) -> None:
        super().__init__(message)
        self.holders = tuple(holders)


class PoolOverloaded(PoolError):
    """As many threads wait already as PoolConfig.max_waiters allows; this one was turned away at once."""


class PoolUnavailable(PoolError):
    """The server refuses connections and it is not yet time to ask it again. The last refusal is the `__cause__`."""


class PoolClosed(PoolError):
    """The pool has been closed: the process is ending, or the database was taken away."""


def timed_out(name: str, waited_s: float, holders: Sequence[Holder], max_size: int, waiting: int) -> PoolTimeout:
    """With a line for each of the `holders`; `waiting` are those left behind in line."""
    return PoolTimeout(
        f"Pool {name!r} had no connection free for {waited_s:.1f} s: {len(holders)} of at most {max_size} in use, "
        f"{waiting} more {'thread' if waiting == 1 else 'threads'} waiting. In use by:\n{describe(holders)}\n"
        "Have them give back sooner; or raise MAX_SIZE in POOL, if each holds its connection only shortly.",
        holders,
    )


def overloaded(name: str, waiting: int, max_waiters: int, max_size: int) -> PoolOverloaded:
    return PoolOverloaded(
        f"Pool {name!r} has no connection free, and {waiting} threads wait for one already: "
        f"MAX_WAITERS is {max_waiters}. Allow more in POOL, or raise MAX_SIZE ({max_size})."
    )


def unavailable(name: str, outage: str, refusal: Exception | None) -> PoolUnavailable:
    error = PoolUnavailable(f"Pool {name!r} has no connection. {outage}")
    error.__cause__ = refusal
    return error


def closed(name: str) -> PoolClosed:
    return PoolClosed(f"Pool {name!r} has been closed; its process is ending, or its database was taken away.")
