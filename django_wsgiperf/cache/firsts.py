"""Which pages are being made for others too: of each the ticket that began it, and its flight once others want it.

Mostly nobody does, so a leader takes no lock: it puts its ticket in if there is none (begin), and takes it out (ends).
A second request writes a new Flight into that ticket, and then looks whether the ticket still lies here; the leader
takes its ticket out, and then looks whether it has a flight. As each writes before it looks, one at least sees the
other: either the leader ends the flight for all who are in it, or the second begins anew. So nobody follows a leader
that does not know. That each step is whole, and seen by all in one order, is the doing of the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from .hit_for_miss import Key
from .ticket import Flight, Ticket

T = TypeVar("T")


class Firsts(Generic[T]):
    """What takes a ticket for a second request, or one with a flight, is called under Flights' lock."""

    def __init__(self) -> None:
        self._tickets: dict[Key, Ticket[T]] = {}
        self.begin: Callable[[Key, Ticket[T]], Ticket[T]] = self._tickets.setdefault
        """The ticket that began the page of this key: the given one where there was none."""
        self.count: Callable[[], int] = self._tickets.__len__

    def __len__(self) -> int:
        return len(self._tickets)

    def joined(self, ticket: Ticket[T]) -> Flight[T] | None:
        """The flight of its page, which does not end while the lock is held; None where the ticket has begun one."""
        tickets, key = self._tickets, ticket.key
        while (first := tickets.setdefault(key, ticket)) is not ticket:
            if first.flight is None:
                first.flight = Flight(first)
            # After that is written.
            if tickets.get(key) is first:
                return first.flight
        return None

    def ends(self, ticket: Ticket[T]) -> bool:
        """End a leader, unless others have joined it. Needs no lock. Makes no call, so that no interruption comes in
        between."""
        flight, tickets, key = ticket.flight, self._tickets, ticket.key
        if flight is not None:
            return False
        if key in tickets and tickets[key] is ticket:
            del tickets[key]
        # After it is taken out.
        if ticket.flight is not None:
            return False
        ticket.is_over = True
        return True

    def take_out(self, ticket: Ticket[T]) -> None:
        """Let nobody join any more what this ticket began. Makes no call either: its leader may be taking it out."""
        tickets, key = self._tickets, ticket.key
        if key in tickets and tickets[key] is ticket:
            del tickets[key]

    def take_out_flight(self, key: Key, flight: Flight[T]) -> None:
        """Let nobody join this flight any more, whoever began it."""
        first = self._tickets.get(key)
        if first is not None and first.flight is flight:
            self.take_out(first)

    def forget(self, is_lost: Callable[[Flight[T]], bool]) -> None:
        """Take out those that are lost."""
        for first in list(self._tickets.values()):
            if is_lost(first.flight or Flight(first)):
                self.take_out(first)

    def after_fork_in_child(self) -> None:
        """The threads that lead and wait are the parent's, but for the one that forked, which nobody here waits for."""
        for first in self._tickets.values():
            if first.flight is not None:
                first.flight.line.clear()
        self._tickets.clear()
