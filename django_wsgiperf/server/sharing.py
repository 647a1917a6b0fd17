"""Which worker takes the next connection: one that has less to do than the others (Puma's accept delay, turned round).

All workers poll the same listeners. A worker that is ahead of the least loaded one takes its listeners out of its
poller for two milliseconds, one without a free thread for as long as another is better off, so that the kernel wakes
the others. Nobody sleeps for it, and with one worker none of this runs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .scoreboard import SERVING, Scoreboard

if TYPE_CHECKING:
    from .reactor import Reactor

_YIELD_S = 0.002
_STALLED_MS = 5
"""Of two workers without a free thread, one whose last request ended so much later is likely to have one sooner."""
_PEER_SILENCE_MS = 3000
"""A worker whose reactor has not moved for so long is not waited for."""
_NOBODY = 1 << 62


class Sharing:
    """One worker's part. `refresh` is its main thread's, the rest its leader's."""

    __slots__ = (
        "_accepted",
        "_board",
        "_full_at",
        "_in_vain",
        "_open_at",
        "_peers",
        "_place",
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
        self._peers: list[tuple[int, int]] = []
        """Where the other workers' `open` and `full` are."""
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
            (board.word(row, "open"), board.word(row, "full"))
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
        mine = len(reactor.connections)
        is_full = not reactor.pool.has_free_slot
        # When a request ended last, plus one: 0 is for having a free thread.
        stalled = reactor.finished_at_ns // 1_000_000 + 1 if is_full else 0
        words[self._open_at] = mine if reactor.acceptor.is_accepting else _NOBODY
        words[self._full_at] = stalled
        leaves = is_full and any(not words[at] or words[at] > stalled + _STALLED_MS for _, at in self._peers)
        least = self._least()
        ahead = mine > least + _slack(mine)
        if not ahead:
            self._in_vain = 0
        accepted = reactor.statistics.accepted
        took, self._accepted = accepted != self._accepted, accepted
        if not reactor.acceptor.is_accepting:
            self._yielding = False
        elif self._yielding:
            if not leaves and (not ahead or time.monotonic() >= self._until):
                self._yielding = False
                self._in_vain += ahead
                reactor.acceptor.listen(True)
        elif leaves or (took and ahead):
            self._yielding = True
            self._until = time.monotonic() + _YIELD_S
            reactor.acceptor.listen(False)
        return min(timeout_s, _YIELD_S) if self._yielding or is_full else timeout_s

    def allowance(self, reactor: Reactor, most: int) -> int:
        """How many connections may be accepted in a row, from 1 to `most`."""
        least = self._least()
        mine = len(reactor.connections)
        # The others may be slower than the clients are patient: each yield in vain doubles what is taken after it.
        return min(most, max(least + _slack(mine) - mine, 1 << min(self._in_vain, 16)))

    def _least(self) -> int:
        """The connections of the least loaded other worker that has a free thread."""
        words, least = self._words, _NOBODY
        for open_at, full_at in self._peers:
            if not words[full_at] and words[open_at] < least:
                least = words[open_at]
        return least


def _slack(connections: int) -> int:
    """How far ahead of the others is near enough: exactness is worth less than accepting many at a time."""
    return 1 + connections // 16
