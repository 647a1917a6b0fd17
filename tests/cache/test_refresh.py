"""The threads that make pages anew: bounded, each page once, and none left behind."""

from __future__ import annotations

import os
import threading

import pytest

from django_wsgiperf.cache.counting import Counters
from django_wsgiperf.cache.refresh import Refresher

from .fakes import FakeClock, eventually


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wsgiperf-cache-refresh"]


def test_job_is_done_by_a_thread_of_its_own() -> None:
    counters = Counters()
    refresher = Refresher(counters=counters)
    names: list[str] = []
    assert refresher.submit(b"page", lambda: names.append(threading.current_thread().name) or True)
    eventually(lambda: counters.refreshes == 1)
    assert names == ["wsgiperf-cache-refresh"]
    refresher.stop()


def test_no_thread_before_there_is_something_to_do() -> None:
    before = len(threads())
    refresher = Refresher()
    assert len(threads()) == before
    refresher.stop()


def test_page_waits_or_runs_once() -> None:
    counters = Counters()
    refresher = Refresher(max_threads=1, counters=counters)
    gate = threading.Event()
    assert refresher.submit(b"page", lambda: gate.wait(20))
    assert not refresher.submit(b"page", lambda: True)
    gate.set()
    eventually(lambda: counters.refreshes == 1)
    assert refresher.submit(b"page", lambda: True)
    refresher.stop()


def test_what_waits_is_bounded_and_what_is_dropped_is_counted() -> None:
    counters = Counters()
    refresher = Refresher(max_threads=1, max_jobs=2, counters=counters)
    gate = threading.Event()
    refresher.submit(b"first", lambda: gate.wait(20))
    eventually(lambda: refresher.numbers()["waiting"] == 0)
    assert [refresher.submit(str(number).encode(), lambda: True) for number in range(4)] == [True, True, False, False]
    assert (counters.refreshes_dropped, refresher.numbers()["threads"]) == (2, 1)
    gate.set()
    eventually(lambda: counters.refreshes == 3)
    refresher.stop()


def test_as_many_threads_as_there_may_be() -> None:
    counters = Counters()
    refresher = Refresher(max_threads=3, counters=counters)
    together = threading.Barrier(3)
    for number in range(3):
        refresher.submit(str(number).encode(), lambda: together.wait(20) >= 0)
    eventually(lambda: counters.refreshes == 3)
    refresher.stop()


def test_failed_page_is_left_alone_for_a_moment() -> None:
    counters, clock = Counters(), FakeClock()
    refresher = Refresher(counters=counters, clock=clock)
    for count, job in enumerate((lambda: False, lambda: 1 / 0), start=1):
        assert refresher.submit(b"page", job)  # type: ignore[arg-type]
        eventually(lambda count=count: counters.refresh_failures == count)
        assert not refresher.submit(b"page", lambda: True)
        clock.advance(1.1)
    assert refresher.submit(b"page", lambda: True)
    eventually(lambda: counters.refreshes == 1)
    assert counters.refresh_failures == 2
    refresher.stop()


def test_page_that_another_process_makes_is_no_failure() -> None:
    counters = Counters()
    refresher = Refresher(counters=counters)
    refresher.submit(b"page", lambda: None)
    eventually(lambda: b"page" not in refresher._keys)
    assert (counters.refreshes, counters.refresh_failures) == (0, 0)
    refresher.stop()


def test_stop_begins_nothing_more_and_ends_the_threads() -> None:
    ended: list[str] = []
    refresher = Refresher(max_threads=1, on_thread_end=lambda: ended.append("closed"))
    gate, begun = threading.Event(), threading.Event()
    refresher.submit(b"running", lambda: begun.set() or gate.wait(20))
    assert begun.wait(20)
    waiting: list[int] = []
    refresher.submit(b"waiting", lambda: waiting.append(1) or True)
    threading.Timer(0.01, gate.set).start()
    refresher.stop(20)
    eventually(lambda: ended == ["closed"])
    assert waiting == []
    assert not refresher.submit(b"later", lambda: True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_has_threads_of_its_own() -> None:
    refresher = Refresher(max_threads=1)
    gate, begun = threading.Event(), threading.Event()
    refresher.submit(b"page", lambda: begun.set() or gate.wait(20))
    assert begun.wait(20)
    child = os.fork()
    if child == 0:
        done = threading.Event()
        # What the parent is making is not being made here.
        accepted = refresher.submit(b"page", lambda: done.set() or True)
        os._exit(0 if accepted and done.wait(20) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate.set()
    refresher.stop()
