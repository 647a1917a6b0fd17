"""Numbers of several processes in one piece: who is asked, who counts, and who does not answer."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_wsgiperf import control
from django_wsgiperf.control import folder
from django_wsgiperf.instance import instance
from django_wsgiperf.metrics import cumulative, exports, pipeline
from django_wsgiperf.metrics.exports import gather, own, seats
from django_wsgiperf.metrics.record import Record
from tests.control.conftest import MEMBER, Member, base, eventually, member

__all__ = ["base", "member"]

COUNTING = """
import os, sys
import django
os.environ["WSGIPERF_METRICS_STORE"] = "memory"
django.setup()
from django_wsgiperf import control
from django_wsgiperf.metrics import pipeline
from django_wsgiperf.metrics.record import Record
assert control.start()
from django_wsgiperf.metrics.exports import seats
seats.number()
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        record = Record("GET")
        record.route, record.status = "/", 200
        record.ttfb_ns = record.total_ns = 5_000_000
        pipeline.submit(record)
    assert pipeline.flush(30)
    print("counted", flush=True)
"""


@pytest.fixture(autouse=True)
def fresh(base: object) -> Iterator[None]:
    """This process takes part with nothing counted, and no seat of another test's folder."""
    seats._after_fork_in_child()
    exports.register()
    yield
    control.stop()
    seats._after_fork_in_child()


def count(requests: int) -> None:
    for _ in range(requests):
        record = Record("GET")
        record.route, record.status = "/", 200
        record.ttfb_ns = record.total_ns = 5_000_000
        pipeline.submit(record)
    assert pipeline.flush(30)


def tell(process: Member, requests: int) -> None:
    assert process.process.stdin is not None
    process.process.stdin.write(f"{requests}\n")
    process.process.stdin.flush()
    assert process.line() == "counted"


def test_alone_it_tells_of_itself_whether_it_listens_or_not() -> None:
    before = own_requests(gather.gather(timeout_s=30))
    count(4)
    for _ in range(2):
        gathered = gather.gather(timeout_s=30)
        assert [process.get("pid") for process in gathered.processes] == [os.getpid()]
        assert own_requests(gathered) - before == 4
        assert control.start()


def own_requests(gathered: gather.Gathered) -> int:
    [number] = [each.number for each in gathered.processes if each.get("pid") == os.getpid()]
    return gathered.tallies[number].total()["requests"]


def test_each_process_has_a_number_and_sums_of_its_own(member: Callable[..., Member]) -> None:
    control.start()
    assert seats.number() == 0
    first, second = member(COUNTING), member(COUNTING)
    tell(first, 3)
    tell(second, 5)
    gathered = gather.gather(timeout_s=30)
    assert sorted(gathered.tallies) == [0, 1, 2]
    by_pid = {each.get("pid"): gathered.tallies[each.number].total()["requests"] for each in gathered.processes}
    assert by_pid[first.pid] == 3
    assert by_pid[second.pid] == 5
    assert gathered.whole().total()["requests"] == sum(by_pid.values())
    assert gathered.unreachable == 0


def test_number_of_a_process_that_was_killed_is_taken_again(member: Callable[..., Member]) -> None:
    control.start()
    assert seats.number() == 0
    first = member(COUNTING)
    second = member(COUNTING)
    assert numbers() == {os.getpid(): 0, first.pid: 1, second.pid: 2}
    first.kill()
    third = member(COUNTING)
    assert numbers() == {os.getpid(): 0, third.pid: 1, second.pid: 2}


def numbers() -> dict[int, int]:
    return {each.get("pid"): each.number for each in gather.gather(timeout_s=30).processes}


def test_seats_of_projects_that_are_not_served_any_more_are_removed(base: Path) -> None:
    here = Path(folder.folder())
    old, young, held = (here / f"{name * 12}-seat-0" for name in "abc")
    for path in (old, young, held):
        path.touch(mode=0o600)
    for path in (old, held):
        os.utime(path, (1, 1))
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert seats.number() == 0
    assert [path.exists() for path in (old, young, held)] == [False, True, True]


def test_seat_whose_file_was_removed_is_no_seat(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking: the next one that comes would lock another file of the same name."""
    real, removed = fcntl.flock, []

    def flock(descriptor: int, how: int) -> None:
        real(descriptor, how)
        if not removed:
            path = Path(folder.folder()) / f"{folder.project()}-seat-0"
            path.unlink()
            removed.append(path)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert seats.number() == 0
    assert removed[0].exists(), "it was made anew"


def test_frozen_process_is_counted_as_such_and_missing(member: Callable[..., Member]) -> None:
    control.start()
    frozen = member(COUNTING)
    os.kill(frozen.pid, signal.SIGSTOP)
    pids: list[int | None] = []

    def answered() -> bool:
        """Whether this process has had the time to."""
        gathered = gather.gather(timeout_s=0.5)
        pids[:] = [each.get("pid") for each in gathered.processes]
        return gathered.unreachable == 1

    eventually(answered, "one is missing")
    assert pids == [os.getpid()]
    os.kill(frozen.pid, signal.SIGCONT)
    eventually(lambda: gather.gather().unreachable == 0, "it answers again")


def test_process_that_cannot_tell_is_unreachable_and_harms_nobody(member: Callable[..., Member]) -> None:
    failing = member(MEMBER.replace('"fail", fail', f'"{exports.TOPIC}", fail'))
    control.start()
    gathered = gather.gather(timeout_s=30)
    assert [each.get("pid") for each in gathered.processes] == [os.getpid()]
    assert gathered.unreachable == 1
    assert failing.process.poll() is None


def test_workers_of_another_server_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    control.start()
    told = own.answer({})
    answers = [
        control.Answer(instance(), os.getpid(), told),
        control.Answer("host:1:00000000", 1, {**told, "server": "another", "process": 1}),
        control.Answer("host:2:00000000", 2, None, "no answer in time"),
    ]
    monkeypatch.setattr(control, "ask", lambda topic, timeout_s: answers)
    gathered = gather.gather()
    assert [each.get("pid") for each in gathered.processes] == [os.getpid()]
    assert gathered.unreachable == 1


def test_answer_that_makes_no_sense_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    told = own.answer({})
    for tally in ("", "no base64!", "AAAA", 7, None):
        odd = {**told, "process": "x", "tally": tally, "resources": None, "pools": None, "pipeline": None}
        monkeypatch.setattr(control, "ask", lambda topic, timeout_s, odd=odd: [control.Answer(instance(), 1, odd)])
        gathered = gather.gather()
        assert gathered.tallies[0].routes == {}
        assert [each.number for each in gathered.processes] == [0]


def test_resources_are_of_this_process() -> None:
    told = own.resources()
    assert told["rss_bytes"] is None or told["rss_bytes"] > 1_000_000
    assert told["cpu_s"] > 0
    assert told["threads"] >= 1
    assert len(told["gc"]) == 3
    assert cumulative.seat() is None
