"""Many requests for a page and one that makes it: who leads, who waits, and what becomes of them when it goes wrong."""

from __future__ import annotations

import ctypes
import os
import random
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from django_wsgiperf.cache.flight import Flights, Role, Ticket, Why
from django_wsgiperf.cache.hit_for_miss import Marks

from .fakes import FakeClock, Worker, eventually, hasty_interpreter


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def flights() -> Iterator[Flights[str]]:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=20)
    yield flights
    assert flights.numbers().waiting == 0, "somebody is still counted as waiting"


def follow(flights: Flights[str], key: str = "page") -> Worker[Ticket[str]]:
    """A thread that boards and waits, once it does so."""
    before = flights.numbers().waiting

    def work() -> Ticket[str]:
        ticket = flights.board(key)
        ticket.wait()
        return ticket

    worker = Worker(work)
    eventually(lambda: not worker.is_alive() or flights.numbers().waiting > before)
    return worker


def test_followers_get_what_the_leader_landed(flights: Flights[str]) -> None:
    leader = flights.board("page")
    assert leader.role is Role.LEAD
    followers = [follow(flights) for _ in range(5)]
    leader.land("<p>")
    for worker in followers:
        ticket = worker.result()
        assert (ticket.role, ticket.result) == (Role.SERVED, "<p>")
    assert flights.board("page").role is Role.LEAD, "the flight is over"


def test_other_pages_do_not_wait(flights: Flights[str]) -> None:
    flights.board("page")
    assert flights.board("other").role is Role.LEAD


def test_a_follower_that_comes_after_the_landing_is_served_without_waiting(flights: Flights[str]) -> None:
    leader = flights.board("page")
    ticket = Worker(lambda: flights.board("page")).result()
    leader.land("<p>")
    assert ticket.wait() is Role.SERVED
    assert ticket.result == "<p>"


def test_no_more_than_the_bound_wait_for_all_pages_together() -> None:
    flights: Flights[str] = Flights(max_waiters=2, wait_s=20)
    leaders = [flights.board("one"), flights.board("two")]
    waiting = [follow(flights, "one"), follow(flights, "two")]
    crowded = follow(flights, "one").result()
    assert (crowded.role, crowded.why) == (Role.ALONE, Why.CROWDED)
    for leader in leaders:
        leader.land("<p>")
    assert [worker.result().role for worker in waiting] == [Role.SERVED] * 2
    assert flights.numbers().waiting == 0


def test_when_the_leader_fails_one_follower_leads_and_the_rest_wait_for_it(flights: Flights[str]) -> None:
    leader = flights.board("page")
    first = follow(flights)
    rest = [follow(flights) for _ in range(3)]
    with pytest.raises(ZeroDivisionError), leader:
        raise ZeroDivisionError
    heir = first.result()
    assert heir.role is Role.LEAD
    assert all(worker.is_alive() for worker in rest)
    heir.land("<p>")
    assert [worker.result().result for worker in rest] == ["<p>"] * 3


def test_when_two_leaders_fail_nobody_waits_for_the_page_for_a_second(clock: FakeClock) -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=20, clock=clock)
    leader = flights.board("page")
    first, second, third = follow(flights), follow(flights), follow(flights)
    leader.fail()
    first.result().fail()
    assert [worker.result().why for worker in (second, third)] == [Why.FAILING] * 2
    assert flights.board("page").why is Why.UNSHARED
    clock.advance(1.01)
    assert flights.board("page").role is Role.LEAD


def test_who_boarded_before_a_failure_and_waits_after_it_leads(flights: Flights[str]) -> None:
    leader = flights.board("page")
    early = [Worker(lambda: flights.board("page")).result() for _ in range(2)]
    leader.fail()
    assert early[0].wait() is Role.LEAD
    waiting = Worker(early[1].wait)
    eventually(lambda: flights.numbers().waiting == 1)
    early[0].fail()
    assert waiting.result() is Role.ALONE


def elsewhere(flights: Flights[str]) -> Ticket[str]:
    """A request of another thread, which is not at an end for all this test knows."""
    ticket = Worker(lambda: flights.board("page")).result()
    ticket.thread = None
    return ticket


def test_when_the_leader_is_late_one_follower_tries_the_page_too_and_the_others_wait_on() -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=0.05)
    leader = flights.board("page")
    workers = [follow(flights) for _ in range(5)]
    eventually(lambda: sum(not worker.is_alive() for worker in workers) == 1)
    leader.land("<p>")
    roles = sorted(worker.result().role.value for worker in workers)
    assert roles.count("served") >= 3, "no more than two have tried it by now"
    assert roles.count("alone") == 0


@pytest.mark.parametrize("first", [0, 1])
def test_whoever_lands_first_serves_all_who_wait_for_either(clock: FakeClock, first: int) -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=5, clock=clock)
    leaders = [flights.board("page")]
    waiting = [follow(flights)]
    clock.advance(5)
    leaders.append(elsewhere(flights))
    assert [leader.role for leader in leaders] == [Role.LEAD] * 2
    waiting.append(follow(flights))
    leaders[first].land(f"by {first}")
    assert [worker.result().result for worker in waiting] == [f"by {first}"] * 2
    third = elsewhere(flights)
    assert third.role is Role.LEAD, "that flight is over"
    leaders[1 - first].land("late")
    assert third.is_leading
    assert follow(flights).is_alive(), "which is nothing to those who wait for the next"
    third.land("<p>")


def test_while_a_second_tries_the_failure_of_the_first_sends_nobody_off(clock: FakeClock) -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=5, clock=clock)
    first = flights.board("page")
    waiting = follow(flights)
    clock.advance(5)
    second = elsewhere(flights)
    first.fail()
    assert waiting.is_alive()
    second.land("<p>")
    assert waiting.result().result == "<p>"


def test_a_leader_that_waits_for_something_itself_is_not_late(clock: FakeClock) -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=5, clock=clock)
    leader = flights.board("page")
    clock.advance(4)
    leader.goes_on()
    clock.advance(4)
    assert elsewhere(flights).role is Role.FOLLOW


@pytest.mark.parametrize(("times", "attempts"), [(0.9, 1), (1, 2), (2.9, 2), (3, 3), (12, 4), (30, 5), (100, 7)])
def test_a_page_that_takes_long_is_tried_a_few_times_however_many_want_it(
    clock: FakeClock, times: float, attempts: int
) -> None:
    flights: Flights[str] = Flights(max_waiters=0, max_parked=5_000, wait_s=5, clock=clock)
    leader = flights.board("page")
    served: list[Ticket[str]] = []
    crowd = [elsewhere(flights) for _ in range(200)]
    assert all(ticket.call_when_over(served.append) for ticket in crowd)
    until_s = clock() + times * 5
    while True:
        # Each looks when it is to; those who come in between follow or lead as well.
        for ticket in crowd:
            if ticket.is_following and not ticket.waits_s:
                ticket.is_late()
        if clock() >= until_s:
            break
        crowd.append(elsewhere(flights))
        assert not crowd[-1].is_following or crowd[-1].call_when_over(served.append)
        clock.advance(min(0.5, until_s - clock()))
    leading = [ticket for ticket in [leader, *crowd] if ticket.is_leading]
    assert len(leading) == attempts
    leading[-1].land("<p>")
    assert {ticket.result for ticket in served} == {"<p>"}
    assert len(served) + len(leading) == len(crowd) + 1, "nobody went alone"


def test_who_has_waited_long_in_the_pool_waits_on_beside_it() -> None:
    spare = threading.Event()
    flights: Flights[str] = Flights(max_waiters=8, wait_s=0.05, step_aside=spare.is_set)
    leader = flights.board("page")
    workers = [follow(flights) for _ in range(4)]
    spare.set()
    eventually(lambda: flights.room._waiting[False] == set())
    leader.land("<p>")
    served = [ticket for ticket in (worker.result() for worker in workers) if ticket.role is Role.SERVED]
    assert served
    assert all(ticket.is_aside for ticket in served)
    assert flights.numbers().waiting == 0


# -- beside the pool


def crowd(flights: Flights[str], make: Callable[[], object] = lambda: None) -> list[Worker[Ticket[str]]]:
    """Threads that wait, one after the other, and make a page of their own where they have to."""

    def work() -> Ticket[str]:
        with flights.board("page") as ticket:
            if ticket.wait() is Role.ALONE:
                make()
            return ticket

    workers = []
    for number in range(4):
        workers.append(Worker(work))
        eventually(lambda number=number: flights.numbers().waiting > number)  # type: ignore[misc]
    return workers


def test_those_beyond_the_bound_wait_beside_the_pool() -> None:
    asked: list[int] = []
    flights: Flights[str] = Flights(max_waiters=1, wait_s=20, step_aside=lambda: not asked.append(1))  # type: ignore[func-returns-value]
    leader = flights.board("page")
    workers = crowd(flights)
    assert len(asked) == 3, "one waits in the pool"
    leader.land("<p>")
    tickets = [worker.result() for worker in workers]
    assert [(ticket.role, ticket.is_aside) for ticket in tickets] == [(Role.SERVED, number > 0) for number in range(4)]


def test_where_there_is_no_room_beside_the_pool_they_wait_briefly() -> None:
    flights: Flights[str] = Flights(max_waiters=1, wait_s=20, brief_s=0.01, step_aside=lambda: False)
    leader = flights.board("page")
    waiting = follow(flights)
    late = follow(flights).result()
    assert (late.role, late.why, late.is_aside) == (Role.ALONE, Why.LATE, False)
    leader.land("<p>")
    assert waiting.result().role is Role.SERVED


def test_who_waited_beside_the_pool_makes_the_page_when_its_turn_comes() -> None:
    flights: Flights[str] = Flights(max_waiters=1, wait_s=20, step_aside=lambda: True)
    leader = flights.board("page")
    inside, peaks, go = [], [], threading.Event()

    def make() -> None:
        inside.append(1)
        peaks.append(len(inside))
        assert go.wait(60)
        inside.pop()

    workers = crowd(flights, make)
    leader.release(0)
    # The one of the pool, and one of the three beside it.
    eventually(lambda: len(inside) == 2)
    assert not flights.room.turns.acquire(blocking=False)
    go.set()
    assert [worker.result().why for worker in workers] == [Why.UNSHARED] * 4
    assert (len(peaks), max(peaks)) == (4, 2)
    assert flights.room.turns.acquire(blocking=False), "all have given their turn back"


def test_a_turn_that_never_comes_is_not_waited_for_without_end() -> None:
    flights: Flights[str] = Flights(max_waiters=1, wait_s=0.05)
    first = flights.room.turn(0.05)
    assert first is not None
    assert flights.room.turn(0.05) is None
    first.release()
    assert flights.room.turn(0.05) is first


def test_pages_that_cannot_be_shared_make_nobody_wait(clock: FakeClock) -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=20, clock=clock)
    leader = flights.board("page")
    waiting = [follow(flights) for _ in range(3)]
    leader.release(10)
    assert [worker.result().why for worker in waiting] == [Why.UNSHARED] * 3
    clock.advance(9.9)
    assert flights.board("page").why is Why.UNSHARED
    clock.advance(0.2)
    again = flights.board("page")
    assert again.role is Role.LEAD
    again.land("<p>")


def test_a_page_that_can_be_shared_after_all_takes_its_mark_away(flights: Flights[str]) -> None:
    leader = flights.board("page")
    flights.hit_for_miss.mark("page", 100)
    leader.land("<p>")
    assert flights.board("page").role is Role.LEAD


def test_a_page_that_asks_for_itself_does_not_wait_for_itself(flights: Flights[str]) -> None:
    with flights.board("page") as leader:
        nested = flights.board("page")
        assert (nested.role, nested.why) == (Role.ALONE, Why.NESTED)
        leader.land("<p>")


def test_who_was_made_leader_does_not_wait_for_itself_either(flights: Flights[str]) -> None:
    leader = flights.board("page")

    def work() -> Why | None:
        ticket = flights.board("page")
        assert ticket.wait() is Role.LEAD
        with ticket:
            return flights.board("page").why

    worker = Worker(work)
    eventually(lambda: flights.numbers().waiting == 1)
    leader.fail()
    assert worker.result() is Why.NESTED


def test_a_request_without_a_thread_is_called_back(flights: Flights[str]) -> None:
    leader = flights.board("page")
    heard: list[Ticket[str]] = []
    ticket = Worker(lambda: flights.board("page")).result()
    assert ticket.call_when_over(heard.append)
    assert not heard
    leader.land("<p>")
    assert heard == [ticket]
    assert ticket.result == "<p>"
    assert not ticket.leave()


def test_beyond_the_bound_one_waits_briefly() -> None:
    flights: Flights[str] = Flights(max_waiters=0, wait_s=60, brief_s=60)
    leader = flights.board("page")
    waiting = follow(flights)
    leader.land("<p>")
    assert waiting.result().role is Role.SERVED
    flights = Flights(max_waiters=0, wait_s=60, brief_s=0.01)
    leader = flights.board("page")
    late = follow(flights).result()
    assert (late.role, late.why) == (Role.ALONE, Why.LATE)
    leader.land("<p>")


def test_a_request_without_a_thread_can_leave_and_is_not_called() -> None:
    flights: Flights[str] = Flights(max_waiters=0, max_parked=1, wait_s=20)
    leader = flights.board("page")
    heard: list[Ticket[str]] = []
    first, second = [Worker(lambda: flights.board("page")).result() for _ in range(2)]
    assert first.call_when_over(heard.append)
    assert not second.call_when_over(heard.append), "there is room for one"
    assert second.why is Why.CROWDED
    assert first.leave()
    leader.land("<p>")
    assert not heard


def test_a_callback_that_fails_harms_nobody_and_leads_nobody_astray(
    flights: Flights[str], caplog: pytest.LogCaptureFixture
) -> None:
    leader = flights.board("page")
    parked = Worker(lambda: flights.board("page")).result()

    def broken(_: Ticket[str]) -> None:
        raise ZeroDivisionError

    assert parked.call_when_over(broken)
    waiting = follow(flights)
    leader.fail()
    assert waiting.result().why is Why.FAILING
    assert "could not be called back" in caplog.text


class Stopped(BaseException):
    """Comes from outside."""


def test_an_interrupted_follower_leaves_no_gap(flights: Flights[str]) -> None:
    leader = flights.board("page")

    def work() -> None:
        with pytest.raises(Stopped):
            flights.board("page").wait()

    worker = Worker(work)
    eventually(lambda: flights.numbers().waiting == 1)
    assert worker.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(Stopped))
    # It comes to pass when the thread wakes; then it has been made leader, and passes that on.
    second = follow(flights)
    leader.fail()
    worker.result()
    assert second.result().why is Why.FAILING


def test_leaving_a_ticket_unused_is_leaving_the_line(flights: Flights[str]) -> None:
    leader = flights.board("page")

    def work() -> Ticket[str]:
        with flights.board("page") as ticket:
            return ticket

    assert Worker(work).result().role is Role.ALONE
    with leader:
        pass
    assert flights.board("page").role is Role.LEAD


def test_leaders_lost_without_a_word_are_forgotten(clock: FakeClock) -> None:
    flights: Flights[str] = Flights(max_waiters=8, wait_s=5, clock=clock)
    for number in range(5_000):
        flights.board(str(number))
    clock.advance(5)
    flights.board("page")
    assert len(flights.firsts) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_waits_for_no_leader_of_its_parent(flights: Flights[str]) -> None:
    leader = flights.board("page")
    waiting = follow(flights)
    with flights._lock:
        child = os.fork()
        if child == 0:
            role = flights.board("page").role
            os._exit(0 if role is Role.LEAD and flights.numbers().waiting == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    leader.land("<p>")
    assert waiting.result().role is Role.SERVED


@pytest.mark.parametrize("fail_share", [0.0, 0.3])
def test_in_haste_one_leads_at_a_time_and_nobody_is_forgotten(fail_share: float) -> None:
    flights: Flights[int] = Flights(max_waiters=6, wait_s=60)
    start = threading.Barrier(8)
    leading = {key: threading.Lock() for key in "ab"}
    made: list[int] = []

    def work(seed: int) -> int:
        chance = random.Random(seed)
        start.wait(20)
        for number in range(200):
            key = chance.choice("ab")
            with flights.board(key) as ticket:
                if ticket.wait() is Role.LEAD:
                    assert leading[key].acquire(blocking=False), "two lead at once"
                    made.append(number)
                    leading[key].release()
                    if chance.random() >= fail_share:
                        ticket.land(seed)
                elif ticket.role is Role.SERVED:
                    assert ticket.result is not None
                else:
                    assert ticket.role is Role.ALONE
        return 200

    with hasty_interpreter():
        workers = [Worker(lambda seed=seed: work(seed)) for seed in range(8)]  # type: ignore[misc]
        boarded = sum(worker.result(60) for worker in workers)
    numbers = flights.numbers()
    assert numbers.waiting == 0
    assert not flights.firsts
    assert len(made) == numbers.led + numbers.promoted
    assert boarded == numbers.led + numbers.promoted + numbers.served + numbers.alone


class FlightMachine(RuleBasedStateMachine):
    """Any sequence of boarding, parking, leaving, landing and failing, with requests that need no thread."""

    @initialize(room=st.integers(0, 4))
    def begin(self, room: int) -> None:
        self.clock = FakeClock()
        self.room = room
        self.flights: Flights[int] = Flights(max_waiters=0, max_parked=room, wait_s=5, clock=self.clock)
        self.leaders: list[Ticket[int]] = []
        self.parked: list[Ticket[int]] = []
        self.count = 0

    def _hear(self, ticket: Ticket[int]) -> None:
        assert ticket in self.parked, "called twice, or after it had left"
        self.parked.remove(ticket)
        if ticket.role is Role.LEAD:
            self.leaders.append(ticket)
        elif ticket.role is Role.SERVED:
            assert ticket.result is not None
        else:
            assert ticket.role is Role.ALONE

    @rule(key=st.sampled_from("ab"))
    def board(self, key: str) -> None:
        ticket = self.flights.board(key)
        if ticket.role is Role.LEAD:
            # All this is one thread's doing, which would not follow itself.
            ticket.thread = None
            self.leaders.append(ticket)
            return
        if ticket.role is Role.FOLLOW:
            self.parked.append(ticket)
            if not ticket.call_when_over(self._hear):
                self.parked.remove(ticket)
                assert ticket.why is Why.CROWDED
                assert len(self.parked) == self.room

    @precondition(lambda self: self.leaders)
    @rule(data=st.data(), end=st.sampled_from(["land", "fail", "release"]))
    def end(self, data: st.DataObject, end: str) -> None:
        leader = data.draw(st.sampled_from(self.leaders))
        self.leaders.remove(leader)
        self.count += 1
        {"land": lambda: leader.land(self.count), "fail": leader.fail, "release": lambda: leader.release(2)}[end]()
        # The second time it says nothing new.
        leader.fail()

    @precondition(lambda self: self.parked)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.parked))
        self.parked.remove(ticket)
        assert ticket.leave()

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def everybody_has_a_leader(self) -> None:
        if not hasattr(self, "flights"):
            return
        assert self.flights.numbers().waiting == len(self.parked) <= self.room
        led = {id(leader.flight) for leader in self.leaders}
        assert all(id(ticket.flight) in led for ticket in self.parked)


FlightMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestFlightMachine = FlightMachine.TestCase


def test_marks_are_bounded_and_the_oldest_goes(clock: FakeClock) -> None:
    marks = Marks(3, clock=clock)
    for key in "abc":
        marks.mark(key, 10)
    marks.mark("a", 10)
    marks.mark("d", 10)
    assert [key for key in "abcd" if marks.is_marked(key)] == ["a", "c", "d"]
    clock.advance(10)
    assert not any(marks.is_marked(key) for key in "abcd")
    assert len(marks) == 0
