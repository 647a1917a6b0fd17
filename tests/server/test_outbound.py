"""Unsent response bytes: whatever is queued comes out once and in order, bounded in memory, files and waiting.

Sockets are real pairs where the kernel's sendfile is at work, and made up where partial sends are to be dictated.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from django_wsgiperf.server.outbound import ClientGone, Outbound, Room

from .conftest import DEADLINE_S, eventually

DESCRIPTORS = Path("/dev/fd")


def open_files() -> int:
    return len(os.listdir(DESCRIPTORS))


class Dictated(ssl.SSLSocket):
    """A socket that takes as many bytes at a time as it is told, and then wants to wait.

    Being of TLS it gets files' bytes by send(), too. Nothing of the real one is set up."""

    def __new__(cls, *takes: int) -> Dictated:
        return socket.socket.__new__(cls)

    def __init__(self, *takes: int) -> None:
        self.takes = list(takes)
        self.taken = bytearray()
        self.reason: type[OSError] = BlockingIOError

    def send(self, data: Any, flags: int = 0) -> int:
        if not self.takes:
            raise self.reason
        sent = min(self.takes.pop(0), len(data))
        if sent == 0:
            raise ssl.SSLWantWriteError
        self.taken += data[:sent]
        return sent


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sending socket that does not block, with little room, and its reader."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.setblocking(False)
    theirs.settimeout(DEADLINE_S)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def content(tmp_path: Path) -> Iterator[tuple[int, bytes]]:
    """An open file and what is in it."""
    data = bytes(range(251)) * 2000
    path = tmp_path / "content"
    path.write_bytes(data)
    with path.open("rb") as file:
        yield file.fileno(), data


def drain(outbound: Outbound, ours: socket.socket, theirs: socket.socket) -> bytes:
    """Flush and read in turns until nothing is left."""
    received = bytearray()
    while outbound.pending:
        outbound.flush(ours)
        received += theirs.recv(65_536)
    ours.shutdown(socket.SHUT_WR)
    while data := theirs.recv(65_536):
        received += data
    return bytes(received)


class Model(RuleBasedStateMachine):
    """A list of bytes is the model: `queued` must be what was sent and what is still pending, at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.files_before = open_files()
        self.sock = Dictated()
        self.queued = bytearray()
        self.waiting: threading.Thread | None = None
        self.file = os.memfd_create("content") if hasattr(os, "memfd_create") else os.open(__file__, os.O_RDONLY)
        self.content = bytes(range(256)) * 8
        if hasattr(os, "memfd_create"):
            os.write(self.file, self.content)
        else:
            self.content = Path(__file__).read_bytes()[:2048]
        self.outbound = Outbound(100, 500, Room(0))
        self.room_bytes = 0

    @initialize(memory=st.integers(0, 200), spool=st.integers(0, 1000), room=st.integers(0, 500))
    def set_bounds(self, memory: int, spool: int, room: int) -> None:
        self.outbound = Outbound(memory, spool, Room(room))
        self.room_bytes = room

    @rule(data=st.binary(min_size=1, max_size=400), as_view=st.booleans())
    def append(self, data: bytes, as_view: bool) -> None:
        self.outbound.append(memoryview(data) if as_view else data)
        self.queued += data

    @rule(data=st.data())
    def append_file(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(0, len(self.content) - 1))
        count = data.draw(st.integers(1, len(self.content) - offset))
        self.outbound.append_file(self.file, offset, count)
        self.queued += self.content[offset : offset + count]

    @rule(
        takes=st.lists(st.integers(0, 600), max_size=6), wants=st.sampled_from([BlockingIOError, ssl.SSLWantReadError])
    )
    def flush(self, takes: list[int], wants: type[OSError]) -> None:
        self.sock.takes, self.sock.reason = takes, wants
        before = len(self.sock.taken)
        assert self.outbound.flush(self.sock) == len(self.sock.taken) - before

    @rule()
    def flush_everything(self) -> None:
        self.sock.takes = [10_000] * 1000
        self.outbound.flush(self.sock)
        assert self.sock.taken == self.queued
        assert open_files() <= self.files_before + 1, "no file is kept"
        assert self.outbound._room._left == self.room_bytes

    @precondition(lambda self: self.outbound.full)
    @rule()
    def producer_waits_until_the_client_has_caught_up(self) -> None:
        producer = threading.Thread(target=self.outbound.wait_for_room, args=(lambda: None, DEADLINE_S))
        producer.start()
        self.sock.takes = [10_000] * 1000
        self.outbound.flush(self.sock)
        producer.join(DEADLINE_S)
        assert not producer.is_alive()

    @invariant()
    def nothing_is_lost_repeated_or_out_of_order(self) -> None:
        assert self.queued.startswith(self.sock.taken)
        assert self.outbound.pending == len(self.queued) - len(self.sock.taken)

    @invariant()
    def memory_is_bounded(self) -> None:
        held = sum(len(segment) for segment in self.outbound._segments if isinstance(segment, memoryview))
        assert held == self.outbound._memory
        borrowed = self.room_bytes - self.outbound._room._left
        assert held <= max(self.outbound._memory_bytes, borrowed)

    def teardown(self) -> None:
        self.outbound.close()
        assert self.outbound._room._left == self.room_bytes
        os.close(self.file)
        assert open_files() == self.files_before, "closing closes the files"


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(pieces=st.lists(st.integers(1, 60_000), max_size=12), file_at=st.integers(0, 12), offset=st.integers(0, 400_000))
def test_through_the_kernel_bytes_in_are_bytes_out(
    content: tuple[int, bytes], pieces: list[int], file_at: int, offset: int
) -> None:
    fd, data = content
    outbound = Outbound(20_000, 100_000, Room(0))
    expected = bytearray()
    for number, size in enumerate(pieces):
        if number == file_at:
            outbound.append_file(fd, offset, 50_000)
            expected += data[offset : offset + 50_000]
        piece = bytes([number]) * size
        outbound.append(piece)
        expected += piece
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(DEADLINE_S)
        assert drain(outbound, ours, theirs) == expected


def test_connections_share_the_memory_for_long_pieces() -> None:
    room = Room(1000)
    connections = [Outbound(100, 1000, room) for _ in range(3)]
    before = open_files()
    for outbound in connections:
        outbound.append(b"x" * 400)
    assert [outbound._memory for outbound in connections] == [400, 400, 0]
    assert open_files() == before + 1
    connections[0].close()
    connections[1].flush(Dictated(300))
    another = Outbound(100, 1000, room)
    another.append(b"x" * 601)
    assert another._memory == 0, "the second one's piece is there until its last byte is sent"
    another.close()
    connections[1].flush(Dictated(100))
    another = Outbound(100, 1000, room)
    another.append(b"x" * 601)
    assert another._memory == 601


def test_pieces_of_every_size_share_one_file() -> None:
    """Small pieces still find room in memory between large ones that do not; each turn must not cost a descriptor."""
    outbound = Outbound(10_000, 1_000_000, Room(0))
    before = open_files()
    expected = b""
    for _ in range(200):
        for piece in (b"x" * 9_000, b"y" * 10):
            outbound.append(piece)
            expected += piece
    try:
        assert open_files() <= before + 3
        sock = Dictated(*[7_000] * 1000)
        outbound.flush(sock)
        assert sock.taken == expected
    finally:
        outbound.close()
    assert open_files() == before


def test_file_that_has_grown_to_the_bound_is_followed_by_another() -> None:
    """A stream that is always behind by a little would otherwise fill the disk with what has been sent already."""
    outbound = Outbound(0, 1000, Room(0))
    sock = Dictated()
    largest = 0
    for _ in range(100):
        outbound.append(b"x" * 300)
        outbound.append(b"y" * 300)
        sock.takes = [250] * 2
        outbound.flush(sock)
        while outbound.full:
            sock.takes = [250]
            outbound.flush(sock)
        files = [segment for segment in outbound._segments if not isinstance(segment, memoryview)]
        largest = max(largest, *(segment.end for segment in files), 0)
    assert 1000 <= largest < 1300 + 300
    outbound.close()


def test_disk_that_is_full_leaves_a_buffer_that_counts_right(monkeypatch: pytest.MonkeyPatch) -> None:
    outbound = Outbound(4, 100, Room(0))
    outbound.append(b"held")
    real = os.pwrite
    calls = []

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(fd, data[:3], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space"):
        outbound.append(b"refused")
    assert outbound.pending == 4
    monkeypatch.setattr(os, "pwrite", real)
    outbound.append(b" and more")
    sock = Dictated(*[100] * 10)
    outbound.flush(sock)
    assert sock.taken == b"held and more"
    assert outbound.pending == 0
    outbound.close()


def test_disk_that_is_full_breaks_no_response_that_is_whole_already(monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    outbound = Outbound(4, 100, Room(0))
    outbound.append(b"more than four")
    with pytest.raises(OSError, match="No space"):
        outbound.append(b"another")
    sock = Dictated(100)
    outbound.flush(sock)
    assert sock.taken == b"more than four"
    outbound.append(b"this")
    outbound.close()


def test_file_that_becomes_shorter_is_an_error_and_no_endless_wait(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    outbound = Outbound(100, 100, Room(0))
    with path.open("rb") as file:
        outbound.append_file(file.fileno(), 0, 100)
    os.truncate(path, 40)
    with pytest.raises(OSError, match="shorter"):
        outbound.flush(pair[0])
    assert pair[1].recv(1000) == b"x" * 40
    outbound.close()


def test_application_may_close_its_file_at_once(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"z" * 300_000)
    outbound = Outbound(100, 100, Room(0))
    with path.open("rb") as file:
        outbound.append_file(file.fileno(), 100_000, 200_000)
    path.unlink()
    assert drain(outbound, *pair) == b"z" * 200_000


@pytest.mark.parametrize("method", ["append", "append_file", "wait_for_room"])
def test_nothing_is_taken_for_a_client_that_is_gone(method: str, content: tuple[int, bytes]) -> None:
    arguments: dict[str, Any] = {"append": (b"x",), "append_file": (content[0], 0, 9), "wait_for_room": (lambda: None,)}
    outbound = Outbound(10, 10, Room(0))
    before = open_files()
    outbound.close()
    outbound.close()
    with pytest.raises(ClientGone):
        getattr(outbound, method)(*arguments[method])
    assert outbound.flush(Dictated(1)) == 0
    assert outbound.pending == 0
    assert open_files() == before


class Producer:
    """A thread in wait_for_room(), and how it came out."""

    def __init__(self, outbound: Outbound, tick: Callable[[], None] = lambda: None, tick_s: float = DEADLINE_S) -> None:
        self.error: BaseException | None = None
        self._outbound = outbound
        self._thread = threading.Thread(target=self._wait, args=(tick, tick_s))
        self._thread.start()

    def _wait(self, tick: Callable[[], None], tick_s: float) -> None:
        try:
            self._outbound.wait_for_room(tick, tick_s)
        except BaseException as error:
            self.error = error

    @property
    def waits(self) -> bool:
        return bool(self._outbound._emptier._waiters)  # type: ignore[attr-defined]

    def ends(self) -> bool:
        self._thread.join(DEADLINE_S)
        return not self._thread.is_alive()


def behind() -> Outbound:
    """A buffer of 100 + 100 bytes that is full."""
    outbound = Outbound(100, 100, Room(0))
    outbound.append(b"x" * 201)
    assert outbound.full
    return outbound


def test_producer_goes_on_when_memory_would_hold_the_rest() -> None:
    outbound = behind()
    producer = Producer(outbound)
    eventually(lambda: producer.waits, "it waits")
    outbound.flush(Dictated(100))
    assert producer.waits, "101 bytes are left: room enough to go on would be gone with the next piece"
    outbound.flush(Dictated(1))
    assert producer.ends()
    assert producer.error is None
    outbound.close()


def test_producer_is_told_when_the_client_goes() -> None:
    outbound = behind()
    producers = [Producer(outbound) for _ in range(3)]
    eventually(lambda: all(producer.waits for producer in producers), "they wait")
    outbound.close()
    assert all(producer.ends() for producer in producers)
    assert [type(producer.error) for producer in producers] == [ClientGone] * 3


def test_producer_looks_around_at_times() -> None:
    outbound = behind()
    looks = threading.Semaphore(0)
    leave = threading.Event()

    def tick() -> None:
        looks.release()
        if leave.is_set():
            raise ClientGone

    producer = Producer(outbound, tick, tick_s=0.001)
    assert all(looks.acquire(timeout=DEADLINE_S) for _ in range(3))
    leave.set()
    assert producer.ends()
    assert isinstance(producer.error, ClientGone)
    outbound.close()


def test_one_thread_fills_and_another_drains(pair: tuple[socket.socket, socket.socket]) -> None:
    """The two never agree on a moment: pauses, room and files come as the scheduler has it."""
    ours, theirs = pair
    outbound = Outbound(5_000, 20_000, Room(0))
    total = 3_000_000
    received = bytearray()

    def produce() -> None:
        for number in range(total // 3000):
            outbound.append(number.to_bytes(3, "big") * 1000)
            if outbound.full:
                outbound.wait_for_room(lambda: None)

    def read() -> None:
        while len(received) < total:
            received.extend(theirs.recv(65_536))

    producer, reader = threading.Thread(target=produce), threading.Thread(target=read)
    producer.start()
    reader.start()
    eventually(lambda: outbound.flush(ours) >= 0 and len(received) == total, "all is sent")
    producer.join()
    reader.join()
    assert received == b"".join(number.to_bytes(3, "big") * 1000 for number in range(total // 3000))
    assert outbound.pending == 0
    outbound.close()
