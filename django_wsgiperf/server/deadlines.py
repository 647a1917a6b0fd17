"""Stuck requests: seen, reported with their stack, interrupted, and at last given up.

The supervisor (the worker's main thread) looks at every slot from outside. A request past its deadline, or a stream
that has given nothing for so long, gets Interrupted raised in its own thread; a thread that does not come back even
then, because it sits in a call that never returns to the interpreter, is written off: its client gets the 504 from
here, and the pool another thread.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .gateway import Exchange, Interrupted

if TYPE_CHECKING:
    from .reactor import Reactor
    from .slots import Slot

logger = logging.getLogger("django_wsgiperf.server")


def stack_of(thread_id: int) -> str:
    """The stack of a running thread as text, innermost call last; empty when the thread is gone."""
    frame = sys._current_frames().get(thread_id)
    return "" if frame is None else "".join(traceback.format_stack(frame))


class DeadlineSupervisor:
    """Enforces `request_timeout_s`. `grace_s` is how long an interrupted thread has to come back."""

    def __init__(self, reactor: Reactor, *, grace_s: float = 2.0) -> None:
        self._reactor = reactor
        self._deadline_ns = int(reactor.settings.request_timeout_s * 1e9)
        self._grace_ns = int(grace_s * 1e9)
        self._interrupted: dict[int, tuple[Any, int]] = {}
        self._asked: deque[tuple[Slot, Exchange, int]] = deque()
        """Interrupted because somebody asked for it, and by that thread; tick() watches what becomes of them."""
        self.lost_threads = 0

    @property
    def tick_s(self) -> float:
        """How often tick() is to be called for deadlines to be kept to about a quarter."""
        return 1.0 if not self._deadline_ns else min(1.0, max(0.02, self._deadline_ns / 4e9))

    def tick(self) -> None:
        """Look at every slot. Called by one thread only."""
        while self._asked:
            slot, exchange, at_ns = self._asked.popleft()
            self._interrupted[id(slot)] = (exchange, at_ns)
        if not self._deadline_ns and not self._interrupted:
            return
        now = time.monotonic_ns()
        seen: dict[int, tuple[Any, int]] = {}
        for slot in list(self._reactor.pool.slots):
            exchange = slot.task
            if not isinstance(exchange, Exchange) or slot.abandoned:
                continue
            silent_ns = _silent_ns(slot, exchange, now)
            earlier = self._interrupted.get(id(slot))
            if earlier is not None and earlier[0] is exchange:
                if now - earlier[1] < self._grace_ns:
                    seen[id(slot)] = earlier
                else:
                    self._give_up(slot, exchange, now - slot.started_ns)
            elif (
                0 < self._deadline_ns < silent_ns and slot.in_application and self._interrupt(slot, exchange, silent_ns)
            ):
                seen[id(slot)] = (exchange, now)
        self._interrupted = seen

    def interrupt(self, thread_id: int, still_runs: Callable[[], bool]) -> bool:
        """Interrupt what a thread of the pool runs, if it is still what the caller means; False when it is not, or the
        thread is none of the pool's. Any thread may call it.

        `still_runs` is asked at a moment in which the thread can neither end its request nor begin another."""
        for slot in list(self._reactor.pool.slots):
            exchange = slot.task
            if slot.thread_id != thread_id or not isinstance(exchange, Exchange) or slot.abandoned:
                continue
            now = time.monotonic_ns()
            with slot.guard:
                if slot.interrupting:
                    return slot.task is exchange and still_runs()  # It has been, and is on its way out.
                slot.interrupting = True
                if slot.task is not exchange or not slot.in_application or not still_runs():
                    slot.interrupting = False
                    return False
                stack = stack_of(thread_id)
                _raise_in(thread_id)
            self._asked.append((slot, exchange, now))
            logger.warning(
                "Request interrupted on demand after %.1f s: %s %s\n%s",
                (now - slot.started_ns) / 1e9,
                exchange.request.method,
                exchange.request.path.decode(),
                stack,
            )
            return True
        return False

    def _interrupt(self, slot: Slot, exchange: Exchange, silent_ns: int) -> bool:
        """Whether it was necessary still."""
        with slot.guard:
            slot.interrupting = True
            if (
                slot.task is not exchange
                or not slot.in_application
                or _silent_ns(slot, exchange, time.monotonic_ns()) < self._deadline_ns
            ):
                slot.interrupting = False
                return False
            stack = stack_of(slot.thread_id)
            _raise_in(slot.thread_id)
        logger.error(
            "%s: %s %s\n%s",
            (
                f"Stream past its deadline, interrupted {silent_ns / 1e9:.1f} s after its last piece"
                if _streams(slot, exchange)
                else f"Request past its deadline, interrupted after {silent_ns / 1e9:.1f} s"
            ),
            exchange.request.method,
            exchange.request.path.decode(),
            stack,
        )
        return True

    def _give_up(self, slot: Slot, exchange: Exchange, age_ns: int) -> None:
        """The thread did not come back: answer for it, and put another in its place."""
        with slot.guard:
            if slot.task is not exchange:
                return
            slot.interrupting = True
            slot.abandoned = True
            unanswered = not exchange.head_sent
        self.lost_threads += 1
        logger.critical(
            "Thread lost: it did not react to its interruption %.1f s ago, for %s %s. It is stuck at\n%s",
            age_ns / 1e9,
            exchange.request.method,
            exchange.request.path.decode(),
            stack_of(slot.thread_id),
        )
        self._reactor.pool.detach(slot)
        self._reactor.abandon(exchange, unanswered)
        # Its own thread will not, should it ever come back.
        self._reactor.record(exchange, slot, slot.started_ns - exchange.ready_ns, time.monotonic_ns())


def _raise_in(thread_id: int) -> None:
    """Have Interrupted raised in another thread, at the next line of Python that it runs."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(Interrupted))


def _streams(slot: Slot, exchange: Exchange) -> bool:
    """Whether the response is being streamed beside the pool."""
    return slot.detached and exchange.head_sent


def _silent_ns(slot: Slot, exchange: Exchange, now: int) -> int:
    """How long the application has been at it; a stream may last, and for it only the time since its last piece counts.

    The time that a stream waits for its client is not the application's: `write_timeout_s` is for that."""
    if not _streams(slot, exchange):
        return now - slot.started_ns
    if exchange.waits_for_client:
        return 0
    return now - max(slot.started_ns, exchange.progressed_ns)
