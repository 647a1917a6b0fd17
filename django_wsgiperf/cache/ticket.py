"""One request's part in making a page that several want: its role, how it waits, how it hands over what it made.

What happens to all of them together is decided in flight.py, which makes the tickets and alone changes their roles.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from .flight import Flights

T = TypeVar("T")

logger = logging.getLogger("django_wsgiperf.cache")


class Role(Enum):
    """What a request has to do. Only FOLLOW changes, to one of the others."""

    LEAD = "lead"
    """Make the page, for others too."""
    FOLLOW = "follow"
    """Wait for the leader."""
    SERVED = "served"
    """There is a result."""
    ALONE = "alone"
    """Make the page, for this request alone."""


# Python 3.11 takes as long to find an enum's member by its name as to call a function twice.
LEAD: Final = Role.LEAD
FOLLOW: Final = Role.FOLLOW
SERVED: Final = Role.SERVED
ALONE: Final = Role.ALONE


class Why(Enum):
    """Why a request goes alone."""

    CROWDED = "crowded"
    """As many as may wait do already."""
    LATE = "late"
    """The leader took longer than it may wait."""
    UNSHARED = "unshared"
    """The answers to such requests cannot be shared."""
    FAILING = "failing"
    """Two leaders have failed."""
    NESTED = "nested"
    """The leader is this very thread, which would wait for itself."""


class Over(Generic[T]):
    """How a flight ended: with a result, or why not."""

    __slots__ = ("result", "why")

    def __init__(self, result: T | None, why: Why | None) -> None:
        self.result = result
        self.why = why


class Flight(Generic[T]):
    """A page that several want, and who makes it and who waits for it, longest first. Of several who try it the first
    to land ends it. There is none for a page that one request wants alone; see firsts.py."""

    __slots__ = ("began_s", "failures", "leaders", "line", "over", "patience")

    def __init__(self, first: Ticket[T] | None = None) -> None:
        self.began_s = float("-inf") if first is None else first.began_s
        """When the last attempt began."""
        self.patience = 0 if first is None else 1
        """How many times as long as usual those who wait do so before the next."""
        self.leaders: list[Ticket[T]] = [] if first is None else [first]
        self.line: deque[Ticket[T]] = deque()
        self.failures = 0
        self.over: Over[T] | None = None

    def begin(self, ticket: Ticket[T], now_s: float) -> None:
        """One more attempt. Flights' lock is held."""
        ticket.role = LEAD
        # After a failure it has all the time of the one before.
        self.patience = 2 * self.patience if self.leaders else max(1, self.patience)
        self.leaders.append(ticket)
        self.began_s = now_s


class Ticket(Generic[T]):
    """One request's part in a flight. `role` says what to do, `result` what came of it, `why` why it goes alone."""

    # What most never need, since nobody else wants their page, costs nothing while it is as it is here.
    result: T | None = None
    why: Why | None = None
    is_over = False
    """A leader has come to an end."""
    flight: Flight[T] | None = None
    """None while nobody else wants the page."""
    deadline_s = 0.0
    is_brief = False
    """It waits although there is no room for it."""
    is_parked = False
    is_aside = False
    """It waits, or has waited, in a thread beside the pool."""
    _turn: threading.Semaphore | None = None
    _alarm: threading.Lock | None = None
    _callback: Callable[[Ticket[T]], None] | None = None

    def __init__(
        self, flights: Flights[T], key: str | bytes, role: Role, thread: int | None = None, began_s: float = 0.0
    ) -> None:
        self.key = key
        self.role = role
        self._flights = flights
        self.thread = thread
        """Where it would wait for itself if it leads; None if it leads in no thread of its own."""
        self.began_s = began_s
        """When its attempt began, as long as it has no flight."""

    @property
    def is_following(self) -> bool:
        """Whether it has yet to get its role."""
        return self.role is FOLLOW

    @property
    def waits_s(self) -> float:
        """How long it may yet wait."""
        return max(0.0, self.deadline_s - self._flights._clock())

    @property
    def is_leading(self) -> bool:
        """Whether others count on it."""
        return self.role is LEAD and not self.is_over

    # -- a follower's part

    def wait(self) -> Role:
        """Wait for what becomes of the leader, in this thread. The new role, never FOLLOW."""
        if not self.is_following:
            return self.role
        self.is_aside = self.is_parked = self.is_aside or self._flights.room.leaves_the_pool()
        self.thread = threading.get_ident()
        alarm = self._alarm = threading.Lock()
        alarm.acquire()
        try:
            if self._flights.enter(self):
                self._sleep(alarm)
        except BaseException:
            # Interrupted. Whoever was made leader in that moment passes it on.
            self._flights.leave(self, Why.LATE)
            if self.is_leading:
                self.fail()
            raise
        if self.role is ALONE and self.why is not Why.LATE:
            self.takes_its_turn()
        return self.role

    def _sleep(self, alarm: threading.Lock) -> None:
        # Not for longer than that at a time: a thread that waits hears of its interruption only when it runs.
        while not alarm.acquire(timeout=min(self.waits_s, self._flights.wait_s)) and not self.is_late():
            if not self.is_aside and self._flights.room.leaves_the_pool(late=True):
                self._flights.moved_aside(self)

    def call_when_over(self, callback: Callable[[Ticket[T]], None]) -> bool:
        """Have the follower called back, once, with its new role, in the thread of whoever brings it. False when it
        has its new role already; then nothing is called. Nobody looks at the clock: is_late() does that."""
        self.is_parked = True
        self.thread = None
        self._callback = callback
        return self._flights.enter(self)

    def is_late(self) -> bool:
        """After waits_s: whether it has its new role now. If not, it is to wait for waits_s again."""
        return self._flights.late(self)

    def leave(self) -> bool:
        """Wait no longer. False when it has another role by now."""
        return self._flights.leave(self, Why.LATE)

    # -- a leader's part

    def goes_on(self) -> None:
        """It is about to begin, and not late yet."""
        self._flights.goes_on(self)

    def waits_elsewhere(self) -> None:
        """It waits for another process: it is one of those who wait here, and does so beside the pool where too many
        do."""
        room = self._flights.room
        if not room.has(self):
            self.is_aside = self.is_aside or room.leaves_the_pool()
            self.is_parked = self.is_aside or self.thread is None
            room.enter(self)

    def waits_no_longer(self) -> None:
        """Not for another process."""
        self._flights.room.leave(self)

    def takes_its_turn(self) -> None:
        """It is to make the page after all: where it has waited beside the pool, one by one."""
        if self.is_aside and self._turn is None:
            self._turn = self._flights.room.turn(self._flights.wait_s)

    def land(self, result: T) -> None:
        """Here it is, for all who wait."""
        if not self.lands_alone():
            self._flights.end(self, Over(result, None))

    def lands_alone(self) -> bool:
        """As land(), while nobody waits. Else nothing, and False."""
        flights = self._flights
        marked_until_s = flights.hit_for_miss.until_s
        if marked_until_s(self.key) is not None:
            flights.hit_for_miss.unmark(self.key)
        return flights.firsts.ends(self)

    def release(self, ttl_s: float) -> None:
        """It cannot be shared: all make their own, and for `ttl_s` seconds nobody waits for such a page."""
        if ttl_s > 0:
            self._flights.hit_for_miss.mark(self.key, ttl_s)
        if not self._flights.firsts.ends(self):
            self._flights.end(self, Over(None, Why.UNSHARED))

    def fail(self) -> None:
        """It could not be made."""
        self._flights.end(self, Over(None, Why.FAILING))

    def close(self) -> None:
        """The request is over. Who leads and has not landed has failed. To be called again where it was interrupted."""
        if self.is_leading:
            self.fail()
        elif self.is_following:
            self.leave()
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.release()

    def __enter__(self) -> Ticket[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- in Flights' hands

    def wake(self) -> None:
        """It has its new role. No lock held."""
        callback = self._callback
        if callback is None:
            assert self._alarm is not None
            self._alarm.release()
            return
        try:
            callback(self)
        except Exception:
            logger.exception("A request that waited for a page could not be called back")
            if self.is_leading:
                self.fail()
