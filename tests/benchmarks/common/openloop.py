"""Open-loop load: requests leave at their appointed times, whether or not earlier ones were answered.

Arrivals are a Poisson process made from a seed. A request's time counts from its appointment, so a server that
stalls is charged for everyone who came meanwhile. A client gives up after its time-out and closes its connection.
Idle connections are reused, as browsers and proxies do; when none is idle, a new one is opened. One thread, 127.0.0.1
only, bounded in requests and time.
"""

from __future__ import annotations

import errno
import random
import select
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from tests.benchmarks.common.stats import percentile

MAX_REQUESTS = 100_000
RECEIVE_BYTES = 65_536
#: A generator that leaves this much too late measures itself.
LATE_MS = 5.0
CONNECTING = (0, errno.EINPROGRESS)


@dataclass(slots=True)
class Tally:
    """What came of the requests that were due in the counted window. Latencies in ms, of good answers only."""

    window_s: float
    due: int = 0
    good: int = 0
    shed: int = 0
    other_status: int = 0
    timed_out: int = 0
    broken: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    #: How late the requests left: the generator's own delay. Large values spoil the run.
    lag_ms: list[float] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """2xx answers a second that came before the client gave up."""
        return self.good / self.window_s

    def latency_ms(self, percent: float) -> float:
        return percentile(self.latencies_ms, percent) if self.latencies_ms else float("nan")

    def lag_p99_ms(self) -> float:
        return percentile(self.lag_ms, 99) if self.lag_ms else float("nan")


@dataclass(slots=True)
class Request:
    due_s: float
    counted: bool
    done: bool = False


@dataclass(slots=True, eq=False)
class Connection:
    sock: socket.socket
    request: Request | None
    reused: bool = False
    connecting: bool = False
    received: bytes = b""


def parse(received: bytes) -> tuple[int, bool, bool]:
    """Read a response so far: its status (0 while the head is incomplete), whether it is whole, and kept alive.

    Knows only what the benchmark's pages send: a Content-Length, or a body that ends with the connection.
    """
    head, ended, body = received.partition(b"\r\n\r\n")
    if not ended:
        return 0, False, True
    first, *lines = head.split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    status = int(first.split(b" ", 2)[1])
    keep = fields.get(b"connection", b"").lower() != b"close" and not first.startswith(b"HTTP/1.0")
    if b"content-length" not in fields:
        return status, False, False
    return status, len(body) >= int(fields[b"content-length"]), keep


class Generator:
    """One run. `run()` gives the tally."""

    def __init__(
        self, port: int, path: str, *, rate: float, seconds: float, settle_s: float, timeout_s: float, seed: int
    ) -> None:
        self.port, self.timeout_s = port, timeout_s
        self.payload = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.tally = Tally(window_s=seconds - settle_s)
        self.due = deque(arrivals(rate, seconds, seed))
        self.settle_s = settle_s
        self.end_s = seconds + timeout_s + 1.0
        self.selector = selectors.EpollSelector()
        self.idle: list[Connection] = []
        self.waiting: deque[tuple[Request, Connection]] = deque()
        self.current: dict[int, Connection] = {}
        self.open_requests = 0

    def run(self) -> Tally:
        began_s = time.perf_counter()
        try:
            while self.due or self.open_requests:
                now_s = time.perf_counter() - began_s
                if now_s > self.end_s:
                    break
                while self.due and self.due[0] <= now_s:
                    self.start(self.due.popleft(), now_s)
                self.give_up(now_s)
                wait_s = self.next_event_s() - (time.perf_counter() - began_s)
                # epoll waits in whole milliseconds; select() on the epoll object itself waits in microseconds.
                select.select([self.selector], [], [], max(0.0, wait_s))
                for key, events in self.selector.select(0):
                    self.react(key.data, events, began_s)
        finally:
            for connection in list(self.current.values()):
                self.close(connection)
            self.selector.close()
        return self.tally

    def next_event_s(self) -> float:
        """Give the time of the next arrival or time-out."""
        while self.waiting and self.waiting[0][0].done:
            self.waiting.popleft()
        due_s = self.due[0] if self.due else self.end_s
        return min(due_s, self.waiting[0][0].due_s + self.timeout_s) if self.waiting else due_s

    def start(self, due_s: float, now_s: float) -> None:
        request = Request(due_s, counted=due_s >= self.settle_s)
        self.open_requests += 1
        if request.counted:
            self.tally.due += 1
            self.tally.lag_ms.append((now_s - due_s) * 1000)
        if self.idle:
            connection = self.idle.pop()
            connection.request, connection.reused, connection.received = request, True, b""
            self.waiting.append((request, connection))
            self.send(connection)
        else:
            self.connect(request)

    def connect(self, request: Request) -> None:
        """Open a connection for `request`, and send as soon as it stands."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        outcome = sock.connect_ex(("127.0.0.1", self.port))
        connection = Connection(sock, request, connecting=outcome != 0)
        self.current[sock.fileno()] = connection
        self.waiting.append((request, connection))
        self.selector.register(sock, selectors.EVENT_WRITE if outcome else selectors.EVENT_READ, connection)
        if outcome not in CONNECTING:
            self.fail(connection)
        elif outcome == 0:
            self.send(connection)

    def send(self, connection: Connection) -> None:
        try:
            connection.sock.send(self.payload)
        except OSError:
            self.fail(connection)

    def react(self, connection: Connection, events: int, began_s: float) -> None:
        if connection.connecting:
            connection.connecting = False
            self.selector.modify(connection.sock, selectors.EVENT_READ, connection)
            if connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.fail(connection)
            else:
                self.send(connection)
            return
        if connection.sock.fileno() < 0:
            return
        try:
            data = connection.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.received += data
        status, whole, keep = parse(connection.received)
        if connection.request is None:
            self.idle.remove(connection)
            self.close(connection)
        elif whole or (status and not keep and not data):
            self.finish(connection, status, keep, time.perf_counter() - began_s)
        elif not data:
            self.fail(connection)

    def finish(self, connection: Connection, status: int, keep: bool, now_s: float) -> None:
        request = connection.request
        assert request is not None
        connection.request = None
        self.end(request)
        if request.counted:
            if 200 <= status < 300:
                self.tally.good += 1
                self.tally.latencies_ms.append((now_s - request.due_s) * 1000)
            elif status == 503:
                self.tally.shed += 1
            else:
                self.tally.other_status += 1
        if keep:
            self.idle.append(connection)
        else:
            self.close(connection)

    def fail(self, connection: Connection) -> None:
        """Count a broken connection; one that was kept alive too long gets a second try on a new one."""
        request, again = connection.request, connection.reused and not connection.received
        connection.request = None
        self.close(connection)
        if request is None:
            return
        if again:
            self.connect(request)
            return
        self.end(request)
        self.tally.broken += request.counted

    def give_up(self, now_s: float) -> None:
        """Close the connections whose client has waited long enough."""
        while self.waiting and (self.waiting[0][0].done or self.waiting[0][0].due_s + self.timeout_s <= now_s):
            request, connection = self.waiting.popleft()
            if request.done or connection.request is not request:
                continue
            connection.request = None
            self.close(connection)
            self.end(request)
            self.tally.timed_out += request.counted

    def end(self, request: Request) -> None:
        request.done = True
        self.open_requests -= 1

    def close(self, connection: Connection) -> None:
        fd = connection.sock.fileno()
        if fd >= 0:
            self.selector.unregister(connection.sock)
            del self.current[fd]
            connection.sock.close()


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Give the appointed times, in seconds from the start. Raises ValueError when there would be too many."""
    if rate * seconds > MAX_REQUESTS:
        raise ValueError(f"{rate:.0f} requests/s for {seconds:g} s are more than {MAX_REQUESTS:,}: shorten the run")
    chance = random.Random(seed)
    times, at_s = [], chance.expovariate(rate)
    while at_s < seconds:
        times.append(at_s)
        at_s += chance.expovariate(rate)
    return times


def run(
    port: int, path: str, *, rate: float, seconds: float, settle_s: float = 0.0, timeout_s: float = 1.0, seed: int = 1
) -> Tally:
    """Send `rate` requests/s for `seconds`; count those due after `settle_s`."""
    return Generator(port, path, rate=rate, seconds=seconds, settle_s=settle_s, timeout_s=timeout_s, seed=seed).run()
