"""Threads that make pages anew in the background: `wsgiperf-cache-refresh`, daemons, started when there is something
to do and gone after a while without.

A bounded queue; each key waits or runs once at most. What a job does is its maker's affair; one that fails is left
alone for a moment, so that a page that cannot be made is not tried by every request for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from . import forking
from .counting import Counters

logger = logging.getLogger("django_wsgiperf.cache")

_IDLE_S: Final = 30.0
_AFTER_FAILURE_S: Final = 1.0
_MAX_FAILED: Final = 1_024

Job = Callable[[], bool | None]
"""Makes a page anew; whether that went well. None where another process is at it."""


class Refresher:
    """At most `max_threads` threads and `max_jobs` jobs that wait. `_lock` guards the queue, the keys and the threads.

    `on_thread_end` is called in a thread that ends: it has database connections."""

    def __init__(
        self,
        *,
        max_threads: int = 2,
        max_jobs: int = 256,
        counters: Counters | None = None,
        on_thread_end: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_threads = max_threads
        self._max_jobs = max_jobs
        self._counters = Counters() if counters is None else counters
        self._on_thread_end = on_thread_end
        self._clock = clock
        self._stopping = False
        self._reset()
        forking.watch(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._jobs: deque[tuple[bytes, Job]] = deque()
        self._keys: set[bytes] = set()
        self._failed: dict[bytes, float] = {}
        self._threads: set[threading.Thread] = set()
        self._idle = 0

    def after_fork_in_child(self) -> None:
        """The threads, and what they have begun, are the parent's."""
        self._reset()

    def submit(self, key: bytes, job: Job) -> bool:
        """Have the job done soon. False when it is under way already, has just failed, or there is no room."""
        if key in self._keys or self._has_just_failed(key):
            return False
        with self._lock:
            if self._stopping or key in self._keys:
                return False
            if len(self._jobs) >= self._max_jobs:
                self._counters.refreshes_dropped += 1
                return False
            self._keys.add(key)
            self._jobs.append((key, job))
            if self._idle >= len(self._jobs) or len(self._threads) >= self._max_threads:
                self._wake.notify()
                return True
            thread = threading.Thread(target=self._run, name="wsgiperf-cache-refresh", daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # No more threads can be had, or the interpreter is on its way out.
            with self._lock:
                self._threads.discard(thread)
                if not self._threads:
                    self._jobs.clear()
                    self._keys.clear()
            return False
        return True

    def stop(self, timeout_s: float = 1.0) -> None:
        """Begin nothing more, and wait so long at most for what has begun."""
        deadline_s = time.monotonic() + timeout_s
        with self._lock:
            self._stopping = True
            for key, _ in self._jobs:
                self._keys.discard(key)
            self._jobs.clear()
            threads = list(self._threads)
            self._wake.notify_all()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))

    def numbers(self) -> dict[str, int]:
        """For people and metrics."""
        with self._lock:
            return {"waiting": len(self._jobs), "threads": len(self._threads)}

    def _has_just_failed(self, key: bytes) -> bool:
        until_s = self._failed.get(key)
        return until_s is not None and self._clock() < until_s

    def _run(self) -> None:
        try:
            while (taken := self._take()) is not None:
                self._do(*taken)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
            self._on_thread_end()

    def _take(self) -> tuple[bytes, Job] | None:
        """The next job; None when there has been none for a while, or it is over."""
        with self._lock:
            if self._awaits_job():
                return self._jobs.popleft()
            # Under the lock, so that nobody counts on this thread any more.
            self._threads.discard(threading.current_thread())
            return None

    def _awaits_job(self) -> bool:
        """Whether there is one now or within `_IDLE_S` seconds. Lock held."""
        deadline_s = time.monotonic() + _IDLE_S
        while not self._jobs and not self._stopping:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self._idle += 1
            try:
                self._wake.wait(left_s)
            finally:
                self._idle -= 1
        return not self._stopping

    def _do(self, key: bytes, job: Job) -> None:
        done: bool | None = False
        try:
            done = job()
        except Exception:
            logger.exception("A page could not be made anew in the background")
        finally:
            with self._lock:
                self._keys.discard(key)
                if done:
                    self._failed.pop(key, None)
                else:
                    if len(self._failed) >= _MAX_FAILED:
                        self._failed.clear()
                    self._failed[key] = self._clock() + _AFTER_FAILURE_S
        if done:
            self._counters.refreshes += 1
        elif done is False:
            self._counters.refresh_failures += 1
