"""Many requests for one missing page, and one that makes it. Threads, a key and a result; no HTTP, no store.

The first to board() for a key leads and makes the page. Others follow: they wait(), or have themselves called, and get
what the leader landed. Whether that suits them (its Vary, its cookies) is theirs to check. Whoever need or cannot
follow goes alone: too many wait already, the answers cannot be shared, it has waited long enough.

When a leader fails, the follower that has waited longest leads instead; when that fails too, all go alone, and so do
those who come within a second. When a leader takes long, one of the others tries it too, after `wait_s`, another after
twice as long again, and so on; the first to land serves all. So a page of k times `wait_s` is made log2(k + 1) times,
rounded up, however many want it. Who leads alone takes no lock: see firsts.py.

`_lock` guards flights, their lines, who waits, and joining; it is never held while anything is made or waited for. Who
waits looks for himself after `wait_s`, so that a leader that is interrupted at its end costs that at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from typing import Final, Generic, TypeVar

from . import forking
from .firsts import Firsts
from .hit_for_miss import Key, Marks
from .room import Room
from .ticket import ALONE, FOLLOW, LEAD, SERVED, Flight, Over, Role, Ticket, Why

__all__ = ["FlightNumbers", "Flights", "Role", "Ticket", "Why"]

T = TypeVar("T")

_FAILING_TTL_S: Final = 1.0
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
        hit_for_miss: Marks | None = None,
        step_aside: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wait_s = wait_s
        self.hit_for_miss = Marks(clock=clock) if hit_for_miss is None else hit_for_miss
        self.room = Room(max_waiters, max_parked, brief_s, step_aside)
        self._clock = clock
        self._lock = threading.Lock()
        self.firsts: Firsts[T] = Firsts()
        # Each is written in one statement without a call, between which threads switch; see counting.py.
        self._led = self._served = self._promoted = self._alone_count = 0
        self.unboarded = 0
        """Requests that were not boarded, since answers to others are likely of no use to them."""
        forking.watch(self)

    def bound(self, max_waiters: int) -> None:
        """How many threads may wait, from now on; with none, not briefly either."""
        with self._lock:
            self.room.bound(max_waiters)

    def board(self, key: Key, *, parks: bool = False) -> Ticket[T]:
        """The request's role. Returns at once. A leader must land(), release() or fail(); leaving the ticket's `with`
        block without is to fail. It first looks once more whether the page is there: the one before it may have landed
        between the first look and board(). A request that `parks` waits by call_when_over(), and its thread serves
        others besides."""
        if self.hit_for_miss.until_s(key) is not None and self.hit_for_miss.is_marked(key):
            return self._alone(Ticket(self, key, ALONE), Why.UNSHARED)
        return self.board_unmarked(key, parks=parks)

    def board_unmarked(self, key: Key, *, parks: bool = False) -> Ticket[T]:
        """As board(), for a key that has no mark."""
        clock, begin, count = self._clock, self.firsts.begin, self.firsts.count
        ticket = Ticket(self, key, LEAD, None if parks else get_ident(), clock())
        try:
            if begin(key, ticket) is not ticket:
                self._join(ticket)
            else:
                self._led += 1
                if count() > _MANY:
                    self._forget_lost(ticket.began_s)
        except BaseException:
            # Interrupted: nobody has the ticket yet who could end it.
            ticket.close()
            raise
        return ticket

    def alone(self, why: Why | None = None, key: Key = "") -> Ticket[T]:
        """A ticket for a request whose answer is nobody else's: it waits for none, and none waits for it."""
        ticket = Ticket(self, key, ALONE)
        ticket.why = why
        return ticket

    def numbers(self) -> FlightNumbers:
        """For people and metrics."""
        alone = self._alone_count + self.unboarded
        return FlightNumbers(self._led, self._served, self._promoted, alone, len(self.room))

    def after_fork_in_child(self) -> None:
        """Those who wait are threads of the parent."""
        self._lock = threading.Lock()
        self.room.forget_all()
        self.firsts.after_fork_in_child()

    def _join(self, ticket: Ticket[T]) -> None:
        with self._lock:
            flight = self.firsts.joined(ticket)
            if flight is None:
                # Whoever led has come to an end meanwhile.
                self._led += 1
            elif ticket.thread is not None and any(leader.thread == ticket.thread for leader in flight.leaders):
                self._alone(ticket, Why.NESTED)
            else:
                ticket.flight, next_s = flight, self._next_attempt_s(flight)
                if ticket.began_s < next_s:
                    ticket.role, ticket.deadline_s = FOLLOW, next_s
                else:
                    flight.begin(ticket, ticket.began_s)
                    self._led += 1

    def _next_attempt_s(self, flight: Flight[T]) -> float:
        """When another may try what the leader has not landed: each time it takes twice as long, since a page that is
        slow for one is slower for many."""
        return flight.began_s + self.wait_s * flight.patience

    def _forget_lost(self, now_s: float) -> None:
        with self._lock:
            self.firsts.forget(lambda flight: now_s >= self._next_attempt_s(flight))

    def _alone(self, ticket: Ticket[T], why: Why) -> Ticket[T]:
        ticket.role = ALONE
        ticket.why = why
        self._alone_count += 1
        return ticket

    def enter(self, ticket: Ticket[T]) -> bool:
        """Put a follower in line; False when it has another role by now, as it gets when there is no room."""
        with self._lock:
            if ticket.role is not FOLLOW or ticket.flight is None:
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
                ticket.flight.line.append(ticket)
                self.room.enter(ticket)
                return True
        return False

    def _has_patience(self, ticket: Ticket[T]) -> bool:
        """Whether it may wait, however briefly. `_lock` held."""
        if self.room.has_place(ticket):
            return True
        if ticket.is_parked or not self.room.brief_s:
            return False
        ticket.is_brief = True
        ticket.deadline_s = min(ticket.deadline_s, self._clock() + self.room.brief_s)
        return True

    def _follow_next(self, ticket: Ticket[T], failures: int) -> None:
        """After a failed flight: follow the one that has begun since, or lead it. `_lock` held."""
        ticket.flight = Flight()
        ticket.flight.failures = failures
        found = self.firsts.joined(ticket)
        if found is None:
            self._promote(ticket)
        else:
            ticket.flight = found

    def _promote(self, ticket: Ticket[T]) -> None:
        assert ticket.flight is not None
        ticket.flight.begin(ticket, self._clock())
        self._promoted += 1

    def late(self, ticket: Ticket[T]) -> bool:
        """A follower's patience is over: whether it has another role now, since it is the one that tries the page too,
        or could wait briefly only. If not, it is to wait until its new deadline."""
        with self._lock:
            flight = ticket.flight
            if ticket.role is not FOLLOW or flight is None:
                # Its leader was interrupted before it could wake it.
                self._out_of_line(ticket)
                return True
            if flight.over is not None:
                self._out_of_line(ticket)
                self._decide(ticket, flight.over)
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
            if ticket.role is FOLLOW:
                self.room.leave(ticket)
                ticket.is_parked = True
                self.room.enter(ticket)
            ticket.is_aside = True

    def goes_on(self, ticket: Ticket[T]) -> None:
        """A leader is not late yet: it waits for another process, say."""
        (ticket.flight or ticket).began_s = self._clock()

    def _out_of_line(self, ticket: Ticket[T]) -> None:
        self.room.leave(ticket)
        if ticket.flight is not None and ticket in ticket.flight.line:
            ticket.flight.line.remove(ticket)

    def leave(self, ticket: Ticket[T], why: Why) -> bool:
        """Take a follower out of its line; False when it has another role by now."""
        with self._lock:
            if ticket.role is not FOLLOW or ticket.flight is None:
                return False
            self._out_of_line(ticket)
            self._alone(ticket, why)
            if not ticket.flight.leaders:
                # Interrupted when it was about to lead.
                self.firsts.take_out(ticket)
            return True

    def end(self, ticket: Ticket[T], over: Over[T]) -> None:
        """The leader has come to an end: serve those who wait, let one of them lead, or send them off."""
        marked, heirs = False, list[Ticket[T]]()
        with self._lock:
            if ticket.is_over:
                return
            flight = ticket.flight
            if flight is None:
                self.firsts.take_out(ticket)
            elif flight.over is None:
                if ticket in flight.leaders:
                    flight.leaders.remove(ticket)
                flight.failures += over.why is Why.FAILING
                if over.why is Why.FAILING and flight.failures < 2 and (flight.leaders or flight.line):
                    if not flight.leaders:
                        heirs.append(flight.line[0])
                        self._promote(heirs[0])
                        flight.line.popleft()
                else:
                    # First, so that nobody joins what is over.
                    self.firsts.take_out_flight(ticket.key, flight)
                    flight.over = over
                    heirs.extend(flight.line)
                    flight.line.clear()
                    for heir in heirs:
                        self._decide(heir, over)
                    marked = over.why is Why.FAILING and flight.failures > 1
                for heir in heirs:
                    self.room.leave(heir)
            ticket.is_over = True
        if marked:
            self.hit_for_miss.mark(ticket.key, _FAILING_TTL_S)
        for heir in heirs:
            heir.wake()

    def _decide(self, ticket: Ticket[T], over: Over[T]) -> None:
        if over.why is None:
            ticket.role = SERVED
            ticket.result = over.result
            self._served += 1
        else:
            self._alone(ticket, over.why)
