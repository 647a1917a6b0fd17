"""More complete requests than threads: who waits, who goes first, and who is refused.

The queues are the thread pool's. The leader calls this for what comes and what waits, the pool's threads before they
begin a request. How many requests may compute at once is decided in admission.py.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from . import admission
from .outbound import ClientGone
from .response import plain_response
from .routes import RouteCosts
from .tasks import TaskQueue

if TYPE_CHECKING:
    from .gateway import Exchange
    from .reactor import Reactor

_STARVED_TURN_NS = 30_000_000
"""A leader that takes so long to read what is there waits for the interpreter lock most of the time."""
_STARVED_SWITCH_S = 0.0005
_COMPUTES_LONG_NS = 250_000_000
"""A request that has computed for so long is no short one, and keeps short ones no longer from computing."""


class Overload:
    """One worker's part in reactor.py."""

    def __init__(self, reactor: Reactor) -> None:
        self.routes = RouteCosts()
        self._reactor = reactor
        self._settings = reactor.settings
        self._meter: admission.Meter | None = None
        self._compute_limit = admission.ComputeLimit(reactor.settings.threads)
        self._starved_until = 0.0
        self._leavers = [0, 0, 0]
        """Clients that left a queue in this second, and in the two before."""
        self._next_second = 0.0

    def admit(self, exchange: Exchange) -> None:
        """A request is complete: queue it, or refuse it. Leader only."""
        pool = self._reactor.pool
        queue = pool.queue
        if self.routes.known:
            cost = self.routes.get(exchange.request.path)
            if cost is not None:
                exchange.timed = True
                exchange.blocks = cost.blocks
                if cost.computes and pool.size > 1:
                    exchange.computes = True
                    queue = pool.permits.queue
        if queue and pool.waiting >= self._settings.queue_length:
            may_run = pool.can_compute if exchange.computes else pool.has_free_slot
            if not may_run:
                self.refuse(exchange, "queue_length")
                return
        queue.append(exchange)

    def after_turn(self, now: float) -> None:
        """The leader has read what was there: see to what still waits."""
        pool = self._reactor.pool
        queue, heavy = pool.queue, pool.permits.queue
        if queue and not pool.has_free_slot:
            self.shed_waiting(queue, now)
        else:
            queue.empty_at = now
            queue.newest_first = False
        if heavy:
            self.watch_computing(heavy, now)

    def sweep(self, now: float) -> None:
        """About four times a second."""
        if now >= self._next_second:
            self._next_second = now + 1.0
            self._leavers[:] = 0, self._leavers[0], self._leavers[1]
        if self.routes.known:
            self._adapt_compute_limit()
        if self._starved_until and now > self._starved_until:
            self._starved_until = 0.0
            sys.setswitchinterval(self._settings.switch_interval_ms / 1000)

    def refuses(self, exchange: Exchange, queued_ns: int) -> str | None:
        """Why a request that has been in the queue is not to be run after all; None to run it."""
        if exchange.connection.gone:
            return "gone"
        if queued_ns > 50_000_000:
            queue = self._reactor.pool.permits.queue if exchange.computes else self._reactor.pool.queue
            if queued_ns > self._queue_deadline_s(queue, time.monotonic()) * 1e9:
                return "queue_deadline"
        return None

    def refuse(self, exchange: Exchange, reason: str) -> None:
        """Answer 503 to a request that gets no thread, or nothing to one whose client has left."""
        connection = exchange.connection
        if reason == "gone":
            self._reactor.statistics.abandoned += 1
            self._leavers[0] += 1
            self._reactor.finished(connection, keep_alive=False)
            return
        self._reactor.statistics.shed[reason] += 1
        data = plain_response(
            503,
            "The server is overloaded. Please try again in a moment.\n",
            keep_alive=exchange.keep_alive,
            headers=[("Retry-After", "1")],
            date=self._reactor.heads.date(),
            bodiless=exchange.request.method == "HEAD",
        )
        try:
            connection.write(self._reactor, data)
        except ClientGone:
            self._reactor.finished(connection, keep_alive=False)
        else:
            self._reactor.finished(connection, exchange.keep_alive)

    def _queue_deadline_s(self, queue: TaskQueue, now: float) -> float:
        """CoDel's idea (Nichols and Jacobson): a queue that is never empty is no buffer but a delay."""
        settings = self._settings
        standing = now - queue.empty_at > settings.queue_standing_deadline_s
        return settings.queue_standing_deadline_s if standing else settings.queue_deadline_s

    def watch_computing(self, queue: TaskQueue, now: float) -> None:
        """Requests that compute are queued: see that their permits go round, and that the leader gets its turn."""
        pool = self._reactor.pool
        if time.monotonic_ns() - self._reactor.polled_at_ns > _STARVED_TURN_NS:
            # Each system call of the leader's has cost it a whole switch interval, and clients time out meanwhile.
            self._starved_until = now + 1.0
            sys.setswitchinterval(min(_STARVED_SWITCH_S, self._settings.switch_interval_ms / 1000))
        pool.overdue(self._reactor.polled_at_ns - _COMPUTES_LONG_NS)
        if pool.can_compute:
            queue.empty_at = now
            queue.newest_first = False
        else:
            self.shed_waiting(queue, now)

    def _adapt_compute_limit(self) -> None:
        """Four times a second, once there is a route that computes."""
        pool, chosen = self._reactor.pool, self._settings.compute_threads
        if chosen or not admission.gil_enabled():
            pool.permits.limit = min(chosen or pool.size, pool.size)
        elif self._meter is None:
            self._meter = admission.Meter()
            pool.permits.limit = self._compute_limit.limit
        else:
            pool.permits.limit = self._compute_limit.adjust(self._meter.load(), len(pool.permits.queue))

    def shed_waiting(self, queue: TaskQueue, now: float) -> None:
        """Nothing of `queue` can be run: give up what has waited too long, and serve the young first then."""
        statistics = self._reactor.statistics
        if self._reactor.pool.waiting > statistics.queue_peak:
            statistics.queue_peak = self._reactor.pool.waiting
            statistics.queue_max = max(statistics.queue_max, statistics.queue_peak)
        deadline_ns = int((now - self._queue_deadline_s(queue, now)) * 1e9)
        half_ns = int((now - self._settings.queue_standing_deadline_s / 2) * 1e9)
        try:
            # Clients that go on leaving the queue are the sign that first come, first served now serves nobody in time.
            # Where all are patient, as in a closed loop of more clients than threads, order is kept.
            clients_leave = sum(map(bool, self._leavers)) > 1
            queue.newest_first = clients_leave or queue[0].ready_ns < half_ns  # type: ignore[attr-defined]
            while queue:
                exchange: Any = queue[0]
                gone: bool = exchange.connection.gone
                if not gone and exchange.ready_ns >= deadline_ns:
                    break
                taken: Any = queue.popleft()
                if taken is not exchange:
                    queue.appendleft(taken)  # A thread was faster, and this is the next one.
                    continue
                self.refuse(taken, "gone" if gone else "queue_deadline")
        except IndexError:
            pass  # The pool's threads take from it at the same time.
