"""The leader's work: accept, read, complete requests, flush, time out. Everything that has to do with waiting.

poll() is called by one thread at a time (threadpool.py); it reads sockets and appends complete requests to the
pool's queue. finished(), hand_over(), push() and the answers to refused requests are called by whichever thread
runs the exchange. Connections are read, and their timers kept, by the leader alone.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from django_wsgiperf.conf import ServerSettings

from . import admission
from .bodies import Body
from .connection import NEVER, Connection
from .gateway import Exchange, FileWrapper, WSGIApplication
from .http1 import CHUNKED, HEAD_END, HeadParser, HTTPError, Limits, Request
from .outbound import WOULD_BLOCK, ClientGone, Outbound
from .poller import GONE, WRITE, Poller, new_poller
from .preamble import take_preamble
from .proxy import ProxyTrust
from .response import HeadWriter, plain_response
from .routes import RouteCosts, is_slow
from .sharing import Sharing
from .slots import HISTOGRAM_BUCKETS, Slot
from .threadpool import TaskQueue, ThreadPool

logger = logging.getLogger("django_wsgiperf.server")

_READ_BYTES = 16_384
_BODY_READ_BYTES = 262_144
_READS_IN_A_ROW = 16
_ACCEPTS_IN_A_ROW = 64
_SWEEP_S = 0.25
_SHED_S = 0.02
"""How often a queue without a free slot is looked at for requests that have waited too long."""
_LINGER_S = 2.0
_BODY_GRACE_S = 10.0
"""An upload may be slower than body_min_rate for this long before it is given up."""
_WAITED_NS = 5_000_000
"""A request that was begun sooner has not been in the queue: its client may have shut its sending side only."""
_STARVED_TURN_NS = 30_000_000
"""A leader that takes so long to read what is there waits for the interpreter lock most of the time."""
_STARVED_SWITCH_S = 0.0005
_COMPUTES_LONG_NS = 250_000_000
"""A request that has computed for so long is no short one, and keeps short ones no longer from computing."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_BUCKET = HISTOGRAM_BUCKETS - 1

Responder = Callable[[Connection, Request], bytes | None]
"""Answers a reserved path in the leader: the bytes of a whole response, or None when answer_reserved() will follow."""

AccessLogHook = Callable[[Exchange, Slot, int, int], None]
"""Called in the thread that ran a request: with the time it waited for the thread and the time it took, in ns."""


@dataclass(slots=True)
class Listener:
    """A listening socket, and the part of the environ that its requests share."""

    sock: socket.socket
    base_environ: dict[str, Any]
    tls: ssl.SSLContext | None = None
    unix: bool = False


@dataclass(slots=True)
class ReactorStatistics:
    """Counters since the start; written by the leader, but for `shed`, which any thread may add to."""

    accepted: int = 0
    open_max: int = 0
    open_peak: int = 0
    """As open_max, since whoever samples it has set it to 0; so is queue_peak."""
    queue_max: int = 0
    queue_peak: int = 0
    reserved: int = 0
    bad_requests: int = 0
    abandoned: int = 0
    """Queued requests whose client left before they were begun."""
    shed: dict[str, int] = field(default_factory=lambda: {"queue_length": 0, "queue_deadline": 0})
    timeouts: dict[str, int] = field(
        default_factory=lambda: {
            "header": 0,
            "body": 0,
            "write": 0,
            "keepalive": 0,
            "request": 0,
            "handshake": 0,
        }
    )
    received_bytes: int = 0
    written_ns: int = 0
    """Time that clients took for what their sockets did not take at once, after the thread was free again."""
    write_histogram: list[int] = field(default_factory=lambda: [0] * HISTOGRAM_BUCKETS)
    """Of responses that were left to the leader: durations as in Slot."""


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
        self.listeners = {listener.sock.fileno(): listener for listener in listeners}
        self.tls = any(listener.tls for listener in self.listeners.values())
        self.heads = HeadWriter()
        self.statistics = ReactorStatistics()
        self.connections: dict[int, Connection] = {}
        self.draining = False
        self.reserved: dict[bytes, Responder] = {}
        self.on_sweep: Callable[[], None] | None = None
        """Called by the leader about every quarter of a second, and after sweep_soon()."""
        self.sharing: Sharing | None = None
        self.finished_at_ns = 0
        """When the last request ended, by time.monotonic_ns()."""
        self.on_request: Callable[[], None] | None = None
        self.access_log: AccessLogHook | None = None
        self.pool: ThreadPool
        self.proxies = ProxyTrust.from_settings(settings)
        self._parser = HeadParser(Limits(settings.head_bytes, settings.head_fields, settings.target_bytes))
        self._poller = poller or new_poller()
        self._edge_triggered = self._poller.edge_triggered
        self._handed_over: deque[Connection] = deque()
        self._now_ns = time.monotonic_ns()
        self._wake_in, self._wake_out = _wake_pipe()
        self._awake = False
        self._accepting = False
        self._accept_again_at = 0.0
        self._stop_accepting = False
        self._idle_s = NEVER
        self._next_sweep = 0.0
        self.routes = RouteCosts()
        self._meter: admission.Meter | None = None
        self._compute_limit = admission.ComputeLimit(settings.threads)
        self._starved_until = 0.0
        self._leavers = [0, 0, 0]
        """Clients that left a queue in this second, and in the two before."""
        self._next_second = 0.0
        self._header_timeout_s = settings.header_timeout_s
        self._keepalive_s = settings.keepalive_s
        self._body_min_rate = settings.body_min_rate
        self._poller.add_listener(self._wake_in)
        self.accept(True)

    # -- the leader's turn

    def poll(self) -> None:
        """One turn: wait for events, at most until a timer is due, see to them, queue the requests now complete.

        All that is ready is read before anything is run. To run each request as soon as it is read would keep it in
        the processor's cache, but reading, running, reading took 10 % more time: code has caches, too."""
        pool = self.pool
        queue, heavy = pool.queue, pool.compute_queue
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
        self._now_ns = now_ns = time.monotonic_ns()
        connections = self.connections
        for fd, mask in events:
            connection = connections.get(fd)
            if connection is None:
                self._other_event(fd)
                continue
            if connection.busy:
                # Dekker with finished(): the mark first, then a second look.
                connection.readable = True
                if mask & GONE or not self._edge_triggered:
                    connection.gone = connection.left_by_client()
                if connection.outbound is not None and mask & (WRITE | GONE):
                    self._flush(connection)
                if connection.busy:
                    continue
            if connection.outbound is not None:
                self._flush(connection)
                if connection.outbound is not None:
                    continue  # Whoever does not take a response gets no other; _flush() sees to what it has sent.
            self._readable(connection, now_ns)
            if mask & GONE:
                connection.readable = True  # The end of the stream is still to be read, after the response.
        while handed_over:
            self._take_back(handed_over.popleft())
        now = now_ns / 1e9
        if now >= self._next_sweep:
            self._sweep(now)
        if queue and not pool.has_free_slot:
            self._shed_waiting(queue, now)
        else:
            queue.empty_at = now
            queue.newest_first = False
        if heavy:
            self._watch_computing(heavy, now)

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
            self._awake = False
            self._next_sweep = 0.0 if self._stop_accepting else self._next_sweep
            with contextlib.suppress(BlockingIOError):
                os.read(fd, 4096)
        elif fd in self.listeners:
            self._accept(self.listeners[fd])

    # -- accepting

    def accept(self, accepting: bool) -> None:
        """Begin or stop taking connections from the listeners."""
        if accepting == self._accepting:
            return
        self._accepting = accepting
        self.listen(accepting)

    @property
    def is_accepting(self) -> bool:
        return self._accepting and not self._stop_accepting

    def listen(self, listening: bool) -> None:
        """Have new connections reported, or leave them to other workers for a while. Leader only."""
        for fd in self.listeners:
            if listening:
                self._poller.add_listener(fd)
            else:
                self._poller.remove(fd)

    def _accept(self, listener: Listener) -> None:
        settings = self.settings
        sharing = self.sharing
        for _ in range(_ACCEPTS_IN_A_ROW if sharing is None else sharing.allowance(self, _ACCEPTS_IN_A_ROW)):
            if len(self.connections) >= settings.max_connections:
                self._pause_accepting(f"max_connections ({settings.max_connections}) connections are open")
                return
            try:
                sock, address = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause_accepting(os.strerror(error.errno))
                # Otherwise the client left between its SYN and our accept: the next one, please.
                return
            self._open(sock, address, listener)

    def _accept_the_rest(self) -> None:
        """Take what the kernel has accepted for us, then close the listeners: who comes later is refused at once.

        A listener that is open and that nobody accepts from would let its clients wait for nothing."""
        accepted = -1
        while self._accepting and self.statistics.accepted != accepted:
            accepted = self.statistics.accepted
            for listener in self.listeners.values():
                self._accept(listener)
        self.accept(False)
        listeners, self.listeners = self.listeners, {}
        for listener in listeners.values():
            listener.sock.close()

    def _pause_accepting(self, reason: str) -> None:
        if self._accept_again_at == 0.0:
            logger.warning("New connections wait: %s", reason)
        self._accept_again_at = time.monotonic() + 0.5
        self.accept(False)

    def _open(self, sock: socket.socket, address: Any, listener: Listener) -> None:
        now = time.monotonic()
        sock.setblocking(False)
        peer, port = ("", "") if listener.unix else (address[0], str(address[1]))
        connection = Connection(sock, peer, port, listener, now + self._header_timeout_s)
        if self.proxies is not None and self.proxies.expects_header(connection):
            connection.preamble = connection.handshaking = True
        elif listener.tls is not None:
            connection.handshaking = True
            try:
                connection.begin_tls()
            except OSError:
                sock.close()  # The client has left already.
                return
        self.connections[connection.fd] = connection
        self._poller.add(connection.fd)
        statistics = self.statistics
        statistics.accepted += 1
        if len(self.connections) > statistics.open_peak:
            statistics.open_peak = len(self.connections)
            statistics.open_max = max(statistics.open_max, statistics.open_peak)

    # -- reading

    def _readable(self, connection: Connection, now_ns: int) -> None:
        """Read what is there and do what it completes; leaves at the first request, or when nothing is left."""
        connection.readable = False
        if connection.handshaking and not self._handshake(connection):
            return
        size = _READ_BYTES if connection.body is None else _BODY_READ_BYTES
        for _ in range(_READS_IN_A_ROW):
            try:
                data = connection.sock.recv(size)
            except WOULD_BLOCK:
                break
            except OSError:
                self.close(connection)
                return
            if not data:
                self._client_closed(connection)
                return
            self.statistics.received_bytes += len(data)
            if connection.lingering:
                continue
            try:
                self._feed(connection, data, now_ns)
            except HTTPError as error:
                self._bad_request(connection, error)
                return
            if connection.busy:
                # What follows is the next request's; it is read when this one is answered.
                connection.readable = len(data) == size or self.tls
                if not self._edge_triggered:
                    self._poller.arm(connection.fd, False)  # To learn that the client leaves.
                return
            if connection.outbound is not None or (len(data) < size and not self.tls):
                break
        else:
            self._handed_over.append(connection)  # The others' turn first.
            return
        self._poller.arm(connection.fd, connection.outbound is not None)

    def _feed(self, connection: Connection, data: bytes, now_ns: int) -> None:
        """Take bytes of a request. Raises HTTPError."""
        body = connection.body
        if body is not None:
            connection.inbox = body.feed(data)
            connection.deadline = self._body_deadline(connection, body, now_ns / 1e9)
            if body.complete:
                self._complete(connection, now_ns)
            return
        if connection.inbox:
            data = connection.inbox + data
        elif connection.served:
            connection.deadline = now_ns / 1e9 + self._header_timeout_s
        self._begin_request(connection, data, now_ns)

    def _begin_request(self, connection: Connection, data: bytes, now_ns: int) -> None:
        if data.startswith(b"\r\n"):
            data = data[2:]  # RFC 9112 section 2.2: an empty line before a request line is forgiven.
        end = data.find(HEAD_END) + 4
        if end == 3:
            connection.inbox = data
            if data and data != b"\r":
                connection.head_checked = self._parser.check_start(data, connection.head_checked)
            return
        connection.head_checked = 0
        if end == len(data):
            head = data
            connection.inbox = b""
        else:
            head = data[:end]
            connection.inbox = data[end:]
        request = self._parser.parse(head, connection.listener.base_environ)
        environ = request.environ
        environ["REMOTE_ADDR"] = connection.peer
        environ["REMOTE_PORT"] = connection.peer_port
        if self.proxies is not None:
            self.proxies.apply(connection, environ)
        connection.request = request
        if not self._keepalive_s:
            request.keep_alive = False
        if request.content_length:
            self._begin_body(connection, request, now_ns)
        else:
            self._complete(connection, now_ns)

    def _begin_body(self, connection: Connection, request: Request, now_ns: int) -> None:
        settings = self.settings
        body = Body(request.content_length, settings.body_bytes, settings.body_memory_bytes)
        connection.body = body
        connection.body_started = now_ns / 1e9
        if connection.inbox:
            connection.inbox = body.feed(connection.inbox)
        connection.deadline = self._body_deadline(connection, body, connection.body_started)
        if body.complete:
            self._complete(connection, now_ns)
        elif request.expect_continue and not body.received:
            try:
                connection.write(self, _CONTINUE)
            except ClientGone:
                self.close(connection)

    def _body_deadline(self, connection: Connection, body: Body, now: float) -> float:
        """When the next piece of the body has to be here: after a pause at most, and at the least rate on average."""
        deadline = now + self.settings.body_timeout_s
        if self._body_min_rate:
            due = connection.body_started + _BODY_GRACE_S + body.received / self._body_min_rate
            deadline = min(deadline, due)
        return deadline

    def _complete(self, connection: Connection, now_ns: int) -> None:
        """A request is whole: answer it here if it asks for one of the server's own pages, else queue it."""
        request = connection.request
        assert request is not None
        environ = request.environ
        body = connection.body
        environ["wsgi.input"] = BytesIO() if body is None else body.open()
        if body is not None and request.content_length == CHUNKED:
            environ["CONTENT_LENGTH"] = str(body.received)
        connection.busy = True
        connection.deadline = NEVER
        connection.served += 1
        responder = self.reserved.get(request.path)
        if responder is not None:
            self._answer_reserved(connection, request, responder)
            return
        exchange = Exchange(self, connection, request, now_ns)
        pool = self.pool
        queue = pool.queue
        if self.routes:
            cost = self.routes.get(request.path)
            if cost is not None:
                exchange.blocks = cost.blocks
                if cost.computes and pool.size > 1:
                    exchange.computes = True
                    queue = pool.compute_queue
        if pool.waiting >= self.settings.queue_length and not (
            pool.can_compute if exchange.computes else pool.has_free_slot
        ):
            self.refuse(exchange, "queue_length")
            return
        queue.append(exchange)

    def _client_closed(self, connection: Connection) -> None:
        if connection.outbound is not None and connection.outbound.pending and not connection.lingering:
            # It has shut its sending side only, perhaps; what it asked for is still owed to it.
            connection.gone = True
            return
        self.close(connection)

    def _handshake(self, connection: Connection) -> bool:
        """Take what comes before HTTP, a PROXY header and TLS, as far as it is there; whether that is all of it."""
        try:
            if connection.preamble:
                assert self.proxies is not None
                if not take_preamble(connection, self.proxies):
                    self._poller.arm(connection.fd, False)
                    return False
                if connection.listener.tls is not None:
                    connection.begin_tls()
            if isinstance(connection.sock, ssl.SSLSocket):
                connection.sock.do_handshake()
        except WOULD_BLOCK as error:
            self._poller.arm(connection.fd, isinstance(error, ssl.SSLWantWriteError))
            return False
        except OSError as error:
            logger.debug("Handshake failed: %s", error)
            self.close(connection)
            return False
        connection.handshaking = False
        return True

    # -- answers of the server's own

    def _bad_request(self, connection: Connection, error: HTTPError) -> None:
        self.statistics.bad_requests += 1
        connection.inbox = b""
        self._answer_and_close(connection, plain_response(error.status, f"{error.detail}\n", date=self.heads.date()))

    def _answer_and_close(self, connection: Connection, data: bytes) -> None:
        """Leader only, on a connection that no thread has."""
        try:
            connection.write(self, data)
        except ClientGone:
            self.close(connection)
            return
        self._release_request(connection)
        connection.busy = True  # finished() is what gives it back.
        self.finished(connection, keep_alive=False)

    def _answer_reserved(self, connection: Connection, request: Request, responder: Responder) -> None:
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

    def refuses(self, exchange: Exchange, queued_ns: int) -> str | None:
        """Why a queued request is not to be run after all; None to run it."""
        if exchange.connection.gone and queued_ns > _WAITED_NS:
            return "gone"
        if queued_ns > 50_000_000:
            queue = self.pool.compute_queue if exchange.computes else self.pool.queue
            if queued_ns > self._queue_deadline_s(queue, time.monotonic()) * 1e9:
                return "queue_deadline"
        return None

    def refuse(self, exchange: Exchange, reason: str) -> None:
        """Answer 503 to a request that gets no thread, or nothing to one whose client has left."""
        connection = exchange.connection
        if reason == "gone":
            self.statistics.abandoned += 1
            self._leavers[0] += 1
            self.finished(connection, keep_alive=False)
            return
        self.statistics.shed[reason] += 1
        data = plain_response(
            503,
            "The server is overloaded. Please try again in a moment.\n",
            keep_alive=exchange.keep_alive,
            headers=[("Retry-After", "1")],
            date=self.heads.date(),
            bodiless=exchange.request.method == "HEAD",
        )
        try:
            connection.write(self, data)
        except ClientGone:
            self.finished(connection, keep_alive=False)
        else:
            self.finished(connection, exchange.keep_alive)

    def _queue_deadline_s(self, queue: TaskQueue, now: float) -> float:
        """CoDel's idea (Nichols and Jacobson): a queue that is never empty is no buffer but a delay."""
        settings = self.settings
        standing = now - queue.empty_at > settings.queue_standing_deadline_s
        return settings.queue_standing_deadline_s if standing else settings.queue_deadline_s

    def _watch_computing(self, queue: TaskQueue, now: float) -> None:
        """Requests that compute are queued: see that their permits go round, and that the leader gets its turn."""
        pool = self.pool
        if time.monotonic_ns() - self._now_ns > _STARVED_TURN_NS:
            # Each system call of the leader's has cost it a whole switch interval, and clients time out meanwhile.
            self._starved_until = now + 1.0
            sys.setswitchinterval(min(_STARVED_SWITCH_S, self.settings.switch_interval_ms / 1000))
        pool.overdue(self._now_ns - _COMPUTES_LONG_NS)
        if pool.can_compute:
            queue.empty_at = now
            queue.newest_first = False
        else:
            self._shed_waiting(queue, now)

    def _adapt_compute_limit(self) -> None:
        """Four times a second, once there is a route that computes."""
        pool, chosen = self.pool, self.settings.compute_threads
        if chosen or not admission.gil_enabled():
            pool.compute_limit = min(chosen or pool.size, pool.size)
        elif self._meter is None:
            self._meter = admission.Meter()
            pool.compute_limit = self._compute_limit.limit
        else:
            pool.compute_limit = self._compute_limit.adjust(self._meter.load(), len(pool.compute_queue))

    def _shed_waiting(self, queue: TaskQueue, now: float) -> None:
        """Nothing of `queue` can be run: give up what has waited too long, and serve the young first then."""
        statistics = self.statistics
        if self.pool.waiting > statistics.queue_peak:
            statistics.queue_peak = self.pool.waiting
            statistics.queue_max = max(statistics.queue_max, statistics.queue_peak)
        deadline_ns = int((now - self._queue_deadline_s(queue, now)) * 1e9)
        half_ns = int((now - self.settings.queue_standing_deadline_s / 2) * 1e9)
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

    # -- the end of an exchange

    def record(self, exchange: Exchange, slot: Slot, queued_ns: int, ended_ns: int, cpu_ns: int = -1) -> None:
        """Count a request that was run; `cpu_ns` is the processor time it took, -1 unknown. In its own thread."""
        took_ns = ended_ns - slot.started_ns
        self.finished_at_ns = ended_ns
        slot.requests += 1
        slot.queued_ns += queued_ns
        slot.served_ns += took_ns
        slot.sent_bytes += exchange.sent
        slot.statuses[exchange.code // 100] += 1
        slot.queue_histogram[min((queued_ns // 1000).bit_length(), _LAST_BUCKET)] += 1
        slot.service_histogram[min((took_ns // 1000).bit_length(), _LAST_BUCKET)] += 1
        if is_slow(took_ns) or exchange.blocks:
            self.routes.learn(exchange.request.path, took_ns, cpu_ns, self.pool.busy)
        if self.access_log is not None:
            self.access_log(exchange, slot, queued_ns, took_ns)
        if self.on_request is not None:
            self.on_request()

    def finished(self, connection: Connection, keep_alive: bool) -> None:
        """The response was handed to the connection; give it back to the leader. Any thread."""
        self._release_request(connection)
        outbound = connection.outbound
        if outbound is not None:
            if outbound.pending:
                connection.write_began_ns = time.monotonic_ns()
            else:
                connection.outbound = outbound = None
        if keep_alive and self._keepalive_s and outbound is None:
            connection.deadline = time.monotonic() + self._keepalive_s
            connection.busy = False
            if connection.readable or connection.inbox or not self._edge_triggered:
                self.hand_over(connection)
            return
        if not keep_alive:
            connection.lingering = True
            if outbound is None:
                if connection.gone:
                    connection.deadline = 0.0
                else:
                    self._shut(connection)
        else:
            connection.deadline = time.monotonic() + self.settings.write_timeout_s
        connection.busy = False
        self.hand_over(connection)

    def _shut(self, connection: Connection) -> None:
        """Say that no more will come. Closing at once could take the response's last bytes from the client."""
        connection.deadline = time.monotonic() + _LINGER_S
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            connection.deadline = 0.0

    def _release_request(self, connection: Connection) -> None:
        connection.request = None
        if connection.body is not None:
            connection.body.close()
            connection.body = None

    def hand_over(self, connection: Connection) -> None:
        """Ask the leader to look at the connection: it has bytes to flush, or to read, or is to be closed."""
        self._handed_over.append(connection)
        self.wake()

    def push(self, connection: Connection) -> None:
        """Send what the outbound buffer holds as far as the socket takes it, and leave the rest to the leader."""
        outbound = connection.outbound
        assert outbound is not None
        try:
            outbound.flush(connection.sock)
        except OSError as error:
            connection.gone = True
            raise ClientGone from error
        if outbound.pending:
            self.hand_over(connection)

    def detach(self, slot: Slot) -> bool:
        """Give the exchange in `slot` a thread of its own beside the pool; False when too many have one."""
        if slot.detached:
            return True
        if sum(other.detached for other in self.pool.slots) >= self.settings.max_streams:
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
            with contextlib.suppress(ClientGone):
                connection.write(self, data)
        self.finished(connection, keep_alive=False)

    def timed_out(self, slot: Slot) -> None:
        """The exchange in `slot` was interrupted."""
        self.statistics.timeouts["request"] += 1
        slot.worn_out = True

    def new_outbound(self) -> Outbound:
        return Outbound(self.settings.outbound_memory_bytes, self.settings.outbound_spool_bytes)

    # -- connections that come back

    def _take_back(self, connection: Connection) -> None:
        now_ns = self._now_ns
        if self.connections.get(connection.fd) is not connection:
            return
        if connection.outbound is not None:
            self._flush(connection)
            if self.connections.get(connection.fd) is not connection:
                return
        if connection.busy or (connection.request is not None and connection.body is None):
            return
        if connection.lingering:
            if connection.outbound is None and connection.deadline == 0.0:
                self.close(connection)
            else:
                self._readable(connection, now_ns)
            return
        if connection.outbound is not None:
            self._poller.arm(connection.fd, True)
            return
        if connection.inbox and connection.body is None:
            inbox, connection.inbox = connection.inbox, b""
            connection.deadline = now_ns / 1e9 + self._header_timeout_s
            try:
                self._begin_request(connection, inbox, now_ns)
            except HTTPError as error:
                self._bad_request(connection, error)
                return
        if not connection.busy:
            self._readable(connection, now_ns)

    def _flush(self, connection: Connection) -> None:
        outbound = connection.outbound
        if outbound is None:
            return
        try:
            sent = outbound.flush(connection.sock)
        except OSError:
            connection.gone = True
            outbound.close()
            if not connection.busy:
                self.close(connection)
            return
        if outbound.pending:
            if sent or connection.deadline == NEVER:
                connection.deadline = time.monotonic() + self.settings.write_timeout_s
            self._poller.arm(connection.fd, True)
        elif connection.busy:
            connection.deadline = NEVER
        else:
            connection.outbound = None
            if connection.write_began_ns:
                self._count_write(connection)
            if connection.lingering:
                self._shut(connection)
            else:
                connection.deadline = time.monotonic() + self._keepalive_s
                self._handed_over.append(connection)

    def _count_write(self, connection: Connection) -> None:
        took_ns = time.monotonic_ns() - connection.write_began_ns
        connection.write_began_ns = 0
        self.statistics.written_ns += took_ns
        self.statistics.write_histogram[min((took_ns // 1000).bit_length(), _LAST_BUCKET)] += 1

    def close(self, connection: Connection) -> None:
        """Forget a connection that no thread has. Leader only."""
        self.connections.pop(connection.fd, None)
        if not self._edge_triggered:
            self._poller.remove(connection.fd)
        self._release_request(connection)
        if connection.outbound is not None:
            connection.outbound.close()
            connection.outbound = None
        connection.busy = True  # Whoever holds a stale event for it leaves it alone.
        with contextlib.suppress(OSError):
            connection.sock.close()

    # -- timers

    def _sweep(self, now: float) -> None:
        """Look at every connection's deadline; four times a second, 10,000 connections cost a millisecond or so."""
        self._next_sweep = now + _SWEEP_S
        if now >= self._next_second:
            self._next_second = now + 1.0
            self._leavers[:] = 0, self._leavers[0], self._leavers[1]
        if self._accept_again_at and now >= self._accept_again_at and not self._stop_accepting:
            self._accept_again_at = 0.0
            self.accept(True)
        if self._stop_accepting and self.listeners:
            self._accept_the_rest()
        if self.on_sweep is not None:
            self.on_sweep()
        if self.routes:
            self._adapt_compute_limit()
        if self._starved_until and now > self._starved_until:
            self._starved_until = 0.0
            sys.setswitchinterval(self.settings.switch_interval_ms / 1000)
        if self._idle_s != NEVER:
            self._keepalive_s = min(self._keepalive_s, self._idle_s)
            soon, self._idle_s = now + self._idle_s, NEVER
            for connection in self.connections.values():
                if connection.idle:
                    connection.deadline = min(connection.deadline, soon)
        for connection in [c for c in self.connections.values() if c.deadline < now]:
            self._expire(connection, now)

    def _expire(self, connection: Connection, now: float) -> None:
        timeouts = self.statistics.timeouts
        outbound = connection.outbound
        if outbound is not None and outbound.pending:
            timeouts["write"] += 1
            connection.gone = True
            outbound.close()
            if connection.busy:
                connection.deadline = NEVER
            else:
                self.close(connection)
        elif connection.busy:
            connection.deadline = NEVER
        elif connection.lingering:
            self.close(connection)
        elif connection.handshaking:
            timeouts["handshake"] += 1
            self.close(connection)
        elif connection.body is not None:
            timeouts["body"] += 1
            self._bad_request(connection, HTTPError(408, "the request body did not come in time"))
        elif connection.inbox:
            timeouts["header"] += 1
            self._bad_request(connection, HTTPError(408, "the request head did not come in time"))
        else:
            timeouts["keepalive" if connection.served else "header"] += 1
            self.close(connection)

    # -- the end

    def stop_accepting(self) -> None:
        """Take what the kernel has accepted already, then nothing more. Any thread; done by the leader."""
        self._stop_accepting = True
        self.wake()

    def drain(self, idle_s: float) -> None:
        """Let every connection end: after its next response, or after `idle_s` seconds without a request."""
        self.draining = True
        self._idle_s = idle_s
        self.wake()

    @property
    def is_drained(self) -> bool:
        """The leader has stopped accepting, and every connection has ended."""
        return not self.listeners and not self.connections

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


def base_environ(settings: ServerSettings, sock: socket.socket, *, tls: bool, multiprocess: bool) -> dict[str, Any]:
    """The part of the environ that does not change from request to request (PEP 3333)."""
    name = sock.getsockname()
    host, port = (name[0], str(name[1])) if isinstance(name, tuple) else ("localhost", "")
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_SOFTWARE": "django-wsgiperf",
        "REMOTE_ADDR": "",
        "REMOTE_PORT": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if tls else "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }


def _wake_pipe() -> tuple[int, int]:
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return fd, fd
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    return read, write
