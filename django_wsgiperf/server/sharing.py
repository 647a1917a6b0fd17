"""Which worker takes the next connection: one that has less to do than the others (Puma's accept delay, turned round).

All workers poll the same listeners. A worker that is ahead of the least loaded one takes its listeners out of its
poller for a few milliseconds, one without a free thread for as long as another is better off, so that the kernel wakes
the others. Nobody sleeps for it, and with one worker none of this runs.

A kept connection stays where it was accepted, and so does a mistake: who computes for thirty clients may not have told
in time that they left. So a worker in which requests wait, while another has time, announces the end of some of its
connections with their next response. Their clients come back to the other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .scoreboard import SERVING, Scoreboard

if TYPE_CHECKING:
    from .reactor import Reactor

_YIELD_S = 0.002
_BUSY_YIELD_S = 0.02
"""The same from a worker that runs requests: another that does, too, has to win its interpreter lock (5 ms) first."""
_STALLED_MS = 5
"""Of two workers without a free thread, one whose last request ended so much later is likely to have one sooner."""
_STUCK_MS = 250
"""A worker without a free thread in which no request has ended for so long is no place to send anybody to."""
_PEER_SILENCE_MS = 3000
"""A worker whose reactor has not moved for so long is not waited for."""
_NOBODY = 1 << 62
_EVEN_OUT_S = 0.25
"""How often a worker decides how many connections to send away: by then `pressure` shows what came of the last time."""
_PRESSED = 2.0
"""Fewer requests than that, waiting on average when the leader comes round, are no reason to send anybody away."""
_SCALE = 256


class Sharing:
    """One worker's part. `refresh` is its main thread's, the rest its leader's."""

    __slots__ = (
        "_accepted",
        "_board",
        "_full_at",
        "_in_vain",
        "_next_at_ns",
        "_open_at",
        "_peers",
        "_place",
        "_pressure",
        "_pressure_at",
        "_until",
        "_words",
        "_yielding",
    )

    def __init__(self, board: Scoreboard, place: int) -> None:
        self._board = board
        self._place = place
        self._words = board.words
        self._open_at = board.word(place, "open")
        self._full_at = board.word(place, "full")
        self._pressure_at = board.word(place, "pressure")
        self._peers: list[tuple[int, int, int]] = []
        """Where the other workers' `open`, `full` and `pressure` are."""
        self._pressure = 0.0
        """How many requests waited for another when the leader came round, averaged over some ten turns."""
        self._next_at_ns = 0
        self._accepted = 0
        self._yielding = False
        self._until = 0.0
        self._in_vain = 0
        """How often in a row nobody has caught up while this worker yielded."""

    def refresh(self) -> bool:
        """Look who else serves; False when nobody does."""
        board = self._board
        now_ms = time.monotonic_ns() // 1_000_000
        self._peers = [
            (board.word(row, "open"), board.word(row, "full"), board.word(row, "pressure"))
            for row in board.living()
            if row != self._place
            and board.get(row, "state") == SERVING
            and not board.get(row, "retiring")
            and now_ms - board.get(row, "polled_ms") < _PEER_SILENCE_MS
        ]
        return bool(self._peers)

    def before_poll(self, reactor: Reactor, timeout_s: float) -> float:
        """Tell the others how much there is to do here, and listen or not; how long to poll at most, in seconds."""
        words = self._words
        is_accepting = reactor.acceptor.is_accepting
        mine = _active(reactor)
        is_full = not reactor.pool.has_free_slot
        # When a request ended last, plus one: 0 is for having a free thread.
        stalled = reactor.finished_at_ns // 1_000_000 + 1 if is_full else 0
        words[self._open_at] = mine if is_accepting else _NOBODY
        words[self._full_at] = stalled
        self._even_out(reactor, mine)
        accepted = reactor.statistics.accepted
        took, self._accepted = accepted != self._accepted, accepted
        if not (took or is_full or self._yielding or self._in_vain):
            return timeout_s  # As in nearly every turn.
        leaves = is_full and any(not words[at] or words[at] > stalled + _STALLED_MS for _, at, _ in self._peers)
        ahead = mine > self._least(reactor) + _slack(mine)
        if not ahead:
            self._in_vain = 0
        if not is_accepting:
            self._yielding = False
        elif self._yielding:
            if not leaves and (not ahead or time.monotonic() >= self._until):
                self._yielding = False
                self._in_vain += ahead
                reactor.acceptor.listen(True)
        elif leaves or (took and ahead):
            self._yielding = True
            self._until = time.monotonic() + (_BUSY_YIELD_S if reactor.pool.busy else _YIELD_S)
            reactor.acceptor.listen(False)
        return min(timeout_s, _YIELD_S) if self._yielding or is_full else timeout_s

    def allowance(self, reactor: Reactor, most: int) -> int:
        """How many connections may be accepted in a row, from 1 to `most`."""
        least = self._least(reactor)
        mine = _active(reactor)
        # The others may be slower than the clients are patient: each yield in vain doubles what is taken after it.
        return min(most, max(least + _slack(mine) - mine, 1 << min(self._in_vain, 16)))

    def _even_out(self, reactor: Reactor, mine: int) -> None:
        """Set how many connections are to be sent away, if requests wait here and hardly any do elsewhere."""
        words = self._words
        waiting = reactor.pool.waiting + max(0, reactor.found - 1)
        self._pressure += (waiting - self._pressure) / 8
        pressure = self._pressure
        words[self._pressure_at] = int(pressure * _SCALE)
        now_ns = reactor.polled_at_ns
        if now_ns < self._next_at_ns:
            return
        self._next_at_ns = now_ns + int(_EVEN_OUT_S * 1e9)
        surplus = 0
        if pressure >= _PRESSED:
            for open_at, full_at, pressure_at in self._peers:
                theirs, behind = words[pressure_at] / _SCALE, mine - words[open_at]
                if _gets_on(words[full_at], now_ns) and pressure > 2 * theirs + 1 and behind > _slack(mine):
                    # Half of the difference in connections may be too much, where most of them rest.
                    surplus = max(surplus, min(behind, int(pressure - theirs) + 1) // 2)
        reactor.surplus = surplus

    def _least(self, reactor: Reactor) -> int:
        """The active connections of the least loaded other worker that has a free thread, or, where this one has none
        either, that ends requests."""
        words, least = self._words, _NOBODY
        is_full = not reactor.pool.has_free_slot
        for open_at, full_at, _ in self._peers:
            full = words[full_at]
            if words[open_at] < least and (not full or (is_full and _gets_on(full, reactor.polled_at_ns))):
                least = words[open_at]
        return least


def _active(reactor: Reactor) -> int:
    """The connections that are at work or have just come: thousands may rest beside them, and are no load."""
    return max(0, len(reactor.connections) - reactor.resting)


def _gets_on(full: int, now_ns: int) -> bool:
    """Whether a worker with this word has a free thread, or had one lately."""
    return not full or now_ns // 1_000_000 - full < _STUCK_MS


def _slack(connections: int) -> int:
    """How far ahead of the others is near enough: exactness is worth less than accepting many at a time."""
    return 1 + connections // 16
