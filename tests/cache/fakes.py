"""What the cache's tests share: threads that pass on what they raised, clocks that are told, waiting without sleep."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")

WAIT_S = 20.0


class Worker(threading.Thread, Generic[T]):
    """A thread that runs one function; result() gives what it returned, or raises what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error

    def result(self, timeout_s: float = WAIT_S) -> T:
        self.join(timeout_s)
        assert not self.is_alive(), "the thread did not come to an end"
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value


class FakeClock:
    """Seconds that pass only when told to."""

    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


def eventually(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """Wait until the condition holds; what it gave."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.001)


@contextmanager
def hasty_interpreter() -> Iterator[None]:
    """Threads take turns in almost every line."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
