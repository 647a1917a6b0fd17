"""Requests that somebody interrupts by hand: the right one or none, answered as by its deadline."""

from __future__ import annotations

import threading
from typing import Any

from django_wsgiperf.metrics import providers
from django_wsgiperf.server import reporting
from django_wsgiperf.server.scoreboard import Scoreboard

from .conftest import DEADLINE_S, eventually
from .test_deadlines import REQUEST, BlockedLock, Sleeping, Start, Stuck, capacity_is_whole, impatient, watch


class Telling(Sleeping):
    """Tells which thread is stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def wait(self) -> None:
        self.threads.append(threading.get_ident())
        super().wait()


class TellingLock(BlockedLock):
    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def wait(self) -> None:
        self.threads.append(threading.get_ident())
        super().wait()


def enter(server: Any, app: Stuck) -> Any:
    client = server.connect()
    client.send(REQUEST)
    assert app.entered.acquire(timeout=DEADLINE_S)
    eventually(lambda: bool(app.threads), "the view waits")  # type: ignore[attr-defined]
    return client


def test_request_is_interrupted_on_demand_without_any_deadline(serve_app: Start) -> None:
    app = Telling()
    server = serve_app(app, threads=2, request_timeout_s=0)
    client = enter(server, app)
    assert server.supervisor.interrupt(app.threads[0], lambda: True)
    assert client.response().status == 504
    watch(server, lambda: capacity_is_whole(server, 2), "the thread is replaced")
    assert server.supervisor.lost_threads == 0
    assert server.get("/").body == b"fine"


def test_request_that_is_not_meant_any_more_goes_on(serve_app: Start) -> None:
    app = Telling()
    server = serve_app(app, threads=2, request_timeout_s=0)
    client = enter(server, app)
    assert not server.supervisor.interrupt(app.threads[0], lambda: False)
    app.released.set()
    assert client.response().body == b"fine"


def test_thread_of_another_is_never_interrupted(serve_app: Start) -> None:
    app = Telling()
    server = serve_app(app, threads=2, request_timeout_s=0)
    assert not server.supervisor.interrupt(threading.get_ident(), lambda: True)
    client = enter(server, app)
    app.released.set()
    assert client.response().body == b"fine"
    eventually(lambda: server.pool.busy == 0, "the request is over")
    assert not server.supervisor.interrupt(app.threads[0], lambda: True)
    assert server.get("/").body == b"fine"


def test_two_demands_interrupt_once(serve_app: Start) -> None:
    app = TellingLock()
    server = serve_app(app, threads=2, request_timeout_s=0)
    client = enter(server, app)
    assert server.supervisor.interrupt(app.threads[0], lambda: True)
    assert server.supervisor.interrupt(app.threads[0], lambda: True)
    app.lock.release()
    assert client.response().status == 504
    watch(server, lambda: capacity_is_whole(server, 2), "the thread is replaced")
    assert server.get("/").body == b"fine"


def test_thread_that_does_not_react_to_a_demand_is_given_up(serve_app: Start) -> None:
    app = TellingLock()
    server = serve_app(app, threads=2, request_timeout_s=0)
    client = enter(server, app)
    server.supervisor = impatient(server)
    assert server.supervisor.interrupt(app.threads[0], lambda: True)
    watch(server, lambda: server.supervisor.lost_threads == 1, "the thread is given up")
    assert client.response().status == 504
    app.lock.release()
    assert server.get("/").body == b"fine"


def test_worker_tells_its_threads_and_who_may_be_interrupted(serve_app: Start) -> None:
    app = Telling()
    server = serve_app(app, threads=2, request_timeout_s=0)
    board = Scoreboard()
    reporting.begin(server.reactor, board, 0, server.supervisor)
    try:
        client = enter(server, app)
        assert providers.load() == {"threads": 2, "busy": 1, "queued": 0, "queue_peak": 0}
        assert providers.ask(providers.SERVER)["threads"] == 2
        slots = providers.ask(providers.SLOTS)
        assert list(slots) == app.threads
        assert slots[app.threads[0]][1] is True
        assert providers.ask(providers.INTERRUPT, app.threads[0], lambda: True) is True
        assert client.response().status == 504
    finally:
        for name in (providers.LOAD, providers.SERVER, providers.SLOTS, providers.INTERRUPT):
            providers.withdraw(name)
