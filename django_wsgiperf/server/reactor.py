"""The leader's work: accept, read, complete requests, flush, time out. Everything that has to do with waiting.

poll() is called by one thread at a time (threadpool.py); it reads sockets and appends complete requests to the
pool's queue. finished(), hand_over(), push() and the answers to refused requests are called by whichever thread
runs the exchange. Connections are read, and their timers kept, by the leader alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from django_wsgiperf.conf import ServerSettings

from .accepting import Acceptor, Listener
from .connection import Connection
from .counters import ReactorStatistics
from .gateway import Exchange, WSGIApplication
from .http1 import HTTPError, Request
from .intake import Intake
from .outbound import ClientGone, Outbound, Room
from .outgoing import Outgoing
from .overload import Overload
from .poller import GONE, WRITE, Poller, new_poller
from .proxy import ProxyTrust
from .response import HeadWriter, plain_response
from .routes import SLOW_NS
from .sharing import Sharing
from .slots import Slot
from .threadpool import ThreadPool
from .timers import Timers

logger = logging.getLogger("django_wsgiperf.server")

_SWEEP_S = 0.25
_LONG_PIECES = 64
"""Pieces of responses that are longer than outbound_memory_bytes have so many times that, all together."""
_SHED_S = 0.02
"""How often a queue without a free slot is looked at for requests that have waited too long."""

Responder = Callable[[Connection, Request], bytes | None]
"""Answers a reserved path in the leader: the bytes of a whole response, or None when answer_reserved() will follow."""

AccessLogHook = Callable[[Exchange, Slot, int, int], None]
"""Called in the thread that ran a request: with the time it waited for the thread and the time it took, in ns."""


class Reactor:
    """Connections of one worker process. `settings` are read once, here."""

    def __init__(
        self,
        settings: ServerSettings,
        application: WSGIApplication,
        listeners: Iterable[Listener],
        poller: Poller | None = None,
    ) -> None:
        self.settings = settings
        self.application = application
        listeners = list(listeners)
        self.tls = any(listener.tls for listener in listeners)
        self.heads = HeadWriter()
        self.statistics = ReactorStatistics()
        self.connections: dict[int, Connection] = {}
        self.draining = False
        self.reserved: dict[bytes, Responder] = {}
        self.on_sweep: Callable[[], None] | None = None
        """Called by the leader about every quarter of a second, and after sweep_soon()."""
        self.sharing: Sharing | None = None
        self.resting = 0
        """How many connections had not asked for anything for a while, when they were last counted."""
        self.found = 0
        """How many sockets had something to tell when poll() last asked."""
        self.surplus = 0
        """How many connections are better served by another worker. A decrement that is lost to a race does no harm."""
        self.finished_at_ns = 0
        """When the last request ended, by time.monotonic_ns()."""
        self.on_request: Callable[[], None] | None = None
        self.access_log: AccessLogHook | None = None
        self.pool: ThreadPool
        self.own = Slot(-2)
        """Counts the requests that the leader answers itself from what the application has ready."""
        self.proxies = ProxyTrust.from_settings(settings)
        self.keepalive_s = settings.keepalive_s
        self._poller = poller or new_poller()
        self._edge_triggered = self._poller.edge_triggered
        self._room = Room(_LONG_PIECES * settings.outbound_memory_bytes)
        self._handed_over: deque[Connection] = deque()
        self._pending: Iterator[tuple[int, int]] | None = None
        """What is left of a turn that failed. The poller tells of each event once."""
        self._now_ns = time.monotonic_ns()
        self._wake_in, self._wake_out = _wake_pipe()
        self._awake = False
        self._next_sweep = 0.0
        self._poller.add_listener(self._wake_in)
        self.overload = Overload(self)
        self.refuses, self.refuse = self.overload.refuses, self.overload.refuse
        self.outgoing = Outgoing(self, self._poller)
        self.finished, self.push = self.outgoing.finished, self.outgoing.push
        self.intake = Intake(self, self._poller, tls=self.tls)
        self.timers = Timers(self)
        self.acceptor = Acceptor(self, listeners, self._poller)

    # -- the leader's turn

    def poll(self) -> None:
        """One turn: wait for events, at most until a timer is due, see to them, queue the requests now complete.

        All that is ready is read before anything is run. To run each request as soon as it is read would keep it in
        the processor's cache, but reading, running, reading took 10 % more time: code has caches, too."""
        pool = self.pool
        queue, heavy = pool.queue, pool.permits.queue
        handed_over = self._handed_over
        if handed_over:
            timeout = 0.0
        elif queue or heavy:
            timeout = _SHED_S
        else:
            timeout = _SWEEP_S
        if self.sharing is not None:
            timeout = self.sharing.before_poll(self, timeout)
        events = self._poller.poll(timeout)
        self.found = len(events)
        self._now_ns = now_ns = time.monotonic_ns()
        connections, readable, flush = self.connections, self.intake.readable, self.outgoing.flush
        pending = self._pending = iter(events) if self._pending is None else chain(self._pending, events)
        for fd, mask in pending:
            connection = connections.get(fd)
            if connection is None:
                self._other_event(fd)
                continue
            if mask & GONE:
                connection.hung_up = True  # No other event will tell, whatever is read before the end.
            if connection.busy:
                # Dekker with finished(): the mark first, then a second look.
                connection.readable = True
                if mask & GONE or not self._edge_triggered:
                    connection.gone = connection.left_by_client(hung_up=bool(mask & GONE))
                if connection.outbound is not None and mask & (WRITE | GONE):
                    flush(connection)
                if connection.busy:
                    continue
            if connection.outbound is not None:
                flush(connection)
                if connection.outbound is not None:
                    continue  # Whoever does not take a response gets no other; flush() sees to what it has sent.
            readable(connection, now_ns)
        self._pending = None
        # Once each: what comes back meanwhile has its next turn after everybody else's.
        for _ in range(len(handed_over)):
            self._take_back(handed_over.popleft())
        now = now_ns / 1e9
        if now >= self._next_sweep:
            self._sweep(now)
        self.overload.after_turn(now)

    @property
    def polled_at_ns(self) -> int:
        """When poll() last came to its work, by time.monotonic_ns(): at least four times a second in a healthy pool."""
        return self._now_ns

    def sweep_soon(self) -> None:
        """Have the timers, and on_sweep(), looked after now. Any thread."""
        self._next_sweep = 0.0
        self.wake()

    def wake(self) -> None:
        """End a poll() that is under way. Any thread."""
        if not self._awake:
            self._awake = True
            os.write(self._wake_out, b"\1\0\0\0\0\0\0\0")

    def _other_event(self, fd: int) -> None:
        if fd == self._wake_in:
            with contextlib.suppress(BlockingIOError):
                os.read(fd, 4096)
            # Not before: what another thread writes between the two would be read here, and nobody would write again.
            self._awake = False
            self._next_sweep = 0.0 if self.acceptor.stopping else self._next_sweep
        elif fd in self.acceptor.listeners:
            self.acceptor.take(self.acceptor.listeners[fd])

    def _sweep(self, now: float) -> None:
        self._next_sweep = now + _SWEEP_S
        self.acceptor.sweep(now)
        if self.on_sweep is not None:
            self.on_sweep()
        self.overload.sweep(now)
        self.timers.sweep(now)

    # -- answers of the server's own

    def answer_from(self, responder: Responder, connection: Connection, request: Request) -> None:
        """A request asks for a page of the server's own. Leader only."""
        self.statistics.reserved += 1
        try:
            data = responder(connection, request)
        except Exception:
            logger.exception("A page of the server's own failed: %s", request.path)
            data = plain_response(500, "Internal Server Error\n")
        if data is not None:
            self.answer_reserved(connection, request, data)

    def answer_reserved(self, connection: Connection, request: Request, data: bytes) -> None:
        """Send the answer to a request for one of the server's own pages. Leader only."""
        try:
            connection.write(self, data)
        except ClientGone:
            self.close(connection)
            return
        self.finished(connection, request.keep_alive and not self.draining)

    # -- the end of an exchange

    def counters(self) -> list[Slot]:
        """All that count requests; their sums never fall."""
        return [*self.pool.counters(), self.own]

    def record(self, exchange: Exchange, slot: Slot, queued_ns: int, ended_ns: int, cpu_ns: int = -1) -> None:
        """Count a request that was run; `cpu_ns` is the processor time it took, -1 unknown. In its own thread."""
        took_ns = ended_ns - slot.started_ns
        self.finished_at_ns = ended_ns
        slot.count(exchange.code // 100, exchange.sent, queued_ns, took_ns)
        if took_ns > SLOW_NS or exchange.timed:
            self.overload.routes.learn(exchange.request.path, took_ns, cpu_ns, self.pool.busy)
        if self.access_log is not None:
            self.access_log(exchange, slot, queued_ns, took_ns)
        if self.on_request is not None:
            self.on_request()

    def release_request(self, connection: Connection) -> None:
        """Let go of a request and its body."""
        connection.request = None
        if connection.body is not None:
            connection.body.close()
            connection.body = None

    def again(self, connection: Connection) -> None:
        """Have this turn, or the next, come back to the connection. Leader only."""
        self._handed_over.append(connection)

    def hand_over(self, connection: Connection) -> None:
        """Ask the leader to look at the connection: it has bytes to flush, or to read, or is to be closed."""
        self._handed_over.append(connection)
        self.wake()

    def detach(self, slot: Slot) -> bool:
        """Give the exchange in `slot` a thread of its own beside the pool; False when too many have one."""
        if slot.detached:
            return True
        if sum(other.detached and not other.aside for other in self.pool.slots) >= self.settings.max_streams:
            return False
        self.pool.detach(slot)
        return True

    def abandon(self, exchange: Exchange, unanswered: bool) -> None:
        """Take the connection from a thread that is lost; its client gets 504 if it got nothing yet."""
        self.statistics.timeouts["request"] += 1
        connection = exchange.connection
        if unanswered:
            exchange.code = 504
            data = plain_response(
                504,
                "The application took too long.\n",
                date=self.heads.date(),
                bodiless=exchange.request.method == "HEAD",
            )
            exchange.sent += len(data)
            with contextlib.suppress(ClientGone):
                connection.write(self, data)
        else:
            exchange.cut_off()
        self.finished(connection, keep_alive=False)

    def timed_out(self, slot: Slot) -> None:
        """The exchange in `slot` was interrupted."""
        self.statistics.timeouts["request"] += 1
        slot.worn_out = True

    def sends_away(self, connection: Connection) -> bool:
        """Whether to close the connection after this response, for its client to come back to another worker."""
        if self.surplus <= 0 or connection.inbox:
            return False
        self.surplus -= 1
        self.statistics.sent_away += 1
        return True

    def new_outbound(self) -> Outbound:
        return Outbound(self.settings.outbound_memory_bytes, self.settings.outbound_spool_bytes, self._room)

    # -- connections that come back

    def _take_back(self, connection: Connection) -> None:
        now_ns = self._now_ns
        if self.connections.get(connection.fd) is not connection:
            return
        if connection.outbound is not None:
            self.outgoing.flush(connection)
            if self.connections.get(connection.fd) is not connection:
                return
        if connection.busy or (connection.request is not None and connection.body is None):
            return
        if connection.lingering:
            if connection.outbound is None and connection.deadline == 0.0:
                self.close(connection)
            else:
                self.intake.readable(connection, now_ns)
            return
        if connection.outbound is not None:
            self._poller.arm(connection.fd, True)
            return
        if connection.inbox and connection.body is None:
            inbox, connection.inbox = connection.inbox, b""
            connection.deadline = now_ns / 1e9 + self.settings.header_timeout_s
            served = connection.served
            try:
                self.intake.begin_request(connection, inbox, now_ns)
            except HTTPError as error:
                self.intake.bad_request(connection, error)
                return
            if connection.served != served and (connection.inbox or connection.outbound is not None):
                return  # It has been answered already, and comes back.
        if not connection.busy:
            self.intake.readable(connection, now_ns)

    def close(self, connection: Connection) -> None:
        """Forget a connection that no thread has. Leader only."""
        self.connections.pop(connection.fd, None)
        if not self._edge_triggered:
            self._poller.remove(connection.fd)
        self.release_request(connection)
        if connection.outbound is not None:
            connection.outbound.close()
            connection.outbound = None
        connection.busy = True  # Whoever holds a stale event for it leaves it alone.
        with contextlib.suppress(OSError):
            connection.sock.close()

    # -- the end

    def stop_accepting(self) -> None:
        """Take what the kernel has accepted already, then nothing more. Any thread; done by the leader."""
        self.acceptor.stopping = True
        self.wake()

    def drain(self, idle_s: float) -> None:
        """Let every connection end: after its next response, or after `idle_s` seconds without a request."""
        self.draining = True
        self.timers.shorten_idle(idle_s)
        self.wake()

    @property
    def is_drained(self) -> bool:
        """The leader has stopped accepting, and every connection has ended."""
        return not self.acceptor.listeners and not self.connections

    def unfinished(self) -> str:
        """What shut_down() would cut off, in words."""
        requests = sum(slot.task is not None for slot in self.pool.slots) + self.pool.waiting
        connections = list(self.connections.values())
        responses = sum(not c.busy and c.outbound is not None for c in connections)
        incoming = sum(not c.busy and (bool(c.inbox) or c.body is not None) for c in connections)
        return f"{requests} running requests, {responses} responses on their way, {incoming} half-sent requests"

    def shut_down(self) -> None:
        """Close everything; no thread of the pool runs any more."""
        for connection in list(self.connections.values()):
            self.close(connection)
        self._poller.close()
        os.close(self._wake_in)
        if self._wake_out != self._wake_in:
            os.close(self._wake_out)


def _wake_pipe() -> tuple[int, int]:
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return fd, fd
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    return read, write
