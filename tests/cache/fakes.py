"""What the cache's tests share: threads that pass on what they raised, clocks that are told, waiting without sleep."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from django_wsgiperf.cache.store import PurgeOrder, Purges, Store, StoreRefused, StoreUnavailable

T = TypeVar("T")

WAIT_S = 60.0


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


class FakeLog(Store):
    """A shared store that is only pretended: it can be down, refuse writes, forget everything, and lose messages."""

    title = "the pretended store"

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: dict[str, bytes] = {}
        self.log: list[tuple[int, PurgeOrder]] = []
        self.base = 0
        self.clock = 1_000
        self.down = False
        self.full = False
        self.silent = False
        self.deaf = True
        """There is no channel."""
        self.subscriptions: list[FakeSubscription] = []
        self.asked = 0

    def _check(self, *, write: bool) -> None:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("it is down")
        if write and self.full:
            raise StoreRefused("it is full")

    def forget(self) -> None:
        """As after a restart."""
        with self.lock:
            self.values.clear()
            self.log.clear()
            self.base = 0

    def _head(self) -> int:
        return self.log[-1][0] if self.log else self.base

    def _begin(self, known: int) -> None:
        if self._head() == 0 or self._head() < known:
            self.log.clear()
            # The clock has gone on since the last number was given out.
            self.clock += 10
            self.base = max(known + 1, self.clock)

    def fetch(self, keys: Sequence[str], known: int) -> tuple[list[bytes | None], int | None]:
        self._check(write=False)
        with self.lock:
            return [self.values.get(key) for key in keys], self._head() or None

    def set(self, key: str, value: bytes, ttl_s: float) -> None:
        self._check(write=True)
        self.values[key] = value

    def delete(self, keys: Sequence[str]) -> None:
        self._check(write=False)
        for key in keys:
            self.values.pop(key, None)

    def add(self, key: str, value: bytes, ttl_s: float) -> bool:
        self._check(write=True)
        return self.values.setdefault(key, value) is value

    def delete_if(self, key: str, value: bytes) -> None:
        self._check(write=False)
        with self.lock:
            if self.values.get(key) == value:
                del self.values[key]

    def purge(self, order: PurgeOrder, known: int) -> Purges:
        self._check(write=True)
        with self.lock:
            self._begin(known)
            self.clock = max(self.clock, self._head()) + 1
            self.log.append((self.clock, order))
            news = self._since(known)
        for subscription in self.subscriptions:
            if not self.silent:
                subscription.news.set()
        return news

    def purges_since(self, known: int) -> Purges:
        self._check(write=False)
        with self.lock:
            self._begin(known)
            return self._since(known)

    def _since(self, known: int) -> Purges:
        news = Purges(self._head(), hard_floor=self.base if known < self.base else 0)
        for number, order in self.log:
            if number > known:
                news = news.merged(Purges.of(order, number, number))
        return news

    def listen(self) -> FakeSubscription | None:
        self._check(write=False)
        if self.deaf:
            return None
        self.subscriptions.append(FakeSubscription(self))
        return self.subscriptions[-1]

    def rest(self) -> None:
        pass

    def close(self) -> None:
        pass


class FakeSubscription:
    """Hears of purges while the store is up and not silent."""

    def __init__(self, log: FakeLog) -> None:
        self.log = log
        self.news = threading.Event()
        self.closed = False

    def wait(self, timeout_s: float) -> bool:
        heard = self.news.wait(timeout_s) and not self.closed
        self.news.clear()
        if self.log.down:
            raise StoreUnavailable("it is down")
        return heard

    def close(self) -> None:
        self.closed = True
        self.news.set()
