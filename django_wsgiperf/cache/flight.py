"""Many requests for one missing page, and one that makes it. Threads, a key and a result; no HTTP, no store.

The first to board() for a key leads and makes the page. Others follow: they wait(), or have themselves called, and get
what the leader landed. Whether that suits them (its Vary, its cookies) is theirs to check. Whoever need or cannot
follow goes alone: too many wait already, the answers cannot be shared, it has waited long enough.

When a leader fails, the follower that has waited longest leads instead; when that fails too, all go alone, and so do
those who come within a second. When a leader takes long, one of the others tries it too, after `wait_s`, another after
twice as long again, and so on; the first to land serves all. So a page of k times `wait_s` is made log2(k + 1) times,
rounded up, however many want it. `_lock` guards all of it, and is never held while anything is made or waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from . import forking
from .hit_for_miss import HitForMiss, Key
from .ticket import Flight, Over, Role, Ticket, Why

__all__ = ["FlightNumbers", "Flights", "Role", "Ticket", "Why"]

T = TypeVar("T")

_FAILING_TTL_S: Final = 1.0
_MAX_ASIDE: Final = 256
_INTERRUPTIBLE_S: Final = 0.5
"""A thread that waits hears of its interruption only when it runs again."""
_MANY: Final = 4_096
"""More flights than any process has threads: some of them have lost their leader without a word."""


@dataclass(slots=True)
class FlightNumbers:
    """What has happened so far, and how many wait at this moment."""

    led: int = 0
    served: int = 0
    promoted: int = 0
    alone: int = 0
    waiting: int = 0


class Flights(Generic[T]):
    """At most `max_waiters` threads wait, for all keys together; further ones for `brief_s` seconds, and then make the
    page themselves: a quick page is made once all the same. And `max_parked` requests without a thread, which
    call_when_over() is for.

    Where the server can spare further threads beside its pool, which `step_aside` asks it for, they wait as long as the
    others, and so does who has waited in the pool for `wait_s`. Those of them who have to make the page themselves come
    one by one: it is for their number that the pool has a bound."""

    def __init__(
        self,
        *,
        max_waiters: int,
        wait_s: float = 5.0,
        brief_s: float = 0.0,
        max_parked: int = 1_000,
        hit_for_miss: HitForMiss | None = None,
        step_aside: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wait_s = wait_s
        self._brief_s = brief_s
        self.hit_for_miss = HitForMiss(clock=clock) if hit_for_miss is None else hit_for_miss
        self._step_aside = step_aside
        self._turns = threading.Semaphore(max(1, max_waiters))
        self._clock = clock
        self._lock = threading.Lock()
        self._flights: dict[Key, Flight[T]] = {}
        self._most = {False: max_waiters, True: max_parked}
        self._waiting = {False: 0, True: 0}
        self._numbers = FlightNumbers()
        self.unboarded = 0
        """Requests that were not boarded, as others' answers are of no use to them, most likely. Written without the
        lock, in one statement."""
        forking.watch(self)

    def bound(self, max_waiters: int) -> None:
        """How many threads may wait, from now on; with none, not briefly either."""
        with self._lock:
            self._most[False] = max_waiters
            self._turns = threading.Semaphore(max(1, max_waiters))
            if not max_waiters:
                self._brief_s = 0.0

    def board(self, key: Key, *, parks: bool = False) -> Ticket[T]:
        """The request's role. Returns at once. A leader must land(), release() or fail(); leaving the ticket's `with`
        block without is to fail. It first looks once more whether the page is there: the one before it may have landed
        between the first look and board(). A request that `parks` waits by call_when_over(), and its thread serves
        others besides."""
        now_s = self._clock()
        thread = None if parks else threading.get_ident()
        ticket = Ticket(self, key)
        unshared = self.hit_for_miss.is_marked(key)
        with self._lock:
            if unshared:
                return self._alone(ticket, Why.UNSHARED)
            if len(self._flights) > _MANY:
                self._forget_lost(now_s)
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = Flight()
            elif thread is not None and thread in flight.threads:
                return self._alone(ticket, Why.NESTED)
            ticket.flight = flight
            if now_s < self._next_attempt_s(flight):
                ticket.deadline_s = self._next_attempt_s(flight)
                return ticket
            flight.begin(ticket, now_s)
            ticket.leads_in(thread)
            self._numbers.led += 1
            return ticket

    def alone(self, why: Why | None = None, key: Key = "") -> Ticket[T]:
        """A ticket for a request whose answer is nobody else's: it waits for none, and none waits for it."""
        ticket = Ticket(self, key)
        ticket.role = Role.ALONE
        ticket.why = why
        return ticket

    def numbers(self) -> FlightNumbers:
        """For people and metrics."""
        with self._lock:
            numbers = self._numbers
            return replace(numbers, waiting=sum(self._waiting.values()), alone=numbers.alone + self.unboarded)

    def leaves_the_pool(self, *, late: bool = False) -> bool:
        """Whether a thread that is about to wait does so beside the pool from now on, since too many wait in it, or it
        has waited for too long."""
        if (self._waiting[False] < self._most[False] and not late) or self._waiting[True] >= _MAX_ASIDE:
            return False
        return self._step_aside()

    def turn(self) -> threading.Semaphore | None:
        """Wait for the turn of a thread beside the pool to make a page. To be released; None where it has waited as
        long as for a page, and does so out of turn."""
        turns, until_s = self._turns, time.monotonic() + self.wait_s
        while (left_s := until_s - time.monotonic()) > 0:
            if turns.acquire(timeout=min(left_s, _INTERRUPTIBLE_S)):
                return turns
        return None

    def after_fork_in_child(self) -> None:
        """Those who lead and wait are threads of the parent."""
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(max(1, self._most[False]))
        self._waiting = {False: 0, True: 0}
        self._flights.clear()

    def _next_attempt_s(self, flight: Flight[T]) -> float:
        """When another may try what the leader has not landed: each time it takes twice as long, since a page that is
        slow for one is slower for many."""
        return flight.began_s + self.wait_s * flight.patience

    def _forget_lost(self, now_s: float) -> None:
        for key in [key for key, flight in self._flights.items() if now_s >= self._next_attempt_s(flight)]:
            del self._flights[key]

    def _alone(self, ticket: Ticket[T], why: Why) -> Ticket[T]:
        ticket.role = Role.ALONE
        ticket.why = why
        self._numbers.alone += 1
        return ticket

    def enter(self, ticket: Ticket[T]) -> bool:
        """Put a follower in line; False when it has another role by now, as it gets when there is no room."""
        with self._lock:
            if ticket.role is not Role.FOLLOW or ticket.flight is None:
                return False
            over = ticket.flight.over
            if over is not None and over.why is Why.FAILING and ticket.flight.failures < 2:
                # It failed between board() and now, while nobody stood in line.
                self._follow_next(ticket, ticket.flight.failures)
                over = ticket.flight.over
            if ticket.is_leading:
                return False
            if over is not None:
                self._decide(ticket, over)
            elif not self._has_patience(ticket):
                self._alone(ticket, Why.CROWDED)
            else:
                self._waiting[ticket.is_parked] += 1
                ticket.flight.line.append(ticket)
                return True
        return False

    def _has_patience(self, ticket: Ticket[T]) -> bool:
        """Whether it may wait, however briefly. `_lock` held."""
        if self._waiting[ticket.is_parked] < self._most[ticket.is_parked]:
            return True
        if ticket.is_parked or not self._brief_s:
            return False
        ticket.is_brief = True
        ticket.deadline_s = min(ticket.deadline_s, self._clock() + self._brief_s)
        return True

    def _follow_next(self, ticket: Ticket[T], failures: int) -> None:
        """After a failed flight: follow the one that has begun since, or lead it."""
        flight = ticket.flight = self._flights.get(ticket.key)
        if flight is None:
            flight = ticket.flight = self._flights[ticket.key] = Flight()
            flight.failures = failures
            self._promote(ticket)
            ticket.leads_in(threading.get_ident())

    def _promote(self, ticket: Ticket[T]) -> None:
        assert ticket.flight is not None
        ticket.flight.begin(ticket, self._clock())
        self._numbers.promoted += 1

    def late(self, ticket: Ticket[T]) -> bool:
        """A follower's patience is over: whether it has another role now, since it is the one that tries the page too,
        or could wait briefly only. If not, it is to wait until its new deadline."""
        with self._lock:
            flight = ticket.flight
            if ticket.role is not Role.FOLLOW or flight is None:
                return True
            if self._clock() < ticket.deadline_s:
                return False
            if ticket.is_brief:
                self._out_of_line(ticket)
                self._alone(ticket, Why.LATE)
            elif self._clock() < self._next_attempt_s(flight):
                ticket.deadline_s = self._next_attempt_s(flight)
                return False
            else:
                self._out_of_line(ticket)
                self._promote(ticket)
            return True

    def moved_aside(self, ticket: Ticket[T]) -> None:
        """A follower that stands in line waits beside the pool from now on."""
        with self._lock:
            if ticket.role is Role.FOLLOW:
                self._waiting[False] -= 1
                self._waiting[True] += 1
                ticket.is_parked = True
            ticket.is_aside = True

    def goes_on(self, ticket: Ticket[T]) -> None:
        """A leader is not late yet: it waits for another process, say."""
        if ticket.flight is not None:
            ticket.flight.began_s = self._clock()

    def _out_of_line(self, ticket: Ticket[T]) -> None:
        """`_lock` held."""
        assert ticket.flight is not None
        if ticket in ticket.flight.line:
            ticket.flight.line.remove(ticket)
            self._waiting[ticket.is_parked] -= 1

    def leave(self, ticket: Ticket[T], why: Why) -> bool:
        """Take a follower out of its line; False when it has another role by now."""
        with self._lock:
            if ticket.role is not Role.FOLLOW or ticket.flight is None:
                return False
            self._out_of_line(ticket)
            self._alone(ticket, why)
            return True

    def end(self, ticket: Ticket[T], over: Over[T]) -> None:
        """The leader has come to an end: serve those who wait, let one of them lead, or send them off."""
        flight = ticket.flight
        assert flight is not None
        marked = False
        with self._lock:
            if ticket.is_over:
                return
            ticket.is_over = True
            flight.leaders -= 1
            flight.threads.discard(ticket.thread)
            if flight.over is not None:
                # Another has landed before.
                return
            flight.failures += over.why is Why.FAILING
            if over.why is Why.FAILING and flight.failures < 2 and (flight.leaders or flight.line):
                heirs = []
                if not flight.leaders:
                    heirs.append(flight.line.popleft())
                    self._promote(heirs[0])
            else:
                flight.over = over
                heirs = list(flight.line)
                flight.line.clear()
                for heir in heirs:
                    self._decide(heir, over)
                marked = over.why is Why.FAILING and flight.failures > 1
                if self._flights.get(ticket.key) is flight:
                    del self._flights[ticket.key]
            for heir in heirs:
                self._waiting[heir.is_parked] -= 1
        if marked:
            self.hit_for_miss.mark(ticket.key, _FAILING_TTL_S)
        for heir in heirs:
            heir.wake()

    def _decide(self, ticket: Ticket[T], over: Over[T]) -> None:
        if over.why is None:
            ticket.role = Role.SERVED
            ticket.result = over.result
            self._numbers.served += 1
        else:
            self._alone(ticket, over.why)
