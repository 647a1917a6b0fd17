"""What runs now: this process answers for itself, others are asked, and what nobody may see is not shown."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from django_wsgiperf import control
from django_wsgiperf.metrics import pipeline, providers, query_live
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.stores.base import Report, StoreError
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.metrics.worker import Worker

from .making import NOON, worker


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """This process, with nothing running, and no other to be asked."""
    made = worker(MemoryStore(), name=pipeline.instance(), mode="tests", release="v1")
    monkeypatch.setattr(pipeline, "_worker", made)
    monkeypatch.setattr(pipeline, "running", {})
    monkeypatch.setattr(control, "ask", lambda *args, **options: [])
    monkeypatch.setattr(query_live, "_silent", {})
    monkeypatch.setattr(providers, "_providers", {})
    return made


def begun(**fields: Any) -> Record:
    made = Record("GET")
    for name, value in fields.items():
        setattr(made, name, value)
    pipeline.begin(made)
    return made


def test_this_process_is_there_whether_it_listens_or_not(here: Worker) -> None:
    providers.provide(providers.LOAD, lambda: {"threads": 8, "busy": 3, "queued": 1})
    providers.provide(providers.POOLS, lambda: [{"created": 2}])
    providers.provide(providers.PAGE_CACHE, lambda: {"hits": 4})
    found = query_live.live(now=NOON)
    (row,) = found.processes
    assert row.instance == pipeline.instance()
    assert (row.release, row.threads, row.busy, row.queued, row.reachable) == ("v1", 8, 3, 1, True)
    assert row.pools == ({"created": 2},)
    assert row.page_cache == {"hits": 4}
    assert row.pipeline["records"] == 0
    assert row.rss_bytes is None or row.rss_bytes > 1_000_000


def test_running_requests_are_told_the_oldest_first(here: Worker) -> None:
    begun(route="/a/", current_sql="SELECT 1", request_id="r1")
    old = begun(route="/b/", streaming=True)
    old.began_ns -= 5_000_000_000
    first, second = query_live.live(now=NOON).running
    assert (first.route, first.streaming, second.route) == ("/b/", True, "/a/")
    assert first.age_s >= 5
    assert (second.sql, second.request_id, second.stack) == ("SELECT 1", "r1", ())
    assert (second.slot, second.interruptible) == (None, False)


def test_stacks_show_where_a_request_is(here: Worker) -> None:
    may_end = threading.Event()

    def the_view_that_waits() -> None:
        begun(route="/slow/")
        may_end.wait(30)

    thread = threading.Thread(target=the_view_that_waits)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while True:
            (one,) = query_live.live(stacks=True, now=NOON).running or (None,)
            if one is not None and any("the_view_that_waits" in line for line in one.stack):
                break
            assert time.monotonic() < deadline
    finally:
        may_end.set()
        thread.join()
    assert all(" in " in line and "may_end.wait" not in line for line in one.stack), "no line of code is shown"


def test_no_path_is_shown(here: Worker) -> None:
    begun(route="/reset/<token>/", path="/reset/secret/")
    assert "secret" not in repr(query_live.live(stacks=True, now=NOON))


def test_process_that_does_not_answer_is_remembered_for_a_while(here: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    hurried: list[list[str]] = []
    replies: dict[str, Any] = {"frozen": None, "well": {"running": []}}
    now_s = [100.0]

    def ask(*_: Any, **options: Any) -> list[control.Answer]:
        hurried.append(list(options["hurried"]))
        return [control.Answer(name, 1, reply, "") for name, reply in replies.items()]

    monkeypatch.setattr(control, "ask", ask)
    monkeypatch.setattr(query_live.time, "monotonic", lambda: now_s[0])
    for passed_s in (0, 5, 20, 10):
        now_s[0] += passed_s
        query_live.live(now=NOON)
    replies["frozen"] = {"running": []}
    for _ in range(2):
        query_live.live(now=NOON)
    assert hurried == [[], ["frozen"], ["frozen"], [], ["frozen"], []]


def test_slots_say_who_may_be_interrupted(here: Worker) -> None:
    made = begun(route="/a/")
    providers.provide(providers.SLOTS, lambda: {made.thread_id: (3, True)})
    (one,) = query_live.live(now=NOON).running
    assert (one.slot, one.interruptible) == (3, True)


def test_request_is_interrupted_by_its_key_while_it_runs(here: Worker) -> None:
    made = begun(route="/a/")
    asked: list[int] = []

    def interrupt(thread_id: int, still_runs: Any) -> bool:
        asked.append(thread_id)
        return bool(still_runs())

    (one,) = query_live.live(now=NOON).running
    assert not query_live.interrupt(one.process, one.key), "the server cannot"
    providers.provide(providers.INTERRUPT, interrupt)
    assert query_live.interrupt(one.process, one.key)
    assert not query_live.interrupt(one.process, "0-0")
    pipeline.forget(made)
    assert not query_live.interrupt(one.process, one.key)
    assert asked == [made.thread_id]


def test_request_that_ended_meanwhile_is_not_interrupted(here: Worker) -> None:
    made = begun(route="/a/")
    (one,) = query_live.live(now=NOON).running

    def interrupt(thread_id: int, still_runs: Any) -> bool:
        pipeline.forget(made)
        return bool(still_runs())

    providers.provide(providers.INTERRUPT, interrupt)
    assert not query_live.interrupt(one.process, one.key)


def test_other_processes_are_asked_and_those_that_only_reported_are_told_apart(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(route="/there/")
    other = {**query_live.answer_live({}), "process": {**query_live.answer_live({})["process"]}}
    other["process"].update(instance="one:7:bb", pid=7)
    pipeline.running.clear()
    far = worker(here.store(), name="far:8:cc", host="far", mode="tests")
    far.flush()
    asked: list[Any] = []

    def ask(
        topic: str, message: dict[str, Any], *, instance: str | None = None, timeout_s: float, hurried: Any
    ) -> list[Any]:
        asked.append((topic, message, instance))
        return [
            control.Answer("one:7:bb", 7, other, ""),
            control.Answer("one:6:dd", 6, None, "no answer in time"),
            control.Answer("one:5:ee", 5, {"process": {"pid": "?"}, "running": 3}, ""),
        ]

    monkeypatch.setattr(control, "ask", ask)
    found = query_live.live(stacks=True, now=NOON)
    assert {(row.instance, row.reachable) for row in found.processes} == {
        (pipeline.instance(), True),
        ("one:7:bb", True),
        ("far:8:cc", False),
    }
    assert [(each.process, each.route) for each in found.running] == [("one:7:bb", "/there/")]
    assert asked == [("live", {"stacks": True}, None)]
    monkeypatch.setattr(
        control, "ask", lambda *args, **options: [control.Answer("one:7:bb", 7, {"interrupted": True}, "")]
    )
    assert query_live.interrupt("one:7:bb", "1-2")


def test_running_requests_that_are_told_have_a_bound(here: Worker) -> None:
    for _ in range(300):
        begun(route="/a/")
    assert len(query_live.running_here(stacks=False)) == 200


def test_this_host_is_shown_though_the_store_is_away(here: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seen_since: int) -> list[Report]:
        raise StoreError("it is away")

    monkeypatch.setattr(here.store(), "reports", fail)
    begun(route="/a/")
    found = query_live.live(now=NOON)
    assert [row.instance for row in found.processes] == [pipeline.instance()]
    assert [each.route for each in found.running] == ["/a/"]
    assert found.problem == "it is away"


def test_report_that_cannot_be_read_is_passed_over(here: Worker) -> None:
    here.store().report(Report("bad:1:aa", "bad", NOON, b"?"))
    here.store().report(Report("odd:1:aa", "odd", NOON, b""))
    assert [row.instance for row in query_live.live(now=NOON).processes] == [pipeline.instance()]
