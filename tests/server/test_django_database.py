"""Database connections of a Django site under the server: one a thread, none left over, whole after an interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_wsgiperf.server.deadlines import DeadlineSupervisor
from tests.db.conftest import allowed_database, postgres  # noqa: F401 - fixtures
from tests.db.databases import Database, run, value
from tests.db.sites import site

from .conftest import DEADLINE_S, Client, eventually
from .live import PooledServer, pooled_servers

Serve = Callable[..., PooledServer]
NAME = "wsgiperf-stuck-test"


class Stuck:
    """How the view /stuck waits, and for how long."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.lock.acquire()
        self.sessions: set[int] = set()
        self.threads: set[int] = set()

    def sleep(self) -> None:
        while not self.released.is_set():
            time.sleep(0.01)

    def busy(self) -> None:
        while not self.released.is_set():
            pass

    def blocked(self) -> None:
        self.lock.acquire()
        self.lock.release()

    def query(self) -> None:
        """One statement that lasts until it is cancelled; the driver waits for it outside the interpreter."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(600)")


stuck = Stuck()


def write(request: HttpRequest) -> HttpResponse:
    """A row in a transaction, and then what ?wait= names, still in it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO kept VALUES (%s)", [request.GET["row"]])
            cursor.execute("SELECT pg_backend_pid()")
            stuck.sessions.add(cursor.fetchone()[0])
        stuck.threads.add(threading.get_ident())
        stuck.entered.release()
        if wait := request.GET.get("wait"):
            getattr(stuck, wait)()
    return HttpResponse("written")


urlpatterns = [path("write", write)]


@pytest.fixture(params=["django", "pooled"])
def database(request: pytest.FixtureRequest, postgres: Database) -> Iterator[Database]:  # noqa: F811 - the fixture
    """PostgreSQL with Django's own engine, which keeps a connection for each thread, and ours, which lends them."""
    global stuck
    stuck = Stuck()
    outside = postgres.wrapper(stock=True)
    run(outside, "CREATE TABLE kept (row text)")
    options: dict[str, Any] = {"OPTIONS": {"application_name": NAME}}
    if request.param == "django":
        options |= {"stock": True, "middleware": (), "CONN_MAX_AGE": None}
    try:
        with site(postgres, __name__, **options):
            yield postgres
    finally:
        run(outside, "DROP TABLE kept")


@pytest.fixture
def serve() -> Iterator[Serve]:
    with pooled_servers() as start:
        yield start


def ask(server: PooledServer, target: str) -> int:
    with Client(server.server_address[1]) as client:
        return client.get(target).status


def rows(database: Database) -> set[str]:
    wrapper = database.wrappers[0]
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT row FROM kept")
        return {row for (row,) in cursor.fetchall()}


def sessions(database: Database, more: str = "") -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s "
    count: int = value(database.wrappers[0], query + more, [NAME])
    return count


def is_whole(server: PooledServer, threads: int) -> bool:
    server.supervisor.tick()
    pool = server.pool
    return pool.busy == 0 and len(pool._free) == threads and len(pool._threads) == pool._wanted_threads


def test_threads_have_a_connection_each_and_leave_none(database: Database, serve: Serve) -> None:
    server = serve(threads=3)
    clients = [Client(server.server_address[1]) for _ in range(3)]
    for client in clients:
        client.send(b"GET /write?row=a&wait=sleep HTTP/1.1\r\nHost: testserver\r\n\r\n")
    assert all(stuck.entered.acquire(timeout=DEADLINE_S) for _ in range(3))
    assert len(stuck.sessions) == len(stuck.threads) == 3
    stuck.released.set()
    assert [client.response().status for client in clients] == [200] * 3
    for client in clients:
        client.close()
    assert [ask(server, f"/write?row={number}") for number in range(20)] == [200] * 20
    assert rows(database) == {"a", *map(str, range(20))}
    # Those of the test before may take a moment to go.
    eventually(lambda: sessions(database) <= 4, "one a thread at most; there is one thread more than run requests")
    assert sessions(database, "AND state LIKE 'idle in transaction%%'") == 0
    assert server.pool.stop(DEADLINE_S)
    if not database_is_pooled():
        eventually(lambda: sessions(database) == 0, "threads that end close their connections")


def database_is_pooled() -> bool:
    return "wsgiperf" in connection.settings_dict["ENGINE"]


@pytest.mark.parametrize("wait", ["sleep", "busy"])
def test_interruption_in_a_transaction_rolls_it_back(database: Database, serve: Serve, wait: str) -> None:
    server = serve(threads=1, request_timeout_s=0.3)
    with Client(server.server_address[1]) as client:
        client.send(f"GET /write?row=lost&wait={wait} HTTP/1.1\r\nHost: testserver\r\n\r\n".encode())
        assert stuck.entered.acquire(timeout=DEADLINE_S)
        interrupted = set(stuck.threads)
        eventually(lambda: is_whole(server, 1), "it is interrupted, and its thread replaced")
        assert client.response().status == 504
    assert server.supervisor.lost_threads == 0
    eventually(lambda: sessions(database, "AND state LIKE 'idle in transaction%%'") == 0, "no transaction is left")
    assert ask(server, "/write?row=kept") == 200
    assert rows(database) == {"kept"}
    eventually(lambda: interrupted.isdisjoint(t.ident for t in threading.enumerate()), "the old thread has ended")
    eventually(lambda: sessions(database) <= 1, "and taken its connection with it")


@pytest.mark.parametrize("wait", ["blocked", "query"])
def test_lost_thread_takes_only_its_own_connection(database: Database, serve: Serve, wait: str) -> None:
    """It holds its transaction until it comes back; nobody else gets that connection meanwhile or after."""
    server = serve(threads=1, request_timeout_s=0.3)
    server.supervisor = DeadlineSupervisor(server.reactor, grace_s=0.1)
    with Client(server.server_address[1]) as client:
        client.send(f"GET /write?row=lost&wait={wait} HTTP/1.1\r\nHost: testserver\r\n\r\n".encode())
        assert stuck.entered.acquire(timeout=DEADLINE_S)
        lost_session = set(stuck.sessions)

        def given_up() -> bool:
            server.supervisor.tick()
            return server.supervisor.lost_threads == 1

        eventually(given_up, "the thread is given up")
        assert client.response().status == 504
    assert [ask(server, f"/write?row={number}") for number in range(3)] == [200] * 3
    assert rows(database) == {"0", "1", "2"}
    stuck.lock.release()
    if wait == "query":
        assert value(database.wrappers[0], f"SELECT pg_cancel_backend({min(lost_session)})")
    eventually(lambda: is_whole(server, 1), "the lost thread ends when it can")
    eventually(lambda: sessions(database, "AND state LIKE 'idle in transaction%%'") == 0, "and its transaction, too")
    assert "lost" not in rows(database)
    if not database_is_pooled():
        its_session = f"AND pid = {lost_session.pop()}"
        eventually(lambda: sessions(database, its_session) == 0, "its connection is closed")
