"""What this process answers, by topic: handlers, and the threads that they run in, a few at a time.

A handler runs in a thread of its own, so that one that hangs holds up nobody: some questions of its topic then wait,
further ones are refused, and the other topics go on. No sockets here.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django_wsgiperf.instance import instance

from .wire import REPLY_MAX, WireError, encode

logger = logging.getLogger("django_wsgiperf.control")

Handler = Callable[[dict[str, Any]], dict[str, Any]]

RUNNING_MAX: Final = 12
"""Handlers that run at the same time, of all topics."""
TOPIC_MAX: Final = 4
"""The same, of one topic."""
WAITING_MAX: Final = 16
"""Questions about one topic that wait for a handler to end."""
WAITING_S: Final = 5.0
"""Who has waited so long has left."""

Done = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process said. `error` is empty when there is a `reply`, else says why there is none."""

    instance: str
    pid: int
    reply: dict[str, Any] | None
    error: str = ""


_handlers: dict[str, Handler] = {}
"""By topic; each change is one assignment."""
_lock = threading.Lock()
"""Guards _running and _waiting."""
_running: Counter[str] = Counter()
_waiting: dict[str, deque[tuple[float, dict[str, Any], Done]]] = {}
"""By topic: until when, message, and whom to tell. Of topics that have a handler running, which sees to them."""


def handle(topic: str, handler: Handler) -> None:
    """Have `handler` answer a topic in this process; it takes the message and gives what JSON can hold.

    It runs in a thread of its own, up to four times at once, and should take much less than a second: whoever asks
    waits no longer. What it raises is logged here, and the asker is told the exception's class."""
    _handlers[topic] = handler


def begin(topic: str, message: dict[str, Any], done: Done) -> None:
    """Run the topic's handler in a thread, and give its encoded answer to `done`, in that thread; refusals at once."""
    handler = _handlers.get(topic)
    if handler is None:
        done(_encoded(error=f"no handler for {topic[:100]!r}"))
        return
    with _lock:
        has_room = _running[topic] < TOPIC_MAX and _running.total() < RUNNING_MAX
        may_wait = not has_room and _running[topic] > 0 and len(_waiting.get(topic, ())) < WAITING_MAX
        if has_room:
            _running[topic] += 1
        elif may_wait:
            _waiting.setdefault(topic, deque()).append((time.monotonic() + WAITING_S, message, done))
    if not has_room:
        if not may_wait:
            done(_encoded(error=f"too many questions about {topic!r} are unanswered"))
        return
    thread = threading.Thread(
        target=_run, args=(topic, handler, message, done), name=f"wsgiperf-control-{topic}", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:  # No more threads, or the interpreter is on its way out.
        _end(topic)
        done(_encoded(error="no thread could be started"))


def _run(topic: str, handler: Handler, message: dict[str, Any], done: Done) -> None:
    """In a thread: this question, and then those that have come to wait for it."""
    has_ended = False
    try:
        while True:
            _answer(topic, handler, message, done)
            following = _next(topic)
            if following is None:
                has_ended = True
                return
            message, done = following
    finally:
        if not has_ended:
            _end(topic)
        _close_connections()


def _answer(topic: str, handler: Handler, message: dict[str, Any], done: Done) -> None:
    try:
        encoded = _encoded(reply=handler(message))
    except WireError as error:
        logger.warning("What the handler of %r gave cannot be sent: %s", topic, error)
        encoded = _encoded(error=f"the answer cannot be sent: {error}")
    except Exception as error:
        logger.warning("The handler of %r failed", topic, exc_info=True)
        # The message may hold what is nobody's business.
        encoded = _encoded(error=type(error).__name__)
    done(encoded)


def _next(topic: str) -> tuple[dict[str, Any], Done] | None:
    """The next question that somebody still waits for; when there is none, None, and the thread counts no longer."""
    late: list[Done] = []
    found: tuple[dict[str, Any], Done] | None = None
    with _lock:
        waiting = _waiting.get(topic)
        if waiting:
            found = _first_in_time(waiting, late)
        if not waiting:
            _waiting.pop(topic, None)
        if found is None:
            _forget(topic)
    for done in late:
        done(_encoded(error="it took too long"))
    return found


def _first_in_time(
    waiting: deque[tuple[float, dict[str, Any], Done]], late: list[Done]
) -> tuple[dict[str, Any], Done] | None:
    """Of those that wait; who comes before, too `late`, is taken out as well. With the lock held."""
    while waiting:
        until, message, done = waiting.popleft()
        if time.monotonic() < until:
            return message, done
        late.append(done)
    return None


def _end(topic: str) -> None:
    with _lock:
        _forget(topic)


def _forget(topic: str) -> None:
    """With the lock held."""
    _running[topic] -= 1
    if _running[topic] <= 0:
        del _running[topic]


def _encoded(reply: dict[str, Any] | None = None, error: str = "") -> bytes:
    return encode({"instance": instance(), "pid": os.getpid(), "reply": reply, "error": error}, REPLY_MAX)


def _close_connections() -> None:
    """A handler that asked a database has left a connection on its thread, which ends."""
    if "django.db" in sys.modules:
        from django.db import connections

        for connection in connections.all(initialized_only=True):
            connection.close()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _running.clear()
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
