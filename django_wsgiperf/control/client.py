"""The asking side: one question to every process of the project on this host, all at once, within one deadline.

A process that is dead, frozen or slow costs its answer and nothing else. Sockets that nobody listens on are removed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import socket
import sys
import time
from collections.abc import Collection
from typing import Any, Final

from django_wsgiperf.instance import instance as own_instance

from . import folder, handlers, server
from .handlers import Answer
from .wire import REPLY_MAX, REQUEST_MAX, Reader, WireError, encode

HURRY_S: Final = 0.1
_NO_ANSWER = "no answer in time"
_GONE = "gone"


def ask(
    topic: str,
    message: dict[str, Any] | None = None,
    *,
    instance: str | None = None,
    timeout_s: float = 1.0,
    hurried: Collection[str] = (),
) -> list[Answer]:
    """What every process of the project on this host answers, this one too when it takes part, and first.

    Takes `timeout_s` seconds at most; a process that did not answer in time has an Answer that says so. With
    `instance` only that process is asked. Those in `hurried`, which have lately not answered, are waited for HURRY_S,
    and longer only while others are. Raises WireError when the message is no JSON object of 64 KiB at most."""
    deadline = time.monotonic() + timeout_s
    message = message or {}
    request = encode({"topic": topic, "message": message}, REQUEST_MAX)
    own = own_instance()
    answers: list[Answer] = []
    with contextlib.ExitStack() as closing:
        mine: queue.SimpleQueue[bytes] | None = None
        if server.is_running() and instance in (None, own):
            mine = queue.SimpleQueue()
            # A copy, as the others have: what a handler does to it is its own affair.
            copy = Reader(REQUEST_MAX).feed(request) or {}
            handlers.begin(topic, copy["message"], mine.put)
        calls = _Calls()
        closing.callback(calls.close)
        if instance != own:
            try:
                for peer in folder.peers():
                    if peer.instance != own and instance in (None, peer.instance):
                        calls.begin(peer, request)
            except (folder.Unavailable, OSError) as error:
                folder.say_once(str(error))
        calls.run(deadline, frozenset(hurried))
        if mine is not None:
            try:
                answers.append(
                    _answer(own, os.getpid(), _whole(mine.get(timeout=max(0.0, deadline - time.monotonic()))))
                )
            except queue.Empty:
                answers.append(Answer(own, os.getpid(), None, _NO_ANSWER))
        answers += sorted(calls.answers, key=lambda answer: (answer.pid, answer.instance))
    return answers


class _Calls:
    """Questions on their way, each on a socket of its own."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, _Call] = {}

    def begin(self, peer: folder.Peer, request: bytes) -> None:
        """Connect and send. A Unix socket does both at once or not at all."""
        sock = None
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.connect(peer.path)
            if not server.is_ours(sock):
                raise PermissionError
        except OSError as error:
            if sock is not None:
                sock.close()
            self._failed(peer, error)
            return
        self._open[sock] = _Call(peer, request)
        self._selector.register(sock, selectors.EVENT_WRITE)

    def _failed(self, peer: folder.Peer, error: OSError) -> None:
        if isinstance(error, ConnectionRefusedError | FileNotFoundError):
            # Linux refuses where nobody listens, and says EAGAIN to a full backlog; others refuse then, too.
            if sys.platform == "linux" or not folder.is_alive(peer.pid):
                folder.sweep(peer.path)
            else:
                self.answers.append(Answer(peer.instance, peer.pid, None, _NO_ANSWER))
        elif isinstance(error, BlockingIOError):
            self.answers.append(Answer(peer.instance, peer.pid, None, _NO_ANSWER))
        else:
            self.answers.append(Answer(peer.instance, peer.pid, None, type(error).__name__))

    def run(self, deadline: float, hurried: frozenset[str]) -> None:
        """Send and receive until all have answered or the time is up."""
        hurry_ends = min(deadline, time.monotonic() + HURRY_S)
        while self._open:
            waits = any(call.peer.instance not in hurried for call in self._open.values())
            left = (deadline if waits else hurry_ends) - time.monotonic()
            if left <= 0:
                break
            for key, _ in self._selector.select(left):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                self._step(sock, self._open[sock])
        for call in self._open.values():
            self.answers.append(Answer(call.peer.instance, call.peer.pid, None, _NO_ANSWER))

    def _step(self, sock: socket.socket, call: _Call) -> None:
        try:
            if call.unsent:
                call.unsent = call.unsent[sock.send(call.unsent) :]
                if not call.unsent:
                    self._selector.modify(sock, selectors.EVENT_READ)
                return
            data = sock.recv(262_144)
            reply = call.reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, WireError) as error:
            self._end(sock, Answer(call.peer.instance, call.peer.pid, None, type(error).__name__))
            return
        if reply is not None:
            self._end(sock, _answer(call.peer.instance, call.peer.pid, reply))
        elif not data:
            self._end(sock, Answer(call.peer.instance, call.peer.pid, None, _GONE))

    def _end(self, sock: socket.socket, answer: Answer) -> None:
        self._selector.unregister(sock)
        del self._open[sock]
        sock.close()
        self.answers.append(answer)

    def close(self) -> None:
        self._selector.close()
        for sock in self._open:
            sock.close()


class _Call:
    __slots__ = ("peer", "reader", "unsent")

    def __init__(self, peer: folder.Peer, request: bytes) -> None:
        self.peer = peer
        self.unsent = memoryview(request)
        self.reader = Reader(REPLY_MAX)


def _answer(name: str, pid: int, reply: dict[str, Any]) -> Answer:
    said = reply.get("reply")
    error = str(reply.get("error") or "")
    if not isinstance(said, dict):
        return Answer(name, pid, None, error or "no answer")
    return Answer(name, pid, said, error)


def _whole(encoded: bytes) -> dict[str, Any]:
    return Reader(REPLY_MAX).feed(encoded) or {}
