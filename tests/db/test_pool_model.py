"""Any sequence of what can happen to a pool leaves its invariants standing, its line in order and its numbers right."""

from __future__ import annotations

import gc
import itertools
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from django_wsgiperf.db import PoolTimeout, PoolUnavailable
from django_wsgiperf.db.pool import BROKEN, Lease

from .fakes import ConnectionRefused, FakeClock, FakeConnection, FakeDriver, Worker, consistent, eventually, make_pool


class PoolMachine(RuleBasedStateMachine):
    """One thread that does things, and threads that wait; between two steps everybody has come to rest."""

    @initialize(max_size=st.integers(1, 4), min_idle=st.integers(0, 1), keepalive_s=st.sampled_from([0.0, 30.0]))
    def begin(self, max_size: int, min_idle: int, keepalive_s: float) -> None:
        self.driver = FakeDriver()
        self.clock = FakeClock()
        self.pool = make_pool(
            self.driver,
            clock=self.clock,
            max_size=max_size,
            min_idle=min_idle,
            keepalive_s=keepalive_s,
            max_lifetime_s=300,
            idle_timeout_s=100,
        )
        self.leases: list[Lease[FakeConnection]] = []
        self.old: list[Lease[FakeConnection]] = []
        self.line: list[Worker] = []
        self.arrivals = itertools.count()
        self.lent = self.given_back = self.timeouts = self.unavailable = self.forgotten = 0

    def _acquire(self, timeout_s: float, label: str = "") -> Lease[FakeConnection]:
        lease = self.pool.acquire(timeout_s=timeout_s, label=label)
        lease.thread = None
        return lease

    def _note(self, outcome: Any) -> None:
        """`outcome` gives a lease or raises."""
        try:
            lease = outcome()
        except PoolTimeout:
            self.timeouts += 1
        except PoolUnavailable:
            self.unavailable += 1
        except ConnectionRefused:
            pass
        else:
            self.lent += 1
            assert not lease.raw.closed
            assert all(lease.raw is not other.raw for other in self.leases)
            self.leases.append(lease)

    def _settle(self) -> None:
        """Let those who have been served or sent home arrive. Only the line's head may have left it."""
        eventually(lambda: sum(worker.is_alive() for worker in self.line) == len(self.pool._places.waiters))
        waiting = len(self.pool._places.waiters)
        gone, self.line = self.line[: len(self.line) - waiting], self.line[len(self.line) - waiting :]
        assert all(worker.is_alive() for worker in self.line), "somebody was served before those ahead"
        for worker in gone:
            self._note(worker.result)

    @rule()
    def acquire(self) -> None:
        self._note(lambda: self._acquire(timeout_s=0))
        self._settle()

    @precondition(lambda self: len(self.line) < 4)
    @rule()
    def get_in_line(self) -> None:
        label = f"arrival {next(self.arrivals)}"
        worker = Worker(lambda: self._acquire(timeout_s=1e6, label=label))
        eventually(
            lambda: not worker.is_alive() or label in [waiter.lease.label for waiter in list(self.pool._places.waiters)]
        )
        self.line.append(worker)
        self._settle()

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 3), discard=st.sampled_from(["", "", BROKEN, "open cursor"]))
    def release(self, which: int, discard: str) -> None:
        lease = self.leases.pop(which % len(self.leases))
        self.given_back += 1
        self.old = [*self.old[-3:], lease]
        self.pool.release(lease, discard=discard)
        self._settle()

    @precondition(lambda self: self.old)
    @rule(which=st.integers(0, 3), discard=st.sampled_from(["", BROKEN]))
    def release_again(self, which: int, discard: str) -> None:
        self.pool.release(self.old[which % len(self.old)], discard=discard)

    @precondition(lambda self: self.leases)
    @rule()
    def forget(self) -> None:
        self.leases.pop()
        gc.collect(0)
        self.forgotten += 1
        self.pool.housekeeper.run_once()
        self._settle()

    @rule(seconds=st.sampled_from([0.1, 1.0, 35.0, 120.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def keep_house(self) -> None:
        self.pool.housekeeper.run_once()
        self._settle()

    @rule()
    def evict(self) -> None:
        self.pool.evict_all("model")
        self._settle()

    @rule(count=st.integers(1, 4))
    def prewarm(self, count: int) -> None:
        self.pool.prewarm(count, timeout_s=20)
        self._settle()

    @rule()
    def server_stops(self) -> None:
        self.driver.kill()
        self.driver.refuses = ConnectionRefused("connection refused")

    @rule()
    def server_starts(self) -> None:
        self.driver.refuses = None

    @precondition(lambda self: self.driver.connections)
    @rule(which=st.integers(0, 3))
    def session_ends(self, which: int) -> None:
        self.driver.connections[-1 - which % len(self.driver.connections)].alive = False

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "pool"):
            return
        consistent(self.pool, self.driver)
        assert self.driver.open_max <= self.pool.config.max_size
        numbers = self.pool.snapshot()
        assert numbers["db.client.connection.wait_time"]["count"] == self.lent
        assert numbers["db.client.connection.use_time"]["count"] == self.given_back
        assert numbers["db.client.connection.timeouts"] == self.timeouts
        assert numbers["unavailable"] == self.unavailable
        assert numbers["reclaimed"] == self.forgotten
        assert numbers["db.client.connection.count"]["used"] == len(self.leases)
        assert numbers["db.client.connection.pending_requests"] == len(self.line)
        assert numbers["created"] + numbers["connect_failures"] == self.driver.attempts

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        # Time heals: with the server up and everything given back, everybody in line is served.
        self.driver.refuses = None
        while self.line or self.leases:
            for lease in self.leases:
                self.pool.release(lease)
            self.leases.clear()
            self.clock.advance(10)
            self.pool.housekeeper.run_once()
            self._settle()
        self.pool.close()
        assert self.driver.open == 0


TestPoolModel = PoolMachine.TestCase
TestPoolModel.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
