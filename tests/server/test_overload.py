"""More clients than threads, and clients that do nothing right: who is answered, who is refused, and who is not run."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_wsgiperf.server import overload
from django_wsgiperf.server.routes import RouteCosts

from .conftest import DEADLINE_S, Client, Server, eventually

Start = Callable[..., Server]
TEXT = [("Content-Type", "text/plain")]
EIGHT_MB = 8_000_000
BIG = b"x" * EIGHT_MB
EACH = 50


def request(path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


class Site:
    """/list and /generator are 8 MB, /gate waits until it is open, /compute keeps the interpreter busy; `order` is who
    was run."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.order: list[str] = []
        self.computing = 0
        self.computing_most = 0
        self.may_compute = threading.Event()
        self.may_compute.set()
        self._lock = threading.Lock()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.order.append(path)
        if path == "/gate":
            self.entered.release()
            assert self.open.wait(DEADLINE_S)
        if path == "/compute":
            self.compute()
        start_response("200 OK", list(TEXT))
        if path == "/list":
            return [BIG]
        return self.pieces() if path == "/generator" else [path.encode()]

    def compute(self) -> None:
        with self._lock:
            self.computing += 1
            self.computing_most = max(self.computing_most, self.computing)
        assert self.may_compute.wait(DEADLINE_S)
        ends = time.thread_time() + 0.005
        while time.thread_time() < ends:
            sum(range(1000))
        with self._lock:
            self.computing -= 1

    @staticmethod
    def pieces() -> Iterator[bytes]:
        for _ in range(EIGHT_MB // 64_000):
            yield b"x" * 64_000


class SlowReaders:
    """Clients that take one byte of their responses at a time, all of them in turn, as long as the block lasts."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.rounds = 0

    def _read(self) -> None:
        while not self._stop.wait(0.05):
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.sock.recv(1, socket.MSG_DONTWAIT)
            self.rounds += 1

    def __enter__(self) -> SlowReaders:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()


def test_fifty_clients_of_every_bad_kind_at_once_hold_no_thread(serve_app: Start) -> None:
    """With two threads. Nothing is timed: no slot is taken, and the pool's own threads are there to answer."""
    server = serve_app(Site(), threads=2)
    silent = {
        "connects only": b"",
        "half a head": request()[:20],
        "half a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc",
        "half a chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
    }
    with contextlib.ExitStack() as stack:

        def connect() -> Client:
            return stack.enter_context(Client(server.port))

        for sent in silent.values():
            for _ in range(EACH):
                connect().send(sent)
        idle = [connect() for _ in range(EACH)]
        assert {client.get("/idle").body for client in idle} == {b"/idle"}
        readers = []
        for path in ("/list", "/generator"):
            for _ in range(EACH):
                readers.append(connect())
                # A client's own small window, so that it is the server that holds the rest.
                readers[-1].sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                readers[-1].send(request(path))
        everybody = len(silent) * EACH + len(idle) + len(readers)
        reading = stack.enter_context(SlowReaders(readers))
        eventually(lambda: len(server.reactor.connections) == everybody, "all are connected")
        eventually(
            lambda: sum(slot.requests for slot in server.pool.counters()) == len(idle) + len(readers),
            "every response is left to the leader",
        )
        eventually(lambda: server.pool.busy == 0, "no slot is taken")
        assert len(server.pool.slots) == 2, "nor has one been given a thread beside the pool"
        rounds = reading.rounds
        for _ in range(20):
            assert server.get("/normal").body == b"/normal"
            assert idle[0].get("/kept").body == b"/kept"
        eventually(lambda: reading.rounds > rounds + 2, "the readers read on")
        eventually(lambda: server.pool.busy == 0, "no slot is taken, still")
        assert len(server.reactor.connections) >= everybody
    eventually(lambda: not server.reactor.connections, "all connections are gone")


def test_every_request_past_the_queues_length_is_refused_at_once_and_kept_alive(serve_app: Start) -> None:
    site = Site()
    server = serve_app(site, threads=2, queue_length=3)
    running = [server.connect() for _ in range(2)]
    for client in running:
        client.send(request("/gate"))
        assert site.entered.acquire(timeout=DEADLINE_S)
    queued = [server.connect() for _ in range(3)]
    for number, client in enumerate(queued):
        client.send(request(f"/queued-{number}"))
    eventually(lambda: server.pool.waiting == 3, "three wait")
    refused = [server.connect() for _ in range(20)]
    for _ in range(2):
        for client in refused:
            response = client.get("/refused")
            assert (response.status, response.headers["retry-after"]) == (503, "1")
            assert "connection" not in response.headers
    client = server.connect()
    client.send(b"HEAD /refused HTTP/1.1\r\nHost: test\r\n\r\n" * 2)
    assert [client.response("HEAD").status for _ in range(2)] == [503, 503], "no body, and in step"
    client = server.connect()
    client.send(b"POST /refused HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n123456789")
    assert client.response().status == 503
    client = server.connect()
    client.send(b"GET /refused HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    response = client.response()
    assert (response.status, response.headers["connection"]) == (503, "close")
    assert client.closed()
    assert server.reactor.statistics.shed["queue_length"] == 44
    assert "/refused" not in site.order
    site.open.set()
    assert [client.response().status for client in [*running, *queued]] == [200] * 5
    assert {client.get("/later").body for client in refused} == {b"/later"}


@pytest.mark.parametrize("clients_leave", [True, False])
def test_order_of_the_queue_turns_round_when_clients_go_on_leaving(
    serve_app: Start, monkeypatch: pytest.MonkeyPatch, clients_leave: bool
) -> None:
    """Whoever left is not run; and the oldest that still wait are those who will leave next."""
    site = Site()
    server = serve_app(site, threads=1)
    rules = server.reactor.overload
    # The clock stands still: what has happened lasts for as long as a busy machine takes to do the rest.
    monkeypatch.setattr(rules, "sweep", lambda now: None)
    blocker = server.connect()
    blocker.send(request("/gate"))
    assert site.entered.acquire(timeout=DEADLINE_S)

    def leave() -> None:
        """Somebody queues and goes away, and a second passes."""
        before = server.reactor.statistics.abandoned
        client = Client(server.port)
        client.send(request("/left"))
        eventually(lambda: server.pool.waiting == 1, "it waits")
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        eventually(lambda: server.reactor.statistics.abandoned > before, "it is dropped")
        rules._leavers[:] = 0, rules._leavers[0], rules._leavers[1]

    def queue_up() -> list[Client]:
        clients = []
        for number in range(4):
            clients.append(server.connect())
            clients[-1].send(request(f"/{number}"))
            eventually(lambda number=number: server.pool.waiting == number + 1, "it waits")  # type: ignore[misc]
        return clients

    if clients_leave:
        leave()
        leave()
    patient = queue_up()
    eventually(lambda: server.pool.queue.newest_first is clients_leave, "the queue is turned round, or is not")
    site.open.set()
    assert {client.response().status for client in [blocker, *patient]} == {200}
    order = ["/0", "/1", "/2", "/3"]
    assert [path for path in site.order if path != "/gate"] == (order[::-1] if clients_leave else order)
    eventually(lambda: not server.pool.queue.newest_first, "an empty queue is in order again")


def test_standing_queue_has_the_shorter_deadline(serve_app: Start) -> None:
    site = Site()
    server = serve_app(site, threads=1, queue_standing_deadline_s=0.2)
    blocker = server.connect()
    blocker.send(request("/gate"))
    assert site.entered.acquire(timeout=DEADLINE_S)
    waiting = [server.connect() for _ in range(5)]
    for client in waiting:
        client.send(request("/waited"))
    assert [client.response().status for client in waiting] == [503] * 5
    assert server.reactor.statistics.shed["queue_deadline"] == 5
    site.open.set()
    assert blocker.response().status == 200
    assert {client.get("/again").body for client in waiting} == {b"/again"}
    assert "/waited" not in site.order


@pytest.mark.parametrize("threads", [2, 4])
def test_requests_that_compute_leave_threads_to_the_others(
    serve_app: Start, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Once a page is known to compute, no more of it run than compute_threads, however many wait."""
    # A busy machine may take long to give 5 ms of its processor.
    monkeypatch.setattr(overload, "_COMPUTES_LONG_NS", 600 * 10**9)
    site = Site()
    server = serve_app(site, threads=threads, compute_threads=1)
    client = server.connect()

    def known() -> bool:
        assert client.get("/compute").status == 200
        eventually(lambda: server.pool.busy == 0, "and that is learnt")
        cost = server.reactor.overload.routes.get(b"/compute")
        return cost is not None and cost.computes and server.pool.permits.limit == 1

    eventually(known, "the page is known to compute, and how many may")
    # And what little of it they have got tells nothing any more.
    monkeypatch.setattr(RouteCosts, "learn", lambda *arguments: None)
    site.computing_most = 0
    site.may_compute.clear()
    crowd = [server.connect() for _ in range(30)]
    done: list[int] = []
    for one in crowd:
        one.send(request("/compute"))

    eventually(lambda: site.computing == 1 and len(server.pool.permits.queue) == 29, "one runs, and all others wait")
    for _ in range(5):
        assert client.get("/short").body == b"/short", "short ones do not wait for any of them"
    site.may_compute.set()
    while len(done) < len(crowd):
        done.append(crowd[len(done)].response().status)
        assert client.get("/short").body == b"/short"
    assert done == [200] * 30
    assert site.computing_most == 1
