"""What the thread pool runs, where that waits, and who may compute. Knows no threads; threadpool.py has the rules."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol

from .slots import Slot


class Task(Protocol):
    """Something a thread can run; `blocks` says that it is known to keep its thread for long, `computes` that it is
    known to keep the interpreter lock for long."""

    blocks: bool
    computes: bool

    def run(self, slot: Slot) -> None: ...


class TaskQueue(deque[Task]):
    """Tasks that wait for a thread. `empty_at` is when none did last, by time.monotonic()."""

    def __init__(self) -> None:
        super().__init__()
        self.newest_first = False
        """Take tasks from the young end: under overload the old ones have been given up by their clients."""
        self.empty_at = time.monotonic()

    def take(self) -> Task:
        """The next task. Raises IndexError."""
        return self.pop() if self.newest_first else self.popleft()


class Source(Protocol):
    """Where tasks come from. poll() appends to the pool's queue; wake() ends a poll() early, from any thread."""

    def poll(self) -> None: ...

    def wake(self) -> None: ...


class Permits:
    """How many tasks that compute run at once, and the queue of their own in which the others wait.

    `lock` guards `out` and the slots' `computes`; a permit is given back once, by whoever comes first."""

    __slots__ = ("limit", "lock", "out", "queue")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.out = 0
        self.queue = TaskQueue()
        self.lock = threading.Lock()

    def take(self, slot: Slot) -> Task:
        """The next task that computes, with a permit for it in `slot`. Raises IndexError."""
        with self.lock:
            if self.out >= self.limit:
                raise IndexError
            task = self.queue.take()
            self.out += 1
            slot.computes = True
        return task

    def give_back(self, slot: Slot) -> None:
        with self.lock:
            if slot.computes:
                slot.computes = False
                self.out -= 1
