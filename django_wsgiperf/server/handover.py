"""Idle connections on their way from a worker that goes to one that stays, so that nobody has to close them.

To close a kept-alive connection is a race with the request that its client may just be sending. A worker that has a
successor gives its idle connections away instead: each is sent through a socket that all workers of the server have,
and the next to look takes it as if it had accepted it. Under `--reload` the supervisor keeps that socket as it keeps
the listening ones, so that the connections wait for the new code. Nothing is read here; which connections are idle is
accepting.py's to say.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection

CHANNELS_VARIABLE = "WSGIPERF__HANDOVER_FDS"

_NEW, _SERVED = b"0", b"1"


class Channel:
    """For the connections of one listening socket. It is a listener itself: accept() gives one that was sent."""

    _shared: list[Channel] | None = None

    def __init__(self, ends: Sequence[socket.socket] = ()) -> None:
        # A datagram is a connection. What does not fit waits with the sender, which asks again.
        self._out, self._in = ends or socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self._out, self._in):
            end.setblocking(False)
        self._kind = _NEW

    @classmethod
    def shared(cls, count: int) -> list[Channel]:
        """Those of this server, one for each listening socket: the supervisor's, or made by the master."""
        if cls._shared is None:
            cls._shared = [cls(_adopt(pair)) for pair in os.environ.get(CHANNELS_VARIABLE, "").split(",") if pair]
        cls._shared += [cls() for _ in range(count - len(cls._shared))]
        return cls._shared

    @property
    def fds(self) -> tuple[int, int]:
        """To be passed to another program."""
        return self._out.fileno(), self._in.fileno()

    def send(self, connection: Connection) -> bool:
        """Give a connection away, which the caller has to close; False when that cannot be now."""
        try:
            socket.send_fds(self._out, [_SERVED if connection.served else _NEW], [connection.fd])
        except OSError:  # Too many are under way, most likely.
            return False
        return True

    # -- as a listening socket

    def fileno(self) -> int:
        return self._in.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        """A connection and its client's address. Raises BlockingIOError when there is none, OSError for a dead one."""
        kind, fds, _, _ = socket.recv_fds(self._in, 1, 1, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        if not fds:
            raise ConnectionAbortedError  # This process may have no more descriptors, say.
        sock = socket.socket(fileno=fds[0])
        try:
            sock.set_inheritable(False)
            address = sock.getpeername()
        except OSError:
            sock.close()
            raise
        self._kind = kind
        return sock, address

    def welcome(self, connection: Connection, keepalive_s: float) -> None:
        """What accept() gave last has become `connection`: it goes on as the one it was."""
        if self._kind == _SERVED:
            connection.served = 1
            connection.deadline = time.monotonic() + keepalive_s

    def close(self) -> None:
        self._in.close()


def as_variable(channels: Sequence[Channel]) -> str:
    """For the environment of a program that is passed the channels' descriptors."""
    return ",".join(":".join(map(str, channel.fds)) for channel in channels)


def _adopt(pair: str) -> list[socket.socket]:
    ends = [socket.socket(fileno=int(fd)) for fd in pair.split(":")]
    for end in ends:
        end.set_inheritable(False)
    return ends
