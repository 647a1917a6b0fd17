"""Stacks of requests that run for long: taken while they run, of the right thread or task, bounded, and no values."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpResponse

from django_wsgiperf.metrics import pipeline, sampling
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.sampling import MAX_DEPTH, MAX_STACKS, Sampler, stack_of

from . import site
from .conftest import Measured, measuring
from .site import hooks

S = 1_000_000_000
DEADLINE_S = 60.0


@pytest.fixture
def sampler() -> Sampler:
    """One whose look() the test calls itself, with a threshold of a second."""
    made = Sampler()
    made.threshold_ns = S
    return made


@pytest.fixture
def running() -> Iterator[Callable[..., Record]]:
    """Makes records of requests that run."""
    made: list[Record] = []

    def begin(**attributes: Any) -> Record:
        record = Record("GET")
        record.began_ns = 0
        for name, value in attributes.items():
            setattr(record, name, value)
        pipeline.begin(record)
        made.append(record)
        return record

    yield begin
    for record in made:
        pipeline.forget(record)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestLooking:
    def test_nothing_is_taken_before_the_threshold(self, sampler: Sampler, running: Callable[..., Record]) -> None:
        record = running()
        assert sampler.look(S // 4) == 0.75
        assert not record.stacks

    def test_then_at_twice_the_time_each(self, sampler: Sampler, running: Callable[..., Record]) -> None:
        record = running()
        counts = []
        for tenths in range(0, 90, 5):
            sampler.look(tenths * S // 10)
            counts.append(len(record.stacks))
        assert counts == [0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4]

    def test_it_sleeps_until_something_can_be_due(self, sampler: Sampler, running: Callable[..., Record]) -> None:
        assert sampler.look(0) == 1.0
        running(began_ns=-S // 2)
        assert sampler.look(0) == 0.5
        running(began_ns=-S)
        assert sampler.look(0) == 0.5
        assert sampler.look(S // 2) == 0.5

    def test_the_stack_is_that_of_the_thread(self, sampler: Sampler, running: Callable[..., Record]) -> None:
        record = running()
        sampler.look(2 * S)
        (stack,) = record.stacks
        lines = stack.splitlines()
        assert any(line.endswith(" in TestLooking.test_the_stack_is_that_of_the_thread") for line in lines)
        assert lines[-1].endswith(" in Sampler.look")
        assert all(":" in line for line in lines)

    def test_a_stream_whose_head_is_out_is_not_slow(self, sampler: Sampler, running: Callable[..., Record]) -> None:
        record = running(ttfb_ns=5)
        assert sampler.look(100 * S) == 1.0
        assert not record.stacks

    def test_there_are_so_many_at_most(self, sampler: Sampler, running: Callable[..., Record]) -> None:
        record = running()
        for power in range(30):
            sampler.look(S << power)
        assert len(record.stacks) == MAX_STACKS

    def test_depth_is_bounded_and_the_innermost_is_kept(self, sampler: Sampler, running: Callable[..., Record]) -> None:
        record = running()

        def deeper(levels: int) -> None:
            if levels:
                deeper(levels - 1)
            else:
                sampler.look(2 * S)

        deeper(200)
        lines = record.stacks[0].splitlines()
        assert len(lines) == MAX_DEPTH
        assert lines[-2].endswith("deeper")

    def test_a_thread_that_is_gone_has_none(self, running: Callable[..., Record]) -> None:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        assert stack_of(running(thread_id=thread.ident)) == ()
        assert stack_of(running(thread_id=0)) == ()


class TestRequests:
    def wait_for_stack(self) -> None:
        """As a view: runs until its stack has been taken."""
        (record,) = pipeline.running
        until(lambda: self.is_taken(record, "TestRequests.wait_for_stack"))

    def is_taken(self, record: Record, words: str) -> bool:
        """Whether a stack has these words; one of before it came so far, which may take a while, is forgotten."""
        if record.stacks and words not in record.stacks[-1]:
            record.stacks = ()
        return bool(record.stacks)

    def test_a_slow_view_is_found_where_it_is(self, db: None) -> None:
        secret = "no value of a variable"
        hooks["view"] = self.wait_for_stack
        with measuring(metrics={"STACK_THRESHOLD_MS": 20}) as measured:
            record = measured.record("/hooked/")
        assert "tests/metrics/requests/test_sampling.py" in record.stacks[0]
        assert "TestRequests.wait_for_stack" in record.stacks[0]
        assert secret not in record.stacks[0]

    def test_a_synchronous_view_under_asgi(self, db: None) -> None:
        hooks["view"] = self.wait_for_stack
        with measuring(metrics={"STACK_THRESHOLD_MS": 20}) as measured:
            asyncio.run(measured.ask_async("/hooked/"))
        assert "TestRequests.wait_for_stack" in measured.records[0].stacks[0]

    @pytest.mark.parametrize("server", ["wsgi", "asgi"])
    def test_an_asynchronous_view_is_found_by_what_it_awaits(self, db: None, server: str) -> None:
        async def wait() -> None:
            (record,) = pipeline.running
            deadline = time.monotonic() + DEADLINE_S
            while not self.is_taken(record, " in sleep") and time.monotonic() < deadline:
                await asyncio.sleep(0.005)

        async def view(request: Any) -> Any:
            await wait()
            return HttpResponse("waited")

        site.urlpatterns.append(site.path("waits/", view))
        try:
            with measuring(metrics={"STACK_THRESHOLD_MS": 20}, ROOT_URLCONF=tuple(site.urlpatterns)) as measured:
                if server == "wsgi":
                    measured.ask("/waits/")
                else:
                    asyncio.run(measured.ask_async("/waits/"))
        finally:
            site.urlpatterns.pop()
        lines = measured.records[0].stacks[0].splitlines()
        assert any("<locals>.wait" in line for line in lines)
        assert "sleep" in lines[-1]

    def test_none_are_taken_where_that_is_turned_off(self, measured: Measured) -> None:
        measured.ask("/plain/")
        assert not sampling.sampler.threshold_ns


class TestThread:
    def test_one_is_started_and_it_ends_when_nothing_happens(
        self, monkeypatch: pytest.MonkeyPatch, running: Callable[..., Record]
    ) -> None:
        monkeypatch.setattr(sampling, "_QUIET_TURNS", 3)
        sampler = Sampler()
        sampler.threshold_ns = 5_000_000
        before = self.threads()
        record = running(ttfb_ns=1)  # It does not end meanwhile.
        for _ in range(5):
            sampler.start()
        assert sampler.alive
        (own,) = self.threads() - before
        pipeline.forget(record)
        until(lambda: not sampler.alive)
        until(lambda: not own.is_alive())
        running(ttfb_ns=1)
        sampler.start()
        assert sampler.alive
        sampler.threshold_ns = 0
        until(lambda: not sampler.alive)

    def test_it_stays_while_something_runs(
        self, monkeypatch: pytest.MonkeyPatch, running: Callable[..., Record]
    ) -> None:
        monkeypatch.setattr(sampling, "_QUIET_TURNS", 1)
        looks = threading.Semaphore(0)
        record = running(ttfb_ns=1)
        sampler = Sampler()
        sampler.threshold_ns = 1_000_000
        look = sampler.look

        def counted(now_ns: int) -> float:
            looks.release()
            return look(now_ns)

        monkeypatch.setattr(sampler, "look", counted)
        sampler.start()
        for _ in range(10):
            assert looks.acquire(timeout=DEADLINE_S)
        assert sampler.alive
        pipeline.forget(record)
        until(lambda: not sampler.alive)

    def test_a_failure_does_not_end_it(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, running: Callable[..., Record]
    ) -> None:
        record = running()
        sampler = Sampler()
        sampler.threshold_ns = 1_000_000
        monkeypatch.setattr(sampler, "look", lambda now_ns: 1 / 0)
        monkeypatch.setattr(sampling, "_AFTER_FAILURE_S", 0.001)
        sampler.start()
        until(lambda: "could not be taken" in caplog.text)
        monkeypatch.undo()
        until(lambda: record.stacks)
        sampler.threshold_ns = 0
        until(lambda: not sampler.alive)

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_child_starts_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sampling, "sampler", Sampler())
        sampling.configure(1)
        sampling.sampler.alive = True
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(write, f"{sampling.sampler.alive} {sampling.sampler.threshold_ns}".encode())
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(read, 100) == b"False 1000000"
        os.close(read)
        os.close(write)

    def threads(self) -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "wsgiperf-sampler"}
