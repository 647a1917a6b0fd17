"""Deadlines of connections: for a head, a body, a pause between two requests, and for taking a response.

Each connection has one deadline, kept by whoever brings it a step further; the leader looks at all of them four times
a second. Deadlines of requests that run are deadlines.py's.
"""

from __future__ import annotations

import heapq
import time
from operator import attrgetter
from typing import TYPE_CHECKING

from .connection import NEVER, Connection
from .http1 import HTTPError

if TYPE_CHECKING:
    from .reactor import Reactor

_NEWCOMER_S = 0.3
"""A client that has connected and not asked yet is about to: so long it gets at least, however little idle ones get."""
_RESTING_S = 1.0
"""A connection that was answered so long ago, and has not asked again, counts as no load."""
_ROOM_SHARE = 64
"""One in so many of all connections is ended at a time where there is no room for new ones: to choose costs a look at
each."""


class Timers:
    """One worker's part in reactor.py."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._idle_s = NEVER

    def shorten_idle(self, idle_s: float) -> None:
        """Give idle connections no more than `idle_s` seconds from the next sweep on, and those that become idle."""
        self._idle_s = idle_s

    def sweep(self, now: float) -> None:
        """Look at every deadline; 10,000 connections cost a millisecond or so. Leader only."""
        reactor = self._reactor
        if self._idle_s != NEVER:
            reactor.keepalive_s = min(reactor.keepalive_s, self._idle_s)
            soon, self._idle_s = now + self._idle_s, NEVER
            for connection in reactor.connections.values():
                if connection.idle:
                    end = soon if connection.served else max(soon, now + _NEWCOMER_S)
                    connection.deadline = min(connection.deadline, end)
        if reactor.sharing is not None:
            answered = self._deadline_of_resting(now)
            reactor.resting = sum(c.deadline < answered for c in reactor.connections.values())
        for connection in [c for c in reactor.connections.values() if c.deadline < now]:
            self._expire(connection)

    def make_room(self, connections_max: int) -> bool:
        """End the connections that have rested longest, as their clients must expect; False when none rests.

        Else a crowd that keeps its connections open, on purpose or not, would keep everybody else out. Leader only."""
        reactor = self._reactor
        answered = self._deadline_of_resting(time.monotonic())
        resting = [c for c in reactor.connections.values() if c.served and c.idle and c.deadline < answered]
        for connection in heapq.nsmallest(max(1, connections_max // _ROOM_SHARE), resting, attrgetter("deadline")):
            reactor.statistics.timeouts["keepalive"] += 1
            reactor.close(connection)
        return bool(resting)

    def _deadline_of_resting(self, now: float) -> float:
        """Connections with an earlier one rest: a deadline is set anew with each answer, and tells how old that is."""
        return now + self._reactor.keepalive_s - _RESTING_S

    def _expire(self, connection: Connection) -> None:
        timeouts = self._reactor.statistics.timeouts
        outbound = connection.outbound
        if outbound is not None and outbound.pending:
            # The kernel tells of room when a third of its buffer is free, and that is more than a slow client may take
            # in this time. It has room for what the client did take.
            pending = outbound.pending
            self._reactor.outgoing.flush(connection)
            if outbound.pending < pending:
                return
            timeouts["write"] += 1
            connection.gone = True
            outbound.close()
            if connection.busy:
                connection.deadline = NEVER
            else:
                self._reactor.close(connection)
        elif connection.busy:
            connection.deadline = NEVER
        elif connection.lingering:
            self._reactor.close(connection)
        elif connection.handshaking:
            timeouts["handshake"] += 1
            self._reactor.close(connection)
        elif connection.body is not None:
            timeouts["body"] += 1
            self._reactor.intake.bad_request(connection, HTTPError(408, "the request body did not come in time"))
        elif connection.inbox:
            timeouts["header"] += 1
            self._reactor.intake.bad_request(connection, HTTPError(408, "the request head did not come in time"))
        else:
            timeouts["keepalive" if connection.served else "header"] += 1
            self._reactor.close(connection)
