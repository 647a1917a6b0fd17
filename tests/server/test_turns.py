"""The leader's turns: whatever a client sends, and however fast, it has its share of a turn and no more.

The reactor is turned by hand: no thread of the pool runs, so that what one poll() does can be counted.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.server import intake
from django_wsgiperf.server.accepting import Listener, base_environ
from django_wsgiperf.server.connection import Connection
from django_wsgiperf.server.http1 import Request
from django_wsgiperf.server.outbound import FLUSH_BYTES, Outbound, Room
from django_wsgiperf.server.poller import READ, WRITE, EpollPoller, SelectorPoller
from django_wsgiperf.server.reactor import Reactor
from django_wsgiperf.server.response import plain_response
from django_wsgiperf.server.threadpool import ThreadPool

from .conftest import DEADLINE_S

HEAD = b"GET /live HTTP/1.1\r\nHost: test\r\n\r\n"
PAGE = b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n"
MANY = 4000


def nobody(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError("no request is run here")


class ByHand:
    """A reactor without threads, one client, and a page of the server's own that counts who asked for it."""

    def __init__(self, poller: type[EpollPoller | SelectorPoller]) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        settings = ServerSettings(threads=1)
        environ = base_environ(settings, listening, tls=False, multiprocess=False)
        self.reactor = Reactor(settings, nobody, [Listener(listening, environ)], poller())
        self.reactor.pool = ThreadPool(self.reactor, 1)
        self.reactor.reserved = {b"/live": self.answer}
        self.answered = 0
        self.listening = listening
        self.client = socket.create_connection(listening.getsockname())
        self.client.settimeout(DEADLINE_S)
        while not self.reactor.connections:
            self.reactor.poll()
        (self.connection,) = self.reactor.connections.values()

    def answer(self, connection: Connection, request: Request) -> bytes:
        self.answered += 1
        return plain_response(200, "", keep_alive=True)

    def fill(self, data: bytes) -> int:
        """Send `data` as often as the kernel takes it without anybody reading; the number of bytes."""
        self.client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 64 * FLUSH_BYTES:
                sent += self.client.send(data)
        return sent

    def send_last(self, data: bytes) -> None:
        """Send `data`, and close the sending side."""
        self.client.sendall(data)
        self.client.shutdown(socket.SHUT_WR)

    def end_request(self) -> None:
        """What a thread does when the response to a request has been sent."""
        self.reactor.finished(self.connection, keep_alive=True)

    def turn_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(100_000):
            if condition():
                return
            self.reactor.poll()
        pytest.fail("turned in vain")

    def close(self) -> None:
        self.client.close()
        self.reactor.shut_down()
        self.listening.close()


@pytest.fixture(params=[EpollPoller, SelectorPoller], ids=["epoll", "selector"])
def by_hand(request: pytest.FixtureRequest) -> Iterator[ByHand]:
    turned = ByHand(request.param)
    yield turned
    turned.close()


def test_pipelined_requests_for_the_servers_own_pages_have_a_turn_each(by_hand: ByHand) -> None:
    by_hand.client.sendall(HEAD * MANY)
    turns = 0
    while by_hand.answered < MANY:
        before = by_hand.answered
        by_hand.reactor.poll()
        turns += 1
        # By the event, and of what was left of the turn before: the end of what was read, and the next piece's first.
        assert by_hand.answered - before <= 3
        assert len(by_hand.connection.inbox) < 65_536, "what cannot be answered yet is not read, either"
    assert turns >= MANY // 3


LATE = pytest.mark.parametrize("late", [PAGE, b""], ids=["a request", "the end"])


@LATE
def test_what_comes_while_pipelined_requests_wait_for_their_turn_is_read_behind_them(
    by_hand: ByHand, late: bytes
) -> None:
    by_hand.client.sendall(PAGE * 2)
    by_hand.turn_until(lambda: by_hand.connection.busy)
    by_hand.end_request()
    # The leader is told of both at once: of what has come, and that the second request may begin.
    by_hand.send_last(late)
    by_hand.turn_until(lambda: by_hand.connection.busy)
    by_hand.end_request()
    by_hand.turn_until(lambda: by_hand.connection.served == 3 if late else not by_hand.reactor.connections)


@LATE
def test_what_was_not_read_with_an_answered_request_is_read_behind_the_next(
    by_hand: ByHand, late: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_READ_BYTES", len(HEAD + PAGE))
    by_hand.send_last(HEAD + PAGE + late)
    by_hand.turn_until(lambda: by_hand.connection.busy)
    by_hand.end_request()
    by_hand.turn_until(lambda: by_hand.connection.served == 3 if late else not by_hand.reactor.connections)


def test_head_that_comes_in_pieces_behind_an_answered_request_is_read_to_its_end(
    by_hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over TLS, where each record is a read of its own."""
    monkeypatch.setattr(intake, "_READ_BYTES", len(HEAD))
    by_hand.client.sendall(HEAD + PAGE.replace(b"test", b"test.example") + HEAD)
    by_hand.turn_until(lambda: by_hand.connection.busy)
    assert by_hand.connection.served == 2


def test_client_that_goes_on_sending_after_its_refusal_is_read_in_shares(by_hand: ByHand) -> None:
    by_hand.client.sendall(b"no request\r\n\r\n")
    by_hand.turn_until(lambda: by_hand.connection.lingering)
    sent = by_hand.fill(b"x" * 65_536)
    before = by_hand.reactor.statistics.received_bytes
    by_hand.reactor.poll()
    assert 0 < by_hand.reactor.statistics.received_bytes - before <= 524_288 < sent


def test_body_in_chunks_of_one_byte_is_decoded_in_shares(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_TURN_NS", 0)  # As on a machine on which one read takes all the time there is.
    by_hand.client.sendall(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    by_hand.turn_until(lambda: by_hand.connection.body is not None)
    sent = by_hand.fill(b"1\r\na\r\n" * 10_000)
    before = by_hand.reactor.statistics.received_bytes
    by_hand.reactor.poll()
    # One read for the event, and one because there was more.
    assert 0 < by_hand.reactor.statistics.received_bytes - before <= 32_768 < sent


def test_client_that_reads_as_fast_as_it_is_sent_to_is_flushed_in_shares() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(DEADLINE_S)
        received = bytearray()
        reader = threading.Thread(
            target=lambda: [received.extend(data) for data in iter(lambda: theirs.recv(65_536), b"")]
        )
        reader.start()
        outbound = Outbound(1 << 30, 0, Room(0))
        outbound.append(b"x" * (3 * FLUSH_BYTES))
        # A socket that blocks is one that always takes everything.
        assert [outbound.flush(ours) for _ in range(4)] == [FLUSH_BYTES, FLUSH_BYTES, FLUSH_BYTES, 0]
        ours.shutdown(socket.SHUT_WR)
        reader.join(DEADLINE_S)
        assert len(received) == 3 * FLUSH_BYTES


def test_wake_that_comes_while_the_one_before_is_read_takes_nothing_from_the_next(
    by_hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(fd: int, count: int) -> bytes:
        by_hand.reactor.wake()  # By another thread, for which this one has let go of the interpreter lock.
        return real(fd, count)

    real = os.read
    by_hand.reactor.wake()
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        by_hand.reactor.poll()
    by_hand.reactor.wake()
    by_hand.reactor.poll()
    assert by_hand.reactor.found == 1


@pytest.mark.parametrize("number", [1, 2])
def test_piece_that_meets_the_end_of_a_flush_is_sent_without_waiting_for_another(
    by_hand: ByHand, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread finds something unsent, and by the time that it has added its piece the leader has sent that."""
    connection, pieces = by_hand.connection, [b"first", b"second"][:number]
    by_hand.client.sendall(PAGE)
    by_hand.turn_until(lambda: connection.busy)
    connection.write(by_hand.reactor, b"x" * 16_000_000)
    received = 0

    def meanwhile(outbound: Outbound, data: bytes | memoryview) -> bool:
        nonlocal received
        if data == pieces[-1]:
            while outbound.pending:
                received += len(by_hand.client.recv(1 << 20))
                by_hand.reactor.poll()
            by_hand.reactor.poll()  # And it has been told of nothing more.
        return append(outbound, data)

    append = Outbound.append
    monkeypatch.setattr(Outbound, "append", meanwhile)
    connection.write(by_hand.reactor, *pieces)
    by_hand.turn_until(lambda: not (connection.outbound and connection.outbound.pending))
    while received < 16_000_000 + len(b"".join(pieces)):
        received += len(by_hand.client.recv(1 << 20))


def test_client_is_cut_off_when_it_has_taken_nothing_and_not_before(by_hand: ByHand) -> None:
    reactor, connection = by_hand.reactor, by_hand.connection
    reactor.reserved = {b"/live": lambda _connection, _request: plain_response(200, "x" * 16_000_000, keep_alive=True)}
    by_hand.client.sendall(HEAD)
    by_hand.turn_until(lambda: connection.outbound is not None)
    outbound = connection.outbound
    assert outbound is not None
    pending, read = outbound.pending, 0
    while read < 1_000_000:
        read += len(by_hand.client.recv(65_536))
    connection.deadline = 0.0  # Whether or not the poller has told of room by now.
    reactor.timers.sweep(time.monotonic())
    assert reactor.connections
    assert outbound.pending < pending
    for _ in range(100):
        if not reactor.connections:
            break
        connection.deadline = 0.0
        reactor.timers.sweep(time.monotonic())
    assert not reactor.connections
    assert reactor.statistics.timeouts["write"] == 1


def test_selector_leaves_the_unread_bytes_of_a_client_that_does_not_read_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        poller = SelectorPoller()
        poller.add(ours.fileno())
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(b"x" * 65_536)
        theirs.send(b"more")
        poller.arm(ours.fileno(), True)
        # Reported now, it would be reported at every turn, and the leader would never sleep.
        assert poller.poll(0) == []
        theirs.recv(1 << 24)
        assert poller.poll(DEADLINE_S) == [(ours.fileno(), WRITE)]
        poller.arm(ours.fileno(), False)
        assert poller.poll(DEADLINE_S) == [(ours.fileno(), READ)]
        poller.close()
