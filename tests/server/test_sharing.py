"""Which of several workers accepts: rules with made-up reactors, and what comes of them with real workers."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from django_wsgiperf.server import sharing
from django_wsgiperf.server.connection import NEVER
from django_wsgiperf.server.scoreboard import SERVING, Scoreboard
from django_wsgiperf.server.sharing import Sharing
from django_wsgiperf.server.timers import Timers

from .processes import DEADLINE_S, Serve, eventually, get, stats, workers

Start = Callable[..., Serve]


class Clock:
    """The time that sharing.py sees."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sharing, "time", clock)
    return clock


class Side:
    """A worker's side of the matter, with as much of a reactor as it needs."""

    def __init__(self, board: Scoreboard, clock: Clock) -> None:
        self.board, self.clock = board, clock
        self.row = board.claim(SimpleNamespace(pid=os.getpid(), age=1))
        board.set(self.row, "pid", os.getpid())
        board.set(self.row, "state", SERVING)
        self.sharing = Sharing(board, self.row)
        self.listens = True
        self.reactor: Any = SimpleNamespace(
            connections={},
            pool=SimpleNamespace(has_free_slot=True, busy=0, waiting=0),
            statistics=SimpleNamespace(accepted=0),
            finished_at_ns=0,
            found=0,
            resting=0,
            surplus=0,
            polled_at_ns=0,
            acceptor=SimpleNamespace(is_accepting=True, listen=self._listen),
        )

    def _listen(self, listening: bool) -> None:
        assert listening != self.listens
        self.listens = listening

    def poll(self) -> float:
        self.reactor.polled_at_ns = self.clock.monotonic_ns()
        return self.sharing.before_poll(self.reactor, 0.25)

    def refresh(self) -> None:
        self.board.set(self.row, "polled_ms", int(self.clock.now * 1000))
        self.sharing.refresh()

    def accept(self, wanted: int) -> int:
        """Accept as many as this worker may; how many these are."""
        taken = min(wanted, self.sharing.allowance(self.reactor, 64)) if self.listens else 0
        for _ in range(taken):
            self.reactor.statistics.accepted += 1
            self.reactor.connections[self.reactor.statistics.accepted] = None
        return taken

    @property
    def open(self) -> int:
        return len(self.reactor.connections)


@pytest.fixture
def sides(clock: Clock) -> list[Side]:
    board = Scoreboard()
    both = [Side(board, clock), Side(board, clock)]
    for _ in both:
        for side in both:
            side.poll()
            side.refresh()
    return both


@pytest.mark.parametrize("number", [2, 32, 1000])
def test_connections_that_come_at_once_are_shared_evenly(sides: list[Side], clock: Clock, number: int) -> None:
    waiting = number
    turns = 0
    while waiting:
        # The first is always a little faster.
        for side in (sides[0], sides[0], sides[1]):
            side.poll()
            waiting -= side.accept(waiting)
        clock.now += 0.0005
        turns += 1
    assert abs(sides[0].open - sides[1].open) <= 2 + number // 16
    assert turns < 500


def test_worker_that_is_alone_takes_what_comes(clock: Clock) -> None:
    side = Side(Scoreboard(), clock)
    side.refresh()
    assert side.poll() == 0.25
    assert side.accept(100) == 64
    assert side.poll() == 0.25
    assert side.listens


def test_yield_ends_after_two_milliseconds_and_in_vain_it_is_made_up_for(sides: list[Side], clock: Clock) -> None:
    busy = sides[0]
    busy.accept(1), busy.poll(), busy.accept(1)
    taken = []
    for _ in range(8):
        assert busy.poll() == 0.002
        assert not busy.listens
        clock.now += 0.0021
        busy.poll()
        assert busy.listens, "nobody else came"
        taken.append(busy.accept(64))
    assert taken == [2, 4, 8, 16, 32, 64, 64, 64]


def test_worker_that_runs_requests_yields_for_longer(sides: list[Side], clock: Clock) -> None:
    busy = sides[0]
    busy.reactor.pool.busy = 1
    busy.accept(1), busy.poll(), busy.accept(1), busy.poll()
    clock.now += 0.0021
    busy.poll()
    assert not busy.listens, "the other may have to win its interpreter lock first"
    clock.now += 0.0181
    busy.poll()
    assert busy.listens


def press(side: Side, *, waiting: int, events: int = 0, turns: int = 40) -> None:
    side.reactor.pool.waiting, side.reactor.found = waiting, events
    for _ in range(turns):
        side.poll()


@pytest.mark.parametrize(("waiting", "events"), [(20, 1), (0, 21)])
def test_worker_in_which_requests_wait_sends_connections_to_one_that_has_time(
    sides: list[Side], clock: Clock, waiting: int, events: int
) -> None:
    pressed, other = sides
    pressed.reactor.connections.update(dict.fromkeys(range(30)))
    press(pressed, waiting=waiting, events=events)
    press(other, waiting=0, events=1)
    clock.now += 1
    pressed.poll()
    assert pressed.reactor.surplus == 10, "half of what waits, not half of the connections: most of them may rest"
    other.poll()
    assert other.reactor.surplus == 0


@pytest.mark.parametrize(
    ("mine", "theirs", "waiting", "waiting_there", "full_there"),
    [
        pytest.param(30, 0, 1, 0, False, id="hardly anything waits"),
        pytest.param(30, 0, 20, 12, False, id="the other is pressed, too"),
        pytest.param(30, 0, 20, 0, True, id="the other has no free thread and ends no request"),
        pytest.param(10, 9, 20, 0, False, id="the other has as many connections"),
    ],
)
def test_worker_keeps_its_connections_where_nothing_is_gained(
    sides: list[Side], clock: Clock, mine: int, theirs: int, waiting: int, waiting_there: int, full_there: bool
) -> None:
    for side, number in zip(sides, (mine, theirs), strict=True):
        side.reactor.connections.update(dict.fromkeys(range(number)))
    sides[1].reactor.pool.has_free_slot = not full_there
    press(sides[0], waiting=waiting)
    press(sides[1], waiting=waiting_there)
    clock.now += 1
    sides[0].poll()
    assert sides[0].reactor.surplus == 0


def test_busy_worker_that_gets_on_is_sent_connections(sides: list[Side], clock: Clock) -> None:
    pressed, other = sides
    pressed.reactor.connections.update(dict.fromkeys(range(10)))
    other.reactor.connections.update(dict.fromkeys(range(2)))
    for side in sides:
        side.reactor.pool.has_free_slot = False
    press(pressed, waiting=9)
    clock.now += 1
    other.reactor.finished_at_ns = pressed.reactor.finished_at_ns = clock.monotonic_ns() - 10_000_000
    press(other, waiting=1)
    pressed.poll()
    assert pressed.reactor.surplus == 4
    assert pressed.sharing.allowance(pressed.reactor, 64) < 8, "and it takes no more of the new ones than it has to"


def test_connections_are_sent_away_until_both_workers_have_as_much_to_do(sides: list[Side], clock: Clock) -> None:
    counts = [30, 2]
    for _ in range(20):
        for side, number in zip(sides, counts, strict=True):
            side.reactor.connections.clear()
            side.reactor.connections.update(dict.fromkeys(range(number)))
            press(side, waiting=max(0, number - 12))
        clock.now += 0.3
        sides[0].poll()
        counts = [counts[0] - sides[0].reactor.surplus, counts[1] + sides[0].reactor.surplus]
    assert 14 <= counts[1] <= 18


def test_resting_connections_are_no_load(sides: list[Side], clock: Clock) -> None:
    resting, other = sides
    resting.reactor.connections.update(dict.fromkeys(range(5000)))
    other.reactor.connections.update(dict.fromkeys(range(10)))
    resting.reactor.resting = 4998
    other.poll(), resting.poll()
    assert other.accept(1) == 1
    other.poll()
    assert not other.listens, "it has more to do than the one with thousands that rest"
    resting.accept(1), resting.poll()
    assert resting.listens


def test_a_connection_rests_a_second_after_its_last_answer() -> None:
    now, keepalive_s = 1000.0, 75.0
    deadlines = [NEVER, now + 10, now + keepalive_s, now + keepalive_s - 0.9, now + keepalive_s - 1.1, now + 1]
    reactor: Any = SimpleNamespace(
        connections={n: SimpleNamespace(deadline=deadline) for n, deadline in enumerate(deadlines)},
        keepalive_s=keepalive_s,
        sharing=object(),
        resting=0,
    )
    Timers(reactor).sweep(now)
    assert reactor.resting == 3


def test_real_worker_sends_connections_to_one_that_has_time_again(serve: Start, project: Path) -> None:
    port = two_workers(serve)
    done = threading.Event()
    failures: list[BaseException] = []

    def ask_again_and_again() -> None:
        try:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)) as client:
                while not done.is_set():
                    client.request("GET", "/?sleep=0.01")
                    client.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            failures.append(error)

    def opened() -> list[int]:
        return sorted(row["connections"] for row in stats(port)["workers"])

    clients = [threading.Thread(target=ask_again_and_again) for _ in range(12)]
    (project / "busy").touch()
    slow = threading.Thread(target=get, args=(port, "/?while=busy"))
    slow.start()
    try:
        eventually(lambda: any(row["busy"] for row in stats(port)["workers"]), "one is busy")
        for client in clients:  # They go to the other.
            client.start()
        eventually(lambda: sum(opened()) > len(clients), "all are accepted")
        (project / "busy").unlink()
        eventually(lambda: opened()[0] >= 4, "they have spread over both")
    finally:
        (project / "busy").unlink(missing_ok=True)
        done.set()
        for thread in (slow, *clients):
            thread.join()
    assert failures == []


def test_worker_without_a_free_thread_leaves_new_connections_to_one_with(sides: list[Side], clock: Clock) -> None:
    full, idle = sides
    full.reactor.pool.has_free_slot = False
    idle.accept(20), idle.poll()
    for _ in range(10):
        assert full.poll() == 0.002
        assert not full.listens
        clock.now += 1
    full.reactor.pool.has_free_slot = True
    full.poll()
    assert full.listens


def test_of_two_full_workers_the_one_that_gets_on_listens(sides: list[Side], clock: Clock) -> None:
    for side in sides:
        side.reactor.pool.has_free_slot = False
    for side in sides * 2:
        side.poll()
    assert [side.listens for side in sides] == [True, True]
    sides[1].reactor.finished_at_ns = 50_000_000
    for side in sides[::-1]:
        side.poll()
    assert [side.listens for side in sides] == [False, True]


def test_silent_and_draining_workers_are_not_waited_for(sides: list[Side], clock: Clock) -> None:
    healthy, silent = sides
    clock.now += 10
    healthy.refresh()
    healthy.reactor.pool.has_free_slot = False
    healthy.accept(50), healthy.poll()
    assert healthy.listens
    silent.refresh(), healthy.refresh()
    healthy.poll()
    assert not healthy.listens
    silent.reactor.acceptor.is_accepting = False
    silent.reactor.pool.has_free_slot = False
    silent.poll(), healthy.poll()
    assert healthy.listens


def test_idle_connections_divide_evenly_over_real_workers(serve: Start) -> None:
    port = two_workers(serve)
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))

        def opened() -> list[int]:
            return sorted(row["connections"] for row in stats(port)["workers"])

        eventually(lambda: sum(opened()) >= 32, "all are accepted and told of")
        assert opened()[0] >= 10


def test_real_worker_without_a_free_thread_takes_no_connection(serve: Start) -> None:
    port = two_workers(serve)
    slow = threading.Thread(target=get, args=(port, "/?sleep=4"))
    began = time.monotonic()
    slow.start()
    try:
        eventually(lambda: not slow.is_alive() or any(row["busy"] for row in stats(port)["workers"]), "one is busy")
        answering = {get(port)[1] for _ in range(20)}
        if time.monotonic() - began < 4:  # On a machine so slow that the other was free again it proves nothing.
            assert len(answering) == 1
    finally:
        slow.join()


def two_workers(serve: Start) -> int:
    """The port of two workers with a thread each that know of each other."""
    port = serve("--workers", "2", "--threads", "1").wait_until_it_serves()
    eventually(lambda: len(workers(port)) == 2, "both serve")
    # They look for each other once a second, when they publish what they have to tell.
    seen = {row["pid"]: row["seen_s"] for row in stats(port)["workers"]}
    eventually(lambda: all(row["seen_s"] > seen[row["pid"]] + 1 for row in stats(port)["workers"]), "both have looked")
    return port
