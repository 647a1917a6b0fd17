"""Stacks of requests that run for long, taken while they run: what they wait for, without anybody having looked.

One daemon thread of the process looks at the requests that run. Nothing can be slow sooner than the threshold from
now, so it sleeps that long when nothing is; with no request for a while it ends, and the next one starts it again.
A stack is names of files, lines and functions; values of variables are not looked at.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from types import FrameType
from typing import Any, Final

from . import pipeline
from .record import Record
from .statements import short_path

logger = logging.getLogger("django_wsgiperf.metrics")

MAX_STACKS: Final = 8
"""Of one request, at 1, 2, 4, 8, ... times the threshold."""
MAX_DEPTH: Final = 60
_QUIET_TURNS = 60
"""After so many looks at an idle process the thread ends."""
_SHORTEST_S: Final = 0.005
_AFTER_FAILURE_S = 1.0


class Sampler:
    """`threshold_ns` 0 is off. `_lock` guards the start and the end of the thread."""

    def __init__(self) -> None:
        self.threshold_ns = 0
        self.alive = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """A request has begun, and nobody looks: see that somebody does, if anybody is to."""
        with self._lock:
            if self.alive or not self.threshold_ns:
                return
            self.alive = True
            threading.Thread(target=self._run, name="wsgiperf-sampler", daemon=True).start()

    def _run(self) -> None:
        quiet = 0
        while True:
            try:
                pause_s = self.look(time.perf_counter_ns())
            except Exception:
                logger.exception("Stacks of slow requests could not be taken")
                pause_s = _AFTER_FAILURE_S
            quiet = 0 if pipeline.running else quiet + 1
            if quiet > _QUIET_TURNS or not self.threshold_ns:
                with self._lock:
                    # Dekker with the middleware: the mark first, then a second look.
                    self.alive = False
                    if not pipeline.running or not self.threshold_ns:
                        return
                    self.alive = True
            time.sleep(pause_s)

    def look(self, now_ns: int) -> float:
        """Take the stacks that are due; the seconds until one can be due again."""
        threshold_ns = self.threshold_ns
        next_ns = threshold_ns
        due: list[Record] = []
        # A stream whose head is out is not slow: it lasts.
        for record in list(pipeline.running):
            taken = len(record.stacks)
            if record.ttfb_ns >= 0 or taken >= MAX_STACKS:
                continue
            left_ns = (threshold_ns << taken) - (now_ns - record.began_ns)
            if left_ns <= 0:
                due.append(record)
                left_ns += threshold_ns << taken
            next_ns = min(next_ns, left_ns)
        if due:
            frames = sys._current_frames()
            for record in due:
                stack = stack_of(record, frames)
                # Once it has ended, its thread may have been at something else.
                if stack and record.ttfb_ns < 0:
                    record.stacks = [*record.stacks, "\n".join(stack)]
            del frames
        return max(_SHORTEST_S, next_ns / 1e9)


def stack_of(record: Record, frames: dict[int, FrameType] | None = None) -> tuple[str, ...]:
    """Where a running request is now: `file:line in function`, outermost first; empty when that cannot be told."""
    if record.thread_id:
        frame = (sys._current_frames() if frames is None else frames).get(record.thread_id)
        return _of_frame(frame)
    task = record.task
    return () if task is None else _of_coroutine(task.get_coro())


def _of_frame(frame: FrameType | None) -> tuple[str, ...]:
    lines: list[str] = []
    while frame is not None and len(lines) < MAX_DEPTH:
        lines.append(_line(frame))
        frame = frame.f_back
    lines.reverse()
    return tuple(lines)


def _of_coroutine(coroutine: Any) -> tuple[str, ...]:
    """Of a task that is suspended: each coroutine, and what it awaits."""
    lines: list[str] = []
    while coroutine is not None and len(lines) < MAX_DEPTH:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is None:
            break
        lines.append(_line(frame))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return tuple(lines)


def _line(frame: FrameType) -> str:
    return f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_qualname}"


sampler = Sampler()
"""Of this process."""


def configure(threshold_ms: float) -> None:
    """From how long on; 0 for never. Of the process."""
    sampler.threshold_ns = int(threshold_ms * 1e6)


def _after_fork_in_child() -> None:
    global sampler
    threshold_ns = sampler.threshold_ns
    sampler = Sampler()
    sampler.threshold_ns = threshold_ns


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
