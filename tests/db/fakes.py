"""A database that is only pretended: a driver whose server can be stopped, and a clock that goes when it is told."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from django_wsgiperf.db.pool import Lease, Pool, PoolConfig

WAIT_S = 60.0


class FakeClock:
    """Nanoseconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


class FakeConnection:
    """Knows whether it is used by two at a time, which a pool must never allow."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True
        self.closed = False
        self.abandoned = False
        self.state = "idle"
        self._in_use = threading.Lock()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        assert not self.closed, f"connection {self.number} was lent after it was closed"
        assert self._in_use.acquire(blocking=False), f"connection {self.number} was lent to two at a time"
        try:
            yield
        finally:
            self._in_use.release()

    def __repr__(self) -> str:
        return f"<connection {self.number}>"


class ConnectionRefused(OSError):
    """What the pretended server says when it is down."""


class FakeDriver:
    """Counts what the pool does, and how many connections the server sees at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.connections: list[FakeConnection] = []
        self.open = 0
        self.open_max = 0
        self.attempts = 0
        self.attempts_at_once = 0
        self.attempts_at_once_max = 0
        self.pings = 0
        self.violations: list[str] = []
        self.may_close_twice = False
        """Real connections let that happen. Only who was interrupted in the midst of closing has a reason to."""
        self.pool: Pool[FakeConnection] | None = None
        """When set, every call checks that this thread has not got the pool's lock."""
        self.refuses: Exception | None = None
        self.while_connecting: Callable[[], Any] = lambda: None
        self.while_closing: Callable[[FakeConnection], Any] = lambda raw: None
        self.while_asking: Callable[[FakeConnection], Any] = lambda raw: None

    def _check_lock(self) -> None:
        # The pool takes whatever a driver raises for the driver's own trouble, so it is kept for later.
        if self.pool is not None and self.pool._is_inside():
            self.violations.append("the driver was called with the pool's lock held")

    def connect(self) -> FakeConnection:
        self._check_lock()
        with self._lock:
            self.attempts += 1
            self.attempts_at_once += 1
            self.attempts_at_once_max = max(self.attempts_at_once_max, self.attempts_at_once)
            # The server counts a session before the client knows that it has one.
            self.open += 1
            self.open_max = max(self.open_max, self.open)
        try:
            self.while_connecting()
            if self.refuses is not None:
                raise type(self.refuses)(*self.refuses.args)
            raw = FakeConnection(next(self._numbers))
            self.connections.append(raw)
        except BaseException:
            with self._lock:
                self.open -= 1
            raise
        finally:
            with self._lock:
                self.attempts_at_once -= 1
        return raw

    def close(self, raw: FakeConnection) -> None:
        self._check_lock()
        self.while_closing(raw)
        with self._lock:
            if raw.closed:
                if not self.may_close_twice:
                    self.violations.append(f"{raw} was closed twice")
                return
            raw.closed = True
            self.open -= 1

    def is_alive(self, raw: FakeConnection) -> bool:
        self._check_lock()
        self.pings += 1
        self.while_asking(raw)
        return raw.alive and not raw.closed

    def abandon(self, raw: FakeConnection) -> None:
        raw.abandoned = True

    def state(self, raw: FakeConnection) -> str:
        self._check_lock()
        return raw.state

    def collect(self) -> None:
        """What the finalizer of a real connection does, for those that nobody has any more."""
        for raw in self.connections:
            # Known here: by the list, by this name, and by what counts.
            if not raw.closed and sys.getrefcount(raw) == 3:
                self.close(raw)

    def kill(self) -> None:
        """End every session on the server's side."""
        for raw in self.connections:
            raw.alive = False


def make_pool(
    driver: FakeDriver, *, clock: Callable[[], int] = time.monotonic_ns, background: bool = False, **config: Any
) -> Pool[FakeConnection]:
    pool: Pool[FakeConnection] = Pool("test", driver, PoolConfig(**config), clock=clock, background=background)
    driver.pool = pool
    return pool


def eventually(condition: Callable[[], Any], what: str = "", timeout_s: float = WAIT_S) -> None:
    """Wait for `condition`; for what no event tells."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what or "it has not come to pass"
        time.sleep(0.001)


class Worker(threading.Thread):
    """A thread whose result or failure is handed to whoever joins it."""

    def __init__(self, work: Callable[[], Any], name: str | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(WAIT_S)
        assert not self.is_alive(), f"{self.name} has not ended"
        # Handed over: a lease must not live on here.
        error, self._error = self._error, None
        result, self._result = self._result, None
        if error is not None:
            raise error
        return result


class Holder(Worker):
    """A thread that takes a connection, and gives it back when it `may_go`; its lease is the result.

    If it ended with the connection it would have lost it, and anybody could have what it had."""

    def __init__(self, pool: Pool[FakeConnection]) -> None:
        self.may_go = threading.Event()
        super().__init__(lambda: self._hold(pool))

    def _hold(self, pool: Pool[FakeConnection]) -> Lease[FakeConnection]:
        lease = pool.acquire(timeout_s=WAIT_S)
        assert self.may_go.wait(WAIT_S)
        pool.release(lease)
        return lease


def consistent(pool: Pool[FakeConnection], driver: FakeDriver) -> None:
    """What must hold of a pool whenever nobody is in the midst of something."""
    assert not driver.violations
    with pool._lock:
        assert len(pool._places.entries) <= pool.config.max_size
        assert len(set(map(id, pool._places.idle))) == len(pool._places.idle)
        for entry in pool._places.idle:
            assert entry in pool._places.entries
            assert entry.lease is None
            assert entry.raw is not None
            assert not entry.raw.closed
        for entry in pool._places.entries - set(pool._places.idle):
            assert entry.lease is not None
        if pool._places.waiters:
            assert not pool._places.idle
        assert driver.open == len(pool._places.entries)
        counted = pool.statistics
        assert counted.created - sum(counted.closed.values()) == len(pool._places.entries)
