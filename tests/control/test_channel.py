"""Questions and answers inside one process, and what becomes of those that are not as they should be."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from django_wsgiperf import control
from django_wsgiperf.control import Answer, folder, handlers, server, wire
from django_wsgiperf.instance import instance

from .conftest import DEADLINE_S, eventually


def own(reply: dict[str, Any] | None, error: str = "") -> list[Answer]:
    return [Answer(instance(), os.getpid(), reply, error)]


def ask(topic: str, message: dict[str, Any] | None = None, **options: Any) -> list[Answer]:
    """Without hurry: in a second, a thread of a busy machine may not have had its turn."""
    return control.ask(topic, message, timeout_s=DEADLINE_S, **options)


def knock(data: bytes) -> bytes:
    """What the socket of this process says to raw bytes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_S)
        client.connect(folder.own_path())
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        said = b""
        while piece := client.recv(65536):
            said += piece
        return said


def framed(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


def over_the_socket(topic: str) -> dict[str, Any]:
    reply = wire.Reader(wire.REPLY_MAX).feed(knock(wire.encode({"topic": topic, "message": {}}, wire.REQUEST_MAX)))
    assert reply is not None
    return reply


def test_process_that_takes_part_answers_itself(base: Path) -> None:
    control.handle("echo", lambda message: {"heard": message})
    assert control.start()
    assert ask("echo", {"n": 1}) == own({"heard": {"n": 1}})
    assert ask("echo") == own({"heard": {}})
    assert over_the_socket("echo") == {"instance": instance(), "pid": os.getpid(), "reply": {"heard": {}}, "error": ""}


def test_process_that_takes_no_part_only_asks(base: Path) -> None:
    control.handle("echo", lambda message: {"heard": message})
    assert ask("echo") == []


def test_taking_part_twice_is_once_and_ends_with_stop(private: Path) -> None:
    assert control.start()
    assert control.start()
    assert control.is_running()
    assert len(list(private.iterdir())) == 1
    assert sum(thread.name == "wsgiperf-control" for thread in threading.enumerate()) == 1
    control.stop()
    assert not control.is_running()
    assert list(private.iterdir()) == []
    control.stop()
    assert control.start(), "and may begin again"


def test_many_threads_that_start_at_once_start_one(private: Path) -> None:
    barrier = threading.Barrier(8)
    results: list[bool] = []

    def begin() -> None:
        barrier.wait()
        results.append(control.start())

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8
    assert len(list(private.iterdir())) == 1


def test_one_process_can_be_asked_by_its_name(base: Path) -> None:
    control.handle("echo", lambda message: {})
    control.start()
    assert ask("echo", instance=instance()) == own({})
    assert ask("echo", instance="elsewhere:1:00000000") == []


def test_own_answer_is_what_others_would_get(base: Path) -> None:
    control.handle("tuple", lambda message: {"pair": (1, 2), 3: None})  # type: ignore[dict-item]
    control.start()
    assert ask("tuple") == own({"pair": [1, 2], "3": None}), "as JSON has it"


class TestHandlers:
    def test_unknown_topic_is_said(self, base: Path) -> None:
        control.start()
        assert ask("weather") == own(None, "no handler for 'weather'")

    def test_failure_is_told_by_class_and_logged_here(self, base: Path, caplog: pytest.LogCaptureFixture) -> None:
        def fail(message: dict[str, Any]) -> dict[str, Any]:
            raise ValueError("password=hunter2")

        control.handle("fail", fail)
        control.start()
        assert ask("fail") == own(None, "ValueError")
        assert "password" not in str(over_the_socket("fail"))
        assert [record.message for record in caplog.records] == ["The handler of 'fail' failed"] * 2

    def test_answer_that_is_no_json_is_an_error(self, base: Path) -> None:
        control.handle("odd", lambda message: {"o": object()})
        control.start()
        [answer] = ask("odd")
        assert answer.reply is None
        assert answer.error.startswith("the answer cannot be sent: not a JSON object")

    def test_answer_that_is_too_large_is_an_error(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handlers, "REPLY_MAX", 1000)
        control.handle("big", lambda message: {"x": "y" * 2000})
        control.start()
        [answer] = ask("big")
        assert answer.reply is None
        assert answer.error.startswith("the answer cannot be sent: ")
        assert answer.error.endswith("are more than the 1000 that a message may have")

    def test_handler_that_hangs_costs_its_topic_alone(self, base: Path) -> None:
        gate = threading.Event()

        def hang(message: dict[str, Any]) -> dict[str, Any]:
            gate.wait(DEADLINE_S)
            return {}

        control.handle("hang", hang)
        control.handle("echo", lambda message: {"well": True})
        control.start()
        for _ in range(handlers.TOPIC_MAX + handlers.WAITING_MAX):
            assert control.ask("hang", timeout_s=0.01) == own(None, "no answer in time")
        assert ask("hang") == own(None, "too many questions about 'hang' are unanswered")
        assert control.ask("echo", timeout_s=DEADLINE_S) == own({"well": True})
        assert over_the_socket("echo")["reply"] == {"well": True}
        gate.set()
        eventually(lambda: control.ask("hang", timeout_s=DEADLINE_S) == own({}), "the topic is free again")

    def test_questions_past_the_handlers_at_work_wait_for_their_turn(self, base: Path) -> None:
        at_work: list[int] = []
        most: list[int] = []

        def slow(message: dict[str, Any]) -> dict[str, Any]:
            at_work.append(1)
            most.append(len(at_work))
            threading.Event().wait(0.01)
            at_work.pop()
            return message

        control.handle("slow", slow)
        control.start()
        answers: list[list[Answer]] = []
        threads = [
            threading.Thread(target=lambda n=n: answers.append(control.ask("slow", {"n": n}, timeout_s=DEADLINE_S)))  # type: ignore[misc]
            for n in range(handlers.TOPIC_MAX + handlers.WAITING_MAX)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        replies = [answer.reply for [answer] in answers]
        assert sorted(reply["n"] for reply in replies if reply) == list(range(len(threads)))
        assert max(most) <= handlers.TOPIC_MAX
        # A handler's thread counts for a moment after its last answer.
        eventually(lambda: not handlers._running, "all are over")
        assert handlers._waiting == {}

    def test_who_has_waited_for_too_long_is_not_answered_any_more(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = threading.Event()
        heard: list[int] = []

        def hang(message: dict[str, Any]) -> dict[str, Any]:
            heard.append(message["n"])
            gate.wait(DEADLINE_S)
            return {}

        control.handle("hang", hang)
        control.start()
        monkeypatch.setattr(handlers, "WAITING_S", 0.0)
        for n in range(handlers.TOPIC_MAX + 3):
            control.ask("hang", {"n": n}, timeout_s=0.01)
        eventually(lambda: len(heard) == handlers.TOPIC_MAX, "all that there is room for run")
        gate.set()
        eventually(lambda: not handlers._running, "all are over")
        assert sorted(heard) == list(range(handlers.TOPIC_MAX))

    def test_all_handlers_together_are_bounded(self, base: Path) -> None:
        gate = threading.Event()
        for topic in "abcd":
            control.handle(topic, lambda message: {"opened": gate.wait(DEADLINE_S)})
        control.start()
        for n in range(handlers.RUNNING_MAX):
            control.ask("abcd"[n // handlers.TOPIC_MAX], timeout_s=0.001)
        assert ask("d")[0].error == "too many questions about 'd' are unanswered"
        gate.set()
        eventually(lambda: control.ask("d", timeout_s=DEADLINE_S) == own({"opened": True}), "there is room again")

    def test_handler_may_change_its_message(self, base: Path) -> None:
        message = {"list": [1]}

        def spoil(message: dict[str, Any]) -> dict[str, Any]:
            message["list"].clear()
            return message

        control.handle("spoil", spoil)
        control.start()
        assert ask("spoil", message) == own({"list": []})
        assert message == {"list": [1]}


class TestBadQuestions:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x00",
            b"GET / HTTP/1.1\r\n\r\n",
            framed(b"not json"),
            framed(b"[1]"),
            framed(b'"text"'),
            framed(b"{}"),
            framed(b'{"topic": 1, "message": {}}'),
            framed(b'{"topic": "echo", "message": []}'),
            framed(b"[" * 60000),
            b"\xff\xff\xff\xff" + b"x" * 1000,
            framed(b'{"topic": "echo"}')[:-3],
        ],
    )
    def test_are_hung_up_on_and_harm_nobody(self, base: Path, data: bytes) -> None:
        control.handle("echo", lambda message: {"well": True})
        control.start()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # It hung up before it had read all.
            assert knock(data) == b""
        assert over_the_socket("echo")["reply"] == {"well": True}

    def test_question_that_is_too_large_is_not_sent(self, base: Path) -> None:
        with pytest.raises(wire.WireError, match="more than the 65536"):
            ask("echo", {"x": "y" * 70_000})
        with pytest.raises(wire.WireError, match="not a JSON object"):
            ask("echo", {"x": object()})

    def test_those_who_connect_and_say_nothing_are_few_and_leave(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "_READ_S", 0.2)
        control.handle("echo", lambda message: {"well": True})
        control.start()
        silent = [socket.socket(socket.AF_UNIX) for _ in range(server._CONNECTIONS_MAX + 8)]
        try:
            for client in silent:
                client.settimeout(DEADLINE_S)
                client.connect(folder.own_path())
            for client in silent:
                assert client.recv(1) == b"", "all are hung up on"
        finally:
            for client in silent:
                client.close()
        assert over_the_socket("echo")["reply"] == {"well": True}

    def test_other_users_are_hung_up_on(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        control.handle("echo", lambda message: {"well": True})
        control.start()
        monkeypatch.setattr(server, "peer_user", lambda sock: os.geteuid() + 1)
        with pytest.raises((ConnectionError, AssertionError)):
            over_the_socket("echo")
        monkeypatch.setattr(server, "peer_user", lambda sock: None)  # A system that does not tell.
        assert over_the_socket("echo")["reply"] == {"well": True}


def test_who_is_at_the_other_end_is_known() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert wire.peer_user(left) in (os.geteuid(), None)
        if hasattr(socket, "SO_PEERCRED"):
            assert wire.peer_user(left) == os.geteuid()


def test_socket_whose_name_was_removed_gets_it_back(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_LOOK_S", 0.05)
    control.handle("echo", lambda message: {"well": True})
    control.start()
    Path(folder.own_path()).unlink()
    eventually(lambda: Path(folder.own_path()).exists(), "the name is back")
    eventually(lambda: over_the_socket("echo")["reply"] == {"well": True}, "and answers")
    private.chmod(0o700)


def test_asking_takes_no_longer_than_its_time(base: Path) -> None:
    """A listener that never answers: the deadline is one for all."""
    control.start()
    path = folder.own_path()
    pid, boot = os.getppid(), "00000000"
    deaf = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    try:
        for n, sock in enumerate(deaf):
            sock.bind(os.path.join(os.path.dirname(path), f"{folder.project()}-{pid}-0000000{n}"))
            sock.listen(1)
        control.handle("echo", lambda message: {})
        began = time.monotonic()
        answers = control.ask("echo", timeout_s=2.0)
        took_s = time.monotonic() - began
        assert [answer.error for answer in answers] == [""] + ["no answer in time"] * 5
        assert {answer.instance.rpartition(":")[2][:7] for answer in answers[1:]} == {boot[:7]}
        # Five of them one after the other would have taken five times as long; a busy machine adds something.
        assert took_s < 2.0 * 5
    finally:
        for sock in deaf:
            sock.close()
