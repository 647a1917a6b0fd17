"""Who waits for pages at this moment, and how many may: in the threads of the pool, and beside it.

For all pages together, and whether for another thread or for another process. Which page, and for how long, is
flight.py's to say. A thread of the pool is taken by waiting; one that the server has spared for it is not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .ticket import Ticket

_MAX_ASIDE: Final = 256
INTERRUPTIBLE_S: Final = 0.5
"""A thread that waits hears of its interruption only when it runs again."""


class Room:
    """At most `max_waiters` threads of the pool; `max_parked` requests without one, or with one beside the pool.

    Whether there is a place is asked under Flights' lock, by followers, who need one. Leaders wait for another process
    whether there is or not, and take no lock to be counted."""

    def __init__(self, max_waiters: int, max_parked: int, brief_s: float, step_aside: Callable[[], bool]) -> None:
        self.most = {False: max_waiters, True: max_parked}
        self.brief_s = brief_s
        """What a thread may wait that the pool cannot spare."""
        self.turns = threading.Semaphore(max(1, max_waiters))
        self._step_aside = step_aside
        # Sets, in which one that was counted out already is not counted out again.
        self._waiting: dict[bool, set[Ticket[Any]]] = {False: set(), True: set()}
        self._leaders: set[Ticket[Any]] = set()
        """In the pool, for another process. No follower loses its place to them: each is one of those who make it."""

    def __len__(self) -> int:
        return len(self._leaders) + sum(map(len, self._waiting.values()))

    def bound(self, max_waiters: int) -> None:
        """How many threads may wait, from now on; with none, not briefly either."""
        self.most[False] = max_waiters
        self.turns = threading.Semaphore(max(1, max_waiters))
        if not max_waiters:
            self.brief_s = 0.0

    def has_place(self, ticket: Ticket[Any]) -> bool:
        """Whether it may wait as long as others do."""
        return len(self._waiting[ticket.is_parked]) < self.most[ticket.is_parked]

    def has(self, ticket: Ticket[Any]) -> bool:
        """Whether it waits."""
        return ticket in self._leaders or any(ticket in waiting for waiting in self._waiting.values())

    def enter(self, ticket: Ticket[Any]) -> None:
        """It waits."""
        waiting = self._leaders if ticket.is_leading and not ticket.is_parked else self._waiting[ticket.is_parked]
        waiting.add(ticket)

    def leave(self, ticket: Ticket[Any]) -> None:
        """It does no longer."""
        self._leaders.discard(ticket)
        for waiting in self._waiting.values():
            waiting.discard(ticket)

    def leaves_the_pool(self, *, late: bool = False) -> bool:
        """Whether a thread that is about to wait does so beside the pool from now on, since too many wait in it, or it
        has waited for too long."""
        has_place = len(self._waiting[False]) + len(self._leaders) < self.most[False]
        if (has_place and not late) or len(self._waiting[True]) >= _MAX_ASIDE:
            return False
        return self._step_aside()

    def turn(self, patience_s: float) -> threading.Semaphore | None:
        """Wait for the turn of a thread beside the pool to make a page. To be released; None where it has waited as
        long as for a page, and does so out of turn."""
        turns, until_s = self.turns, time.monotonic() + patience_s
        while (left_s := until_s - time.monotonic()) > 0:
            if turns.acquire(timeout=min(left_s, INTERRUPTIBLE_S)):
                return turns
        return None

    def forget_all(self) -> None:
        """They are threads of another process."""
        self.turns = threading.Semaphore(max(1, self.most[False]))
        self._waiting = {False: set(), True: set()}
        self._leaders = set()
