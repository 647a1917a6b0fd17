"""Who comes in the very moment in which a leader ends: in each step of either, and with either interrupted there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from django_wsgiperf.cache import firsts, flight, ticket
from django_wsgiperf.cache.firsts import Firsts
from django_wsgiperf.cache.flight import Flights, Role, Ticket
from django_wsgiperf.cache.ticket import Over
from tests.db import interrupts

from .fakes import FakeClock, Worker, eventually


def in_each_step(
    function: Callable[..., Any], prepare: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]
) -> Iterator[int]:
    """Once for each instruction of the function: prepare() gives what calls it, and what is done in between."""
    number = 1
    while True:
        work, meanwhile = prepare()
        seen = 0

        def enter(frame: FrameType, event: str, argument: Any) -> Any:
            if frame.f_code is not function.__code__:  # type: ignore[attr-defined]
                return None
            # Python 3.13 reports opcodes of a frame only if it has a function of its own when they are asked for.
            frame.f_trace = step
            frame.f_trace_opcodes = True
            return step

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal seen
            if event == "opcode":
                seen += 1
                if seen == number:  # noqa: B023
                    sys.settrace(None)
                    meanwhile()  # noqa: B023
            return step

        before = sys.gettrace()
        # Python 3.12 reports opcodes only if some frame wanted them when the function was set.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(enter)
        try:
            work()
        finally:
            sys.settrace(before)
        if seen < number:
            return
        yield number
        number += 1


def followed(flights: Flights[str], second: Ticket[str]) -> Role:
    """What became of who came second, after the first has landed; it lands itself where it leads."""
    if second.role is Role.LEAD:
        second.land("<p>")
        return Role.LEAD
    assert second.flight is not None
    assert second.flight.over is not None, "it would wait for nobody"
    assert second.wait() is Role.SERVED
    return Role.SERVED


def test_who_joins_in_any_step_of_the_leaders_end_is_served_or_leads() -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=20)
    joined: list[Ticket[str]] = []

    def prepare() -> tuple[Callable[[], Any], Callable[[], Any]]:
        leader = flights.board("page")
        return lambda: leader.land("<p>"), lambda: joined.append(Worker(lambda: flights.board("page")).result())

    roles = set()
    for _ in in_each_step(Firsts.ends, prepare):
        roles.add(followed(flights, joined.pop()))
        assert len(flights.firsts) == 0
    assert roles == {Role.SERVED, Role.LEAD}
    flights.firsts.after_fork_in_child()


def test_who_is_joining_when_the_leader_ends_is_served_or_leads() -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=20)
    joined: list[Ticket[str]] = []
    enders: list[Worker[None]] = []

    def prepare() -> tuple[Callable[[], Any], Callable[[], Any]]:
        looked: list[bool] = []
        leader = Worker(lambda: flights.board("page")).result()

        def land() -> None:
            looked.append(flights.firsts.ends(leader))
            if not looked[0]:
                # Where it has to wait for who is joining.
                flights.end(leader, Over("<p>", None))

        def meanwhile() -> None:
            enders.append(Worker(land))
            eventually(lambda: looked)

        return lambda: joined.append(flights.board("page")), meanwhile

    roles = set()
    for _ in in_each_step(Firsts.joined, prepare):
        enders.pop().result()
        roles.add(followed(flights, joined.pop()))
        assert len(flights.firsts) == 0
    assert roles == {Role.SERVED, Role.LEAD}
    flights.firsts.after_fork_in_child()


def test_a_page_that_nobody_else_wants_takes_no_lock() -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=20)
    for end in (lambda leader: leader.land("<p>"), lambda leader: leader.release(0)):
        with flights._lock:
            Worker(lambda end=end: end(flights.board("page"))).result(20)  # type: ignore[misc]
    assert flights.numbers().led == 2
    assert len(flights.firsts) == 0


# -- interruptions


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt in what makes a flight."""
    monkeypatch.setattr(interrupts, "CODE", tuple(module.__file__ for module in (firsts, flight, ticket)))


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("end", ["land", "release", "fail"])
def test_a_leader_interrupted_anywhere_keeps_nobody_waiting(end: str) -> None:
    clock = FakeClock()
    flights: Flights[str] = Flights(max_waiters=8, wait_s=5, clock=clock)

    def lead() -> None:
        leader = flights.board("page")
        try:
            {"land": lambda: leader.land("<p>"), "release": lambda: leader.release(0), "fail": leader.fail}[end]()
        finally:
            leader.close()

    for where in interrupts.everywhere(lambda: lead, exact=True):
        assert not flights._lock.locked(), where
        assert len(flights.firsts) == 0, where
        clock.advance(2)
    assert flights.board("page").role is Role.LEAD


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("end", ["land", "release", "fail"])
def test_those_who_wait_for_a_leader_that_is_interrupted_anywhere_come_to_an_end(end: str) -> None:
    clock = FakeClock()
    flights: Flights[str] = Flights(max_waiters=8, wait_s=0.2, clock=clock)
    workers: list[Worker[Role]] = []

    def follow() -> Role:
        with flights.board("page") as follower:
            role = follower.wait()
            if role is Role.LEAD:
                follower.land("<p>")
            return role

    def prepare() -> Callable[[], Any]:
        # Whom nobody has woken looks himself.
        clock.advance(10)
        while workers:
            assert workers.pop().result() is not Role.FOLLOW
        assert len(flights.firsts) == 0
        assert flights.numbers().waiting == 0
        flights.hit_for_miss.unmark("page")
        leader = flights.board("page")
        for number in range(2):
            workers.append(Worker(follow))
            eventually(lambda number=number: flights.numbers().waiting > number)  # type: ignore[misc]

        def lead() -> None:
            try:
                {"land": lambda: leader.land("<p>"), "release": lambda: leader.release(0), "fail": leader.fail}[end]()
            finally:
                leader.close()

        return lead

    places = [where for where in interrupts.everywhere(prepare) if not flights._lock.locked()]
    assert any("flight.py" in where for where in places)
    clock.advance(10)
    while workers:
        assert workers.pop().result() is not Role.FOLLOW
    assert flights.numbers().waiting == 0


@pytest.mark.usefixtures("code")
def test_who_is_interrupted_while_it_joins_leaves_the_leader_and_the_next_alone() -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=20)
    leaders: list[Ticket[str]] = []

    def prepare() -> Callable[[], Any]:
        if leaders:
            leaders.pop().land("<p>")
        assert len(flights.firsts) == 0
        leaders.append(Worker(lambda: flights.board("page")).result())

        def join() -> None:
            follower = flights.board("page")
            try:
                assert follower.role is Role.FOLLOW
            finally:
                follower.close()

        return join

    for where in interrupts.everywhere(prepare):
        assert not flights._lock.locked(), where
        assert flights.numbers().waiting == 0, where
        assert leaders[0].is_leading, where
    leaders.pop().land("<p>")
    assert len(flights.firsts) == 0


@pytest.mark.usefixtures("code")
def test_who_was_not_woken_finds_what_was_landed_when_its_patience_ends() -> None:
    clock = FakeClock()
    flights: Flights[str] = Flights(max_waiters=8, wait_s=5, clock=clock)
    waiting: list[Ticket[str]] = []

    def prepare() -> Callable[[], Any]:
        leader = flights.board("page")
        waiting[:] = [Worker(lambda: flights.board("page", parks=True)).result()]
        assert waiting[0].call_when_over(lambda ticket: None)

        def land() -> None:
            try:
                leader.land("<p>")
            finally:
                leader.close()

        return land

    results = set()
    for where in interrupts.everywhere(prepare):
        follower = waiting[0]
        assert follower.flight is not None
        over = follower.flight.over
        clock.advance(50)
        assert follower.is_late(), where
        assert over is None or over.why is not None or follower.result == "<p>", where
        results.add(follower.result)
        follower.close()
        clock.advance(2)
        assert len(flights.firsts) == flights.numbers().waiting == 0, where
    assert results == {"<p>", None}


# -- leaders that are lost


def test_a_leader_that_is_lost_is_followed_once_and_then_replaced() -> None:
    clock = FakeClock()
    flights: Flights[str] = Flights(max_waiters=8, wait_s=5, clock=clock)
    # Their threads are at an end, and others may have their numbers.
    Worker(lambda: flights.board("page", parks=True)).result()
    assert Worker(lambda: flights.board("page", parks=True)).result().role is Role.FOLLOW
    clock.advance(5)
    heir = flights.board("page")
    assert heir.role is Role.LEAD
    heir.land("<p>")
    assert len(flights.firsts) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_leader_that_forks_lands_on_both_sides_for_those_who_are_there() -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=20)
    leader = flights.board("page")

    def follow() -> Role:
        return flights.board("page").wait()

    worker = Worker(follow)
    eventually(lambda: flights.numbers().waiting == 1)
    alone = flights.board("other")
    child = os.fork()
    if child == 0:
        next_one = flights.board("page")
        alone.land("<p>")
        leader.land("<p>")
        fine = next_one.is_leading and len(flights.firsts) == 1 and flights.numbers().waiting == 0
        fine = fine and flights.numbers().served == 0
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    leader.land("<p>")
    assert worker.result() is Role.SERVED
    alone.land("<p>")
    assert len(flights.firsts) == 0
