"""What a pool raises. Plain exceptions: the Django side turns them into subclasses of django.db.OperationalError.

A driver's own error (wrong password, server refuses) is not wrapped: the thread that tried to connect gets it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .holders import Holder


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
