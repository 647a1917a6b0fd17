"""The server's own pages: answered without a thread, to those who may see them, and without secrets."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from django_wsgiperf.server import readiness
from django_wsgiperf.server.readiness import Readiness
from django_wsgiperf.server.reserved import ReservedPages
from django_wsgiperf.server.scoreboard import DRAINING, SERVING, Scoreboard

from .conftest import DEADLINE_S, Server, eventually

Start = Callable[..., "Pages"]
GATE = threading.Event()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    if environ["PATH_INFO"] == "/stuck":
        assert GATE.wait(DEADLINE_S)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


class Pages:
    """A server with its pages, as a worker would have set them up."""

    def __init__(self, server: Server, checks: list[str]) -> None:
        self.server = server
        self.board = Scoreboard()
        self.place = self.worker()
        self.readiness = Readiness(checks, server.reactor.settings.ready_timeout_s, self.board)
        self.pages = ReservedPages(server.reactor, self.board, self.place, self.readiness)

    def worker(self) -> int:
        place = self.board.claim(SimpleNamespace(pid=os.getpid(), age=1))
        self.board.set(place, "pid", os.getpid())
        self.board.set(place, "state", SERVING)
        return place

    def get(self, path: str, *fields: str) -> tuple[int, str]:
        response = self.server.get(path, *fields)
        return response.status, response.body.decode()


@pytest.fixture
def start(serve_app: Callable[..., Server]) -> Iterator[Start]:
    GATE.clear()
    started: list[Pages] = []

    def begin(checks: list[str] | None = None, **options: Any) -> Pages:
        started.append(Pages(serve_app(app, **options), checks or []))
        return started[-1]

    yield begin
    GATE.set()
    for pages in started:
        pages.readiness.stop()


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The only check there is; it waits at its gate. `now` is the time that readiness.py sees."""
    state = SimpleNamespace(gate=threading.Event(), failures=[], now=1000.0)
    state.gate.set()
    monkeypatch.setattr(readiness, "time", SimpleNamespace(monotonic=lambda: state.now))

    def run(say: Callable[[str], None]) -> Iterator[str]:
        say("database default")
        assert state.gate.wait(DEADLINE_S)
        yield from state.failures

    monkeypatch.setattr(readiness, "CHECKS", {"database": run})
    yield state
    state.gate.set()


def stick(pages: Pages, number: int) -> None:
    """Have every thread run a request that does not end."""
    for _ in range(number):
        pages.server.connect().send(b"GET /stuck?secret=1 HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: pages.server.pool.busy == number, "every thread is stuck")


def test_every_page_answers_while_every_thread_is_stuck(start: Start, check: SimpleNamespace) -> None:
    pages = start(["database"], stats_allow=("127.0.0.0/8",))
    stick(pages, 2)
    assert pages.get("/-/live") == (200, "alive\n")
    assert pages.get("/-/ready") == (200, "ready\n")
    assert json.loads(pages.get("/-/stats")[1])["busy"] == 2
    assert "wsgiperf_server_requests_total" in pages.get("/-/metrics")[1]


def test_pages_can_be_moved_and_turned_off(start: Start) -> None:
    pages = start(live_path="/healthz", ready_path="")
    assert pages.get("/healthz") == (200, "alive\n")
    assert pages.get("/-/live") == pages.get("/-/ready") == (200, "ok"), "the application's"


def test_head_and_keep_alive_are_as_for_any_page(start: Start) -> None:
    pages = start()
    client = pages.server.connect()
    client.send(b"HEAD /-/live HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.response("HEAD").headers["content-length"] == "6"
    assert client.get("/-/live").body == b"alive\n"
    assert "set-cookie" not in client.get("/-/live").headers
    assert client.get("/-/live").headers["cache-control"] == "no-store"


class TestReady:
    def test_failures_are_named_and_pass(self, start: Start, check: SimpleNamespace) -> None:
        check.failures = ["database default: OperationalError", "cache shared: ConnectionError"]
        pages = start(["database"])
        assert pages.get("/-/ready") == (
            503,
            "not ready\ndatabase default: OperationalError\ncache shared: ConnectionError\n",
        )
        check.failures = []
        check.now += 1
        assert pages.get("/-/ready") == (200, "ready\n"), "a later check finds all well"

    def test_answer_comes_in_time_while_a_check_hangs(self, start: Start, check: SimpleNamespace) -> None:
        check.gate.clear()
        pages = start(["database"], ready_timeout_s=1.0)
        client = pages.server.connect()
        client.send(b"GET /-/ready HTTP/1.1\r\nHost: test\r\n\r\n")
        eventually(lambda: pages.readiness._asking == "database default", "the check has begun")
        check.now += 0.5
        assert client.response().body == b"not ready\nstarting\n"
        check.now += 0.5
        assert pages.get("/-/ready") == (503, "not ready\ndatabase default: no answer for 1 s\n")
        assert pages.get("/-/live") == (200, "alive\n")

    def test_many_may_ask_at_once_and_leave_again(self, start: Start, check: SimpleNamespace) -> None:
        check.gate.clear()
        pages = start(["database"])
        clients = [pages.server.connect() for _ in range(100)]
        for client in clients:
            client.send(b"GET /-/ready HTTP/1.1\r\nHost: test\r\n\r\n")
        for client in clients[::2]:
            client.sock.close()
        eventually(lambda: pages.server.reactor.statistics.reserved == 100, "all have asked")
        check.now += 0.5
        statuses = {client.response().status for client in clients[1::2]}
        assert statuses == {503}
        check.gate.set()
        eventually(lambda: pages.get("/-/ready")[0] == 200, "it is ready")

    def test_server_that_stops_is_not_ready(self, start: Start) -> None:
        pages = start()
        pages.board.stopping = True
        pages.worker()
        assert pages.get("/-/ready") == (503, "draining\n")

    def test_worker_that_is_replaced_is_ready_as_long_as_another_serves(self, start: Start) -> None:
        pages = start()
        pages.board.set(pages.place, "state", DRAINING)
        pages.server.reactor.draining = True
        assert pages.get("/-/ready") == (503, "draining\n")
        pages.worker()
        assert pages.get("/-/ready") == (200, "ready\n")


class TestAccess:
    @pytest.mark.parametrize("path", ["/-/stats", "/-/metrics"])
    def test_closed_unless_opened(self, start: Start, path: str) -> None:
        assert start().get(path) == (404, "Not Found\n")
        assert start(stats_allow=("10.0.0.0/8", "unix")).get(path)[0] == 404
        assert start(stats_allow=("10.0.0.0/8", "127.0.0.1")).get(path)[0] == 200

    @pytest.mark.parametrize(
        ("authorization", "status"),
        [
            ("Bearer correct-horse", 200),
            ("bearer correct-horse", 200),
            ("Bearer correct-hors", 404),
            ("Bearer correct-horse2", 404),
            ("Bearer", 404),
            ("Basic correct-horse", 404),
            ("correct-horse", 404),
            ("Bearer \xff", 404),
        ],
    )
    def test_token(self, start: Start, authorization: str, status: int) -> None:
        pages = start(stats_token="correct-horse")
        client = pages.server.connect()
        client.send(
            b"GET /-/stats HTTP/1.1\r\nHost: test\r\nAuthorization: %b\r\n\r\n" % authorization.encode("latin-1")
        )
        assert client.response().status == status
        assert pages.get("/-/stats")[0] == 404

    def test_unix_sockets_and_mapped_addresses(self, start: Start) -> None:
        pages = start(stats_allow=("127.0.0.1", "unix"))
        listener = next(iter(pages.server.reactor.acceptor.listeners.values()))
        for peer, unix, allowed in [
            ("", True, True),
            ("127.0.0.1", False, True),
            ("::ffff:127.0.0.1", False, True),
            ("::1", False, False),
            ("fe80::1%eth0", False, False),
            ("nonsense", False, False),
        ]:
            connection: Any = SimpleNamespace(
                peer=peer, listener=SimpleNamespace(unix=unix, base_environ=listener.base_environ)
            )
            request: Any = SimpleNamespace(environ={})
            assert pages.pages._may_read(connection, request) is allowed, peer


class TestStatistics:
    def test_running_requests_are_told_by_path_only(self, start: Start) -> None:
        pages = start(stats_allow=("127.0.0.1",))
        stick(pages, 1)
        text = pages.get("/-/stats")[1]
        [running] = json.loads(text)["running"]
        assert (running["method"], running["path"]) == ("GET", "/stuck")
        assert running["age_s"] >= 0
        assert "stack" not in running
        assert "secret" not in text

    def test_stacks_show_where_a_request_is(self, start: Start) -> None:
        pages = start(stats_allow=("127.0.0.1",))
        stick(pages, 1)
        [running] = json.loads(pages.get("/-/stats?stacks=1")[1])["running"]
        line = app.__code__.co_firstlineno + 2
        assert f"{Path(__file__)}:{line} in app" in running["stack"]
        assert "secret" not in json.dumps(running)

    def test_numbers_add_up(self, start: Start) -> None:
        pages = start(stats_allow=("127.0.0.1",), threads=3)
        for _ in range(5):
            pages.get("/")
        eventually(lambda: json.loads(pages.get("/-/stats")[1])["requests"] == 5, "all are counted")
        statistics = json.loads(pages.get("/-/stats")[1])
        assert statistics["schema"] == 1
        assert statistics["threads"] == 3
        assert statistics["responses"]["2xx"] == sum(statistics["service_histogram_us"].values()) == 5
        assert statistics["accepted"] == statistics["requests"] + statistics["reserved"]
        assert [row["state"] for row in statistics["workers"]] == ["serving"]


def test_metrics_need_prometheus_client_and_say_so_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    pages = start(stats_allow=("127.0.0.1",))
    with caplog.at_level(logging.WARNING):
        assert [pages.get("/-/metrics")[0] for _ in range(2)] == [404, 404]
    assert [record.message for record in caplog.records] == [
        "/-/metrics was asked for, but prometheus-client is not installed: pip install 'django-wsgiperf[prometheus]'"
    ]


def test_page_that_fails_is_500_and_harms_nobody(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    pages = start()
    pages.server.reactor.reserved[b"/-/live"] = lambda connection, request: 1 // 0  # type: ignore[return-value]
    assert pages.get("/-/live")[0] == 500
    assert pages.get("/") == (200, "ok")


def test_half_a_request_for_a_page_is_none(start: Start) -> None:
    pages = start()
    with socket.create_connection(("127.0.0.1", pages.server.port), timeout=DEADLINE_S) as client:
        client.sendall(b"GET /-/live HTTP/1.1\r\n")
        assert pages.get("/-/live")[0] == 200
