"""Numbers are put together off the reactor: fresh ones are given again, late ones replaced by what is at hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from django_wsgiperf.server import numbers as numbers_module
from django_wsgiperf.server.numbers import STATISTICS, Answer, Numbers
from django_wsgiperf.server.scoreboard import Scoreboard

from .conftest import eventually

TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Made:
    """Numbers that are gathered when the test opens the gate, and how often they were."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.gathered = 0
        self.fails = False
        self.done = threading.Semaphore(0)
        self.numbers = Numbers(Scoreboard(), gather=self.gather)
        self.numbers.on_done = self.done.release

    def gather(self, timeout_s: float) -> Any:
        assert self.gate.wait(20)
        self.gathered += 1
        if self.fails:
            raise RuntimeError("no")
        return None

    def wait(self) -> None:
        assert self.done.acquire(timeout=20)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(numbers_module, "time", made)
    return made


@pytest.fixture
def made(clock: Clock) -> Iterator[Made]:
    one = Made()
    yield one
    one.gate.set()
    one.numbers.stop()


def test_first_question_waits_and_is_answered(made: Made, clock: Clock) -> None:
    assert made.numbers.answer(STATISTICS, clock.now) is None
    made.wait()
    answer = made.numbers.answer(STATISTICS, clock.now)
    assert answer is not None
    assert (answer.content_type, answer.body) == ("application/json", b"{}")


def test_answer_is_given_again_for_a_second_and_then_made_anew(made: Made, clock: Clock) -> None:
    assert made.numbers.answer(TEXT, clock.now) is None
    made.wait()
    clock.now += 0.9
    assert made.numbers.answer(TEXT, clock.now) is not None
    assert made.gathered == 1
    clock.now += 0.2
    assert made.numbers.answer(TEXT, clock.now) is None
    made.wait()
    assert made.numbers.answer(TEXT, clock.now) is not None
    assert made.gathered == 2


def test_who_waits_long_gets_older_ones_or_is_told_that_there_are_none(made: Made, clock: Clock) -> None:
    made.gate.clear()
    assert made.numbers.answer(TEXT, clock.now) is None
    asked_at = clock.now
    clock.now += numbers_module.PATIENCE_S
    with pytest.raises(TimeoutError):
        made.numbers.answer(TEXT, asked_at)
    assert b"wsgiperf_server_requests" in made.numbers.servers_own(TEXT).body
    made.gate.set()
    made.wait()
    made.gate.clear()
    clock.now += numbers_module.FRESH_S + 0.5
    asked_at = clock.now
    assert made.numbers.answer(TEXT, asked_at) is None
    clock.now += numbers_module.PATIENCE_S
    assert isinstance(made.numbers.answer(TEXT, asked_at), Answer), "of a few seconds ago"


def test_nobody_gets_numbers_that_another_worker_may_have_told_more_than(made: Made, clock: Clock) -> None:
    assert made.numbers.answer(TEXT, clock.now) is None
    made.wait()
    made.gate.clear()
    clock.now += 60
    asked_at = clock.now
    assert made.numbers.answer(TEXT, asked_at) is None
    clock.now += numbers_module.PATIENCE_S
    with pytest.raises(TimeoutError):
        made.numbers.answer(TEXT, asked_at)


def test_many_that_ask_at_once_have_it_done_once(made: Made, clock: Clock) -> None:
    made.gate.clear()
    for _ in range(50):
        assert made.numbers.answer(TEXT, clock.now) is None
        assert made.numbers.answer(STATISTICS, clock.now) is None
    made.gate.set()
    eventually(lambda: made.numbers.answer(STATISTICS, clock.now) is not None, "both are there")
    eventually(lambda: made.numbers.answer(TEXT, clock.now) is not None, "both are there")
    assert made.gathered <= 2


def test_when_the_project_cannot_tell_the_server_still_does(
    made: Made, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    made.fails = True
    assert made.numbers.answer(TEXT, clock.now) is None
    made.wait()
    answer = made.numbers.answer(TEXT, clock.now)
    assert answer is not None
    assert b"wsgiperf_server_requests" in answer.body
    assert "could not be gathered" in caplog.text


def test_formats_that_are_remembered_are_few(made: Made, clock: Clock) -> None:
    for n in range(40):
        kind = f"text/plain; version={n}"
        assert made.numbers.answer(kind, clock.now) is None
        made.wait()
        assert made.numbers.answer(kind, clock.now) is not None
    assert len(made.numbers._answers) <= 16


def test_what_was_counted_is_written_down_without_making_anybody_wait(
    made: Made, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, written = threading.Event(), threading.Semaphore(0)

    def write_down() -> None:
        assert gate.wait(20)
        written.release()
        raise RuntimeError("a ledger that fails harms nobody")

    monkeypatch.setattr(numbers_module.process, "write_down_counts", write_down)
    made.numbers.write_down()
    made.numbers.write_down()
    assert not written.acquire(blocking=False), "it is under way"
    gate.set()
    assert written.acquire(timeout=20)
    assert made.numbers.answer(TEXT, clock.now) is None
    made.wait()
    assert made.numbers.answer(TEXT, clock.now) is not None
    assert made.gathered == 1, "nothing is gathered for a writing"


def test_after_its_end_nothing_is_begun(made: Made, clock: Clock) -> None:
    made.numbers.stop()
    with pytest.raises(TimeoutError):
        made.numbers.answer(TEXT, clock.now)
    assert made.gathered == 0
