"""Several processes: each answers for itself, and one that is frozen, killed or forked harms no other."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from django_wsgiperf import control
from django_wsgiperf.control import folder
from django_wsgiperf.instance import instance

from .conftest import DEADLINE_S, MEMBER, Member, eventually

Begin = Callable[..., Member]

FORKING = """
import os, select, sys
import django
django.setup()
from django_wsgiperf import control
from django_wsgiperf.control import server
control.handle("echo", lambda message: {"pid": os.getpid()})
assert control.start()
listener = server._server._listener.fileno()
child_in, parent_out = os.pipe()
child = os.fork()
if child == 0:
    try:
        os.read(child_in, 1)
        assert not control.is_running(), "the thread stayed behind"
        try:
            os.fstat(listener)
        except OSError:
            pass
        else:
            raise AssertionError("the child holds its parent's socket")
        print("not started", flush=True)
        os.read(child_in, 1)
        assert control.start()
        print("started", flush=True)
        os.read(child_in, 1)
        control.stop()
        print("stopped", flush=True)
        os.read(child_in, 1)
    finally:
        os._exit(0)
print("ready", flush=True)
for line in sys.stdin:
    os.write(parent_out, b"x")
os.kill(child, 9)
os.waitpid(child, 0)
"""


def asked(topic: str = "echo", **options: float) -> dict[int, object]:
    """Reply or error, by process id."""
    return {a.pid: a.reply or a.error for a in control.ask(topic, {}, timeout_s=options.get("timeout_s", DEADLINE_S))}


def tell(member: Member) -> str:
    """Have the next step done, and say what it was."""
    assert member.process.stdin is not None
    member.process.stdin.write("\n")
    member.process.stdin.flush()
    return member.line()


def test_all_processes_answer_the_one_that_asks(member: Begin) -> None:
    first, second = member(), member()
    answers = control.ask("echo", {"n": 7}, timeout_s=DEADLINE_S)
    assert {answer.pid: answer.reply for answer in answers} == {
        each.pid: {"pid": each.pid, "heard": {"n": 7}} for each in (first, second)
    }
    assert instance() not in {answer.instance for answer in answers}, "who only asks takes no part"
    [answer] = control.ask("echo", instance=answers[0].instance, timeout_s=DEADLINE_S)
    assert (answer.instance, answer.pid) == (answers[0].instance, answers[0].pid)


def test_frozen_process_costs_the_time_and_the_others_answer(member: Begin) -> None:
    frozen, well = member(), member()
    os.kill(frozen.pid, signal.SIGSTOP)
    expected = {frozen.pid: "no answer in time", well.pid: {"pid": well.pid, "heard": {}}}
    eventually(lambda: asked(timeout_s=1.0) == expected, "the other one answers")
    os.kill(frozen.pid, signal.SIGCONT)
    assert asked()[frozen.pid] == {"pid": frozen.pid, "heard": {}}


def test_process_that_is_known_to_be_silent_is_hardly_waited_for(member: Begin) -> None:
    frozen, well = member(), member()
    names = {answer.pid: answer.instance for answer in control.ask("echo", timeout_s=DEADLINE_S)}
    os.kill(frozen.pid, signal.SIGSTOP)
    # Without, this would take a day.
    answers = control.ask("echo", timeout_s=86_400, hurried=[names[frozen.pid]])
    assert {answer.pid: answer.error for answer in answers} == {frozen.pid: "no answer in time", well.pid: ""}
    os.kill(frozen.pid, signal.SIGCONT)


def test_frozen_process_with_a_full_backlog_does_not_hold_up_anybody(member: Begin) -> None:
    frozen = member()
    os.kill(frozen.pid, signal.SIGSTOP)
    for _ in range(100):
        assert asked(timeout_s=0.0) == {frozen.pid: "no answer in time"}
    os.kill(frozen.pid, signal.SIGCONT)


def test_failing_and_hanging_handlers_leave_their_process_answering(member: Begin) -> None:
    other = member()
    assert asked("fail") == {other.pid: "ValueError"}
    for _ in range(6):
        asked("hang", timeout_s=0.05)
    assert asked() == {other.pid: {"pid": other.pid, "heard": {}}}


def test_process_that_ends_takes_its_socket_along(member: Begin, private: Path) -> None:
    other = member()
    assert len(list(private.iterdir())) == 1
    other.end()
    assert list(private.iterdir()) == []
    assert control.ask("echo") == []


def test_what_a_killed_process_left_is_swept_by_who_asks(member: Begin, private: Path) -> None:
    killed, well = member(), member()
    killed.kill()
    assert len(list(private.iterdir())) == 2
    assert asked() == {well.pid: {"pid": well.pid, "heard": {}}}
    assert len(list(private.iterdir())) == 1


def test_what_killed_processes_of_other_projects_left_is_swept_by_who_starts(member: Begin, private: Path) -> None:
    killed, well = member(TESTS_SECRET_KEY="killed" * 9), member(TESTS_SECRET_KEY="well" * 9)
    killed.kill()
    assert len(list(private.iterdir())) == 2
    assert control.start()
    assert {int(path.name.split("-")[1]) for path in private.iterdir()} == {well.pid, os.getpid()}


def test_socket_of_a_process_that_has_no_number_here_is_left_alone(private: Path) -> None:
    """As one of another container has, which shares the folder and not the process table."""
    path = private / f"{folder.project()}-{2**22 + 7}-0123abcd"
    with socket.socket(socket.AF_UNIX) as elsewhere:
        elsewhere.bind(str(path))
        elsewhere.listen(1)
        assert control.start()
        assert path.exists()
    control.stop()
    assert control.start()
    assert not path.exists(), "nobody listens any more"


def test_another_project_of_the_same_user_is_not_met(member: Begin, private: Path) -> None:
    own, other = member(), member(TESTS_SECRET_KEY="another" * 9)
    assert set(asked()) == {own.pid}
    assert len(list(private.iterdir())) == 2
    assert other.process.poll() is None


def test_forked_child_never_uses_its_parents_socket_and_has_its_own_when_it_starts(
    member: Begin, private: Path
) -> None:
    parent = member(FORKING)
    assert tell(parent) == "not started"
    assert asked() == {parent.pid: {"pid": parent.pid}}
    for said, processes in [("started", 2), ("stopped", 1)]:
        assert tell(parent) == said
        answers = asked()
        assert parent.pid in answers
        assert len(answers) == processes
        assert all(answer == {"pid": pid} for pid, answer in answers.items())
    parent.end()
    assert list(private.iterdir()) == []


def test_names_of_the_folder_tell_neither_key_nor_module(member: Begin, private: Path) -> None:
    member(MEMBER, TESTS_SECRET_KEY="correct-horse-battery-staple-" * 3)
    [name] = [path.name for path in private.iterdir()]
    assert "correct" not in name
    assert "tests" not in name
    assert folder.project() not in name
