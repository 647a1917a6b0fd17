"""Response bytes that the client has not taken yet: in memory, then in a temporary file, or in the application's file.

Filled by the thread that runs the request, drained by the leader; `lock` guards everything in it. No HTTP.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
from collections import deque
from collections.abc import Callable

TLS_PIECE_BYTES = 65_536
"""What a TLS socket did not take has to be offered again in the same length or more: Python's ssl module takes a piece
whole or not at all, as far as it tells, and OpenSSL refuses one that is shorter than what it has of it."""
_SEND_PIECE_BYTES = 1_048_576
FLUSH_BYTES = 2_097_152
"""A client that reads as fast as we send gets so much at a time, and then it is the others' turn."""

WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What send() and recv() raise on a socket that is not ready, with and without TLS."""


class ClientGone(Exception):
    """The connection is closed: nobody will read what is being produced."""

    client_is_gone = True
    """For code that meets it on its way and does not import the server."""


class _FileSegment:
    """Bytes `offset` to `end` of a file descriptor of our own."""

    __slots__ = ("_fd", "end", "growing", "offset")

    def __init__(self, fd: int, offset: int, end: int, *, growing: bool = False) -> None:
        self._fd = fd
        self.offset = offset
        self.end = end
        self.growing = growing

    def write(self, view: memoryview) -> None:
        """All of `view` or, raising OSError, nothing."""
        at = self.end
        while view:
            written = os.pwrite(self._fd, view, at)
            at += written
            view = view[written:]
        self.end = at

    def send(self, sock: socket.socket) -> int:
        count = min(self.end - self.offset, _SEND_PIECE_BYTES)
        if isinstance(sock, ssl.SSLSocket):
            sent = sock.send(os.pread(self._fd, min(count, TLS_PIECE_BYTES), self.offset))
        else:
            sent = os.sendfile(sock.fileno(), self._fd, self.offset, count)
        if sent == 0:
            raise OSError("the file became shorter while it was being sent")
        self.offset += sent
        return sent

    def close(self) -> None:
        os.close(self._fd)


def _spool(view: memoryview) -> _FileSegment:
    """A temporary file without a name that holds `view`, and that more may be written to."""
    with tempfile.TemporaryFile(prefix="wsgiperf-out-") as file:
        segment = _FileSegment(os.dup(file.fileno()), 0, 0, growing=True)
    try:
        segment.write(view)
    except BaseException:
        segment.close()
        raise
    return segment


class Room:
    """Memory for the pieces that are longer than one connection may have in it: so many bytes for all connections.

    Without such pieces each large response would be copied to a file, and without a bound clients that are slow, or
    pretend to be, would hold any amount."""

    __slots__ = ("_left", "_lock")

    def __init__(self, total_bytes: int) -> None:
        self._lock = threading.Lock()
        """Guards _left."""
        self._left = total_bytes

    def take(self, count: int) -> bool:
        """Whether there was so much left; it is given back by give_back()."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give_back(self, count: int) -> None:
        with self._lock:
            self._left += count


class Outbound:
    """A connection's unsent bytes. Up to `memory_bytes` stay in memory, up to `spool_bytes` more go to a file.

    A piece that comes first and is longer stays in memory as well while `room` has that much."""

    __slots__ = (
        "_borrowed",
        "_emptier",
        "_memory",
        "_memory_bytes",
        "_room",
        "_segments",
        "_spool_bytes",
        "closed",
        "lock",
        "pending",
    )

    def __init__(self, memory_bytes: int, spool_bytes: int, room: Room) -> None:
        self.lock = threading.Lock()
        self._emptier = threading.Condition(self.lock)
        self._segments: deque[memoryview | _FileSegment] = deque()
        self._memory_bytes = memory_bytes
        self._spool_bytes = spool_bytes
        self._room = room
        self._borrowed = 0
        """Of `room`, for the first piece: nothing is borrowed unless it is the only one."""
        self._memory = 0
        self.pending = 0
        """Bytes not yet taken by the socket."""
        self.closed = False

    @property
    def full(self) -> bool:
        return self.pending > self._memory_bytes + self._spool_bytes

    def append(self, data: bytes | memoryview) -> bool:
        """Queue `data`: without a copy where there is room in memory, else in a file. True when it is all that waits,
        for which nobody comes unasked.

        Raises ClientGone, and OSError when a file is needed and cannot be written; nothing of `data` is queued then."""
        view = memoryview(data)
        with self.lock:
            self._check_open()
            is_all = not self.pending
            last = self._segments[-1] if self._segments else None
            # A file is given up when it has grown to the bound: what was sent from it would never be freed otherwise.
            if isinstance(last, _FileSegment) and last.growing and last.end < self._spool_bytes:
                # Also what would find room in memory: the next large piece would need a file of its own after it.
                last.write(view)
            elif self._memory + len(view) <= self._memory_bytes or (last is None and self._borrow(len(view))):
                self._segments.append(view)
                self._memory += len(view)
            else:
                segment = self._spooled(view)
                self._segments.append(segment)
                if segment is view:
                    self._memory += len(view)
            self.pending += len(view)
        return is_all

    def _spooled(self, view: memoryview) -> memoryview | _FileSegment:
        """`view` in a file. A first piece, which is in memory anyway, stays there where the disk is full: to hold it is
        bad, to break its response is worse."""
        try:
            return _spool(view)
        except OSError:
            if self._segments:
                raise
            return view

    def _borrow(self, count: int) -> bool:
        if not self._room.take(count):
            return False
        self._borrowed += count
        return True

    def _give_back(self) -> None:
        if self._borrowed:
            borrowed, self._borrowed = self._borrowed, 0
            self._room.give_back(borrowed)

    def append_file(self, fd: int, offset: int, count: int) -> None:
        """Queue `count` bytes of an open regular file from `offset` on. The descriptor is duplicated."""
        with self.lock:
            self._check_open()
            self._segments.append(_FileSegment(os.dup(fd), offset, offset + count))
            self.pending += count

    def flush(self, sock: socket.socket) -> int:
        """Send what the socket takes now, about FLUSH_BYTES at most; the number of bytes.

        Raises OSError when the connection is broken."""
        with self.lock:
            if self.closed:
                return 0
            total = self._send(sock)
            self.pending -= total
            if total and self.pending <= self._memory_bytes:
                self._emptier.notify_all()
        return total

    # What loops with the lock held does so in functions that know none: Python 3.12's compiler may forget a `with`
    # around the end of a round, and an interruption there would leave it locked.

    def _send(self, sock: socket.socket) -> int:
        total = 0
        piece_bytes = TLS_PIECE_BYTES if isinstance(sock, ssl.SSLSocket) else _SEND_PIECE_BYTES
        segments = self._segments
        try:
            while segments and total < FLUSH_BYTES:
                segment = segments[0]
                if isinstance(segment, _FileSegment):
                    sent = segment.send(sock)
                    if segment.offset == segment.end:
                        segments.popleft()
                        segment.close()
                else:
                    sent = sock.send(segment[:piece_bytes])
                    self._memory -= sent
                    if sent == len(segment):
                        segments.popleft()
                        self._give_back()
                    else:
                        segments[0] = segment[sent:]
                total += sent
        except WOULD_BLOCK:
            pass
        return total

    def wait_for_room(self, tick: Callable[[], None], tick_s: float = 1.0) -> None:
        """Block the producer until the client has caught up; `tick` is called about every `tick_s` seconds.

        Raises ClientGone when the connection is closed meanwhile."""
        with self._emptier:
            self._wait(tick, tick_s)
            self._check_open()

    def _wait(self, tick: Callable[[], None], tick_s: float) -> None:
        while self.pending > self._memory_bytes:
            self._check_open()
            if not self._emptier.wait(tick_s):
                tick()

    def _check_open(self) -> None:
        if self.closed:
            raise ClientGone

    def close(self) -> None:
        """Drop everything and release a waiting producer."""
        with self.lock:
            self.closed = True
            self._close_files()
            self._segments.clear()
            self.pending = self._memory = 0
            self._give_back()
            self._emptier.notify_all()

    def _close_files(self) -> None:
        for segment in self._segments:
            if isinstance(segment, _FileSegment):
                segment.close()
