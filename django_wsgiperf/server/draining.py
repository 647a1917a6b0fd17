"""How a worker ends what it has begun: told by the master, or by itself when it is to be replaced.

In the worker's main thread, but for what is said to be the leader's. The process's end itself is worker.py's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeGuard

from .gateway import Exchange
from .scoreboard import DRAINING

if TYPE_CHECKING:
    from .worker import PooledWorker

logger = logging.getLogger("django_wsgiperf.server")

_IDLE_LINGER_S = 2.0
"""While draining, an idle connection gets this long to send one more request, answered with Connection: close."""
_RELOAD_LINGER_S = 0.1
"""The same when a source file has changed, for which the answer would be the old code's."""


class Draining:
    """One worker's way out."""

    def __init__(self, worker: PooledWorker) -> None:
        self._worker = worker
        self._settings = worker.settings
        self._reactor = worker.reactor
        self._some_wait = True
        """Idle connections are to be given away, or may be: only a few can be under way at a time."""

    def run(self) -> float:
        """Finish what was begun: first for `drain_delay_s` like before but not ready, then without new connections.

        Gives the end of graceful_timeout_s, on the clock of time.monotonic()."""
        worker, settings, reactor = self._worker, self._settings, self._reactor
        worker.board.set(worker.place, "state", DRAINING)
        # Whoever keeps connections open is to move on to another server or worker from now on.
        reactor.draining = True
        if worker.board.stopping or not worker.under_serve:
            self._wait(settings.drain_delay_s, lambda: False)
        reactor.stop_accepting()
        reactor.on_sweep = self._handing_on(reactor.on_sweep)
        deadline = time.monotonic() + settings.graceful_timeout_s
        linger_s = _RELOAD_LINGER_S if settings.reload else _IDLE_LINGER_S
        self._wait_for_successor(linger_s, deadline)
        reactor.drain(linger_s)
        if not self._wait(deadline - time.monotonic(), self._is_drained):
            logger.warning(
                "Worker %d stops after %g s (graceful_timeout_s); cut off: %s",
                os.getpid(),
                settings.graceful_timeout_s,
                reactor.unfinished(),
            )
        return deadline

    def _wait_for_successor(self, patience_s: float, deadline: float) -> None:
        """Until it has taken all that can be given away, or takes nothing for so long. Thousands take their time, in
        which none may be closed."""
        connections = self._reactor.connections
        left = len(connections) + 1
        while self._some_wait and len(connections) < left:
            left = len(connections)
            self._wait(
                min(patience_s, deadline - time.monotonic()),
                lambda left=left: not self._some_wait or len(connections) < left,  # type: ignore[misc]
            )

    def _wait(self, seconds: float, done: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + seconds
        pause_s = 0.002
        while not done():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return done()
            self._worker.attend(min(remaining, pause_s))
            # Where nothing is under way, it is over at once.
            pause_s = min(2 * pause_s, 0.05)
            if self._reactor.acceptor.stopping:
                self._reactor.sweep_soon()
        return True

    def _handing_on(self, before: Callable[[], None] | None) -> Callable[[], None]:
        """What the leader does besides in each sweep: idle connections go to whoever stays, or comes."""
        worker, acceptor = self._worker, self._reactor.acceptor

        def on_sweep() -> None:
            if before is not None:
                before()
            stays = worker.settings.reload or worker.retiring or (worker.under_serve and not worker.board.stopping)
            if not acceptor.listeners:
                self._some_wait = stays and not acceptor.hand_on()

        return on_sweep

    def _is_drained(self) -> bool:
        reactor = self._reactor
        if not self._settings.reload:
            return reactor.is_drained
        # A browser is to come back for its events at once, to the new code; the old would go on for ever.
        events = {task.connection for slot in reactor.pool.slots[:] if _sends_events(task := slot.task)}
        for connection in events:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        return not reactor.acceptor.listeners and events.issuperset(list(reactor.connections.values()))


def _sends_events(task: object) -> TypeGuard[Exchange]:
    """Whether it is a request for events (EventSource of the HTML standard), which clients open anew when they end."""
    return (
        isinstance(task, Exchange)
        and task.head_sent
        and any(
            name.lower() == "content-type" and value.lower().startswith("text/event-stream")
            for name, value in task.response_headers
        )
    )
