"""When a request gives its connection back, by each policy, and what keeps it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from django_wsgiperf.db import hold_connection, pin, registry
from django_wsgiperf.db.release import wrappers_here
from tests.db.databases import Database, in_thread, run, value
from tests.db.sites import Answer, ask_async, site

SERIES = {
    "postgresql": "SELECT generate_series(1, 300)",
    "mysql": "SELECT seq FROM seq_1_to_300",
    "sqlite3": "WITH RECURSIVE s(n) AS (SELECT 1 UNION SELECT n + 1 FROM s WHERE n < 300) SELECT n FROM s",
}
seen: dict[str, Any] = {}


def in_use() -> int:
    """Connections lent now."""
    used: int = sum(pool.snapshot()["db.client.connection.count"]["used"] for pool in registry.pools())
    return used


def labels() -> list[str]:
    return [holder.label for pool in registry.pools() for holder in pool.holders()]


def query(request: HttpRequest, secret: str = "") -> HttpResponse:
    seen["value"] = value(connection, "SELECT 1")
    seen["labels"] = labels()
    return HttpResponse("done")


def fails(request: HttpRequest, secret: str = "") -> HttpResponse:
    value(connection, "SELECT 1")
    raise ValueError("the view failed")


def chunks() -> Iterator[str]:
    seen["at start"] = in_use()
    for number in range(3):
        yield str(value(connection, f"SELECT {number}"))


def stream(request: HttpRequest) -> StreamingHttpResponse:
    value(connection, "SELECT 1")
    return StreamingHttpResponse(chunks())


def stream_rows(request: HttpRequest) -> StreamingHttpResponse:
    def rows() -> Iterator[str]:
        with connection.chunked_cursor() as cursor:
            cursor.execute(SERIES[seen["engine"]])
            for (number,) in cursor:
                yield f"{number} "

    return StreamingHttpResponse(rows())


def stream_session(request: HttpRequest) -> StreamingHttpResponse:
    run(connection, "SET statement_timeout = 77000")

    def rest() -> Iterator[str]:
        yield value(connection, "SHOW statement_timeout")

    return StreamingHttpResponse(rest())


@hold_connection
def held(request: HttpRequest) -> StreamingHttpResponse:
    return stream_session(request)


@method_decorator(hold_connection, name="dispatch")
class Held(View):
    def get(self, request: HttpRequest) -> StreamingHttpResponse:
        return stream_session(request)


def in_file(request: HttpRequest) -> FileResponse:
    value(connection, "SELECT 1")
    return FileResponse(open(__file__, "rb"))


def left_in_transaction(request: HttpRequest) -> HttpResponse:
    seen["atomic"] = transaction.atomic()
    seen["atomic"].__enter__()
    value(connection, "SELECT 1")
    return HttpResponse("")


def left_pinned(request: HttpRequest) -> HttpResponse:
    seen["pin"] = pin()
    seen["pin"].__enter__()
    value(connection, "SELECT 1")
    return HttpResponse("")


def left_cursor(request: HttpRequest) -> HttpResponse:
    seen["cursor"] = connection.cursor()
    seen["cursor"].execute("SELECT 1")
    return HttpResponse("")


def shared(request: HttpRequest) -> HttpResponse:
    value(connection, "SELECT 1")
    connections["default"].inc_thread_sharing()
    return HttpResponse("")


def atomic(request: HttpRequest) -> HttpResponse:
    value(connection, "SELECT 1")
    seen["atomic"] = connection.in_atomic_block
    return HttpResponse("done")


async def query_async(request: HttpRequest, secret: str = "") -> HttpResponse:
    seen["value"] = await sync_to_async(value)(connection, "SELECT 1")
    seen["used"] = in_use()
    seen["labels"] = labels()
    return HttpResponse("done")


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(3):
            seen.setdefault("used", []).append(in_use())
            yield str(await sync_to_async(value)(connection, f"SELECT {number}"))

    return StreamingHttpResponse(numbers())


urlpatterns = (
    [path(f"{view.__name__}/<slug:secret>/", view, name=view.__name__) for view in (query, fails, query_async)]
    + [
        path(f"{view.__name__}/", view, name=f"plain_{view.__name__}")
        for view in (
            *(query, stream, stream_rows, stream_session, held, in_file, stream_async),
            *(left_in_transaction, left_pinned, left_cursor, shared),
        )
    ]
    + [path("held_class/", Held.as_view()), path("atomic/", atomic)]
)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


class ReleaseContract:
    """RELEASE "response", the default, on each database."""

    @pytest.fixture
    def served(self, database: Database) -> Iterator[Database]:
        seen["engine"] = database.engine
        with site(database, __name__):
            yield database

    def test_connection_is_back_before_the_body_is_sent(self, served: Database) -> None:
        def request() -> None:
            answer = Answer("/query/secret/")
            assert answer.status == "200 OK"
            assert seen["value"] == 1
            assert in_use() == 0
            assert answer.read() == b"done"

        in_thread(request)

    def test_connection_of_a_failed_view_is_back(self, served: Database) -> None:
        def request() -> None:
            answer = Answer("/fails/secret/")
            assert answer.status.startswith("500")
            assert in_use() == 0
            answer.read()

        logging.disable(logging.CRITICAL)
        try:
            in_thread(request)
        finally:
            logging.disable(logging.NOTSET)

    def test_holder_is_named_by_its_route_and_not_by_its_path(self, served: Database) -> None:
        in_thread(lambda: Answer("/query/token-4711/").read())
        assert seen["labels"] == ["GET query"]

    def test_streamed_body_has_a_connection_only_while_it_makes_a_chunk(self, served: Database) -> None:
        def request() -> None:
            answer = Answer("/stream/")
            received = []
            for chunk in answer.chunks:
                assert in_use() == 0
                received.append(chunk)
            answer.close()
            assert received == [b"0", b"1", b"2"]
            assert seen["at start"] == 0

        in_thread(request)

    def test_open_cursor_of_a_streamed_body_keeps_its_connection(self, served: Database) -> None:
        def request() -> None:
            answer = Answer("/stream_rows/")
            received = [next(answer.chunks)]
            assert in_use() == 1
            received.extend(answer.chunks)
            assert b"".join(received).split() == [str(number).encode() for number in range(1, 301)]
            assert in_use() == 0
            answer.close()

        in_thread(request)

    def test_body_that_nobody_reads_to_its_end_gives_its_connection_back(self, served: Database) -> None:
        def request() -> None:
            answer = Answer("/stream_rows/")
            next(answer.chunks)
            assert in_use() == 1
            answer.close()
            assert in_use() == 0

        in_thread(request)

    @pytest.mark.parametrize("name", ["left_in_transaction", "left_pinned", "left_cursor", "shared"])
    def test_connection_in_use_beyond_the_view_is_kept(self, served: Database, name: str) -> None:
        def request() -> None:
            answer = Answer(f"/{name}/")
            assert in_use() == 1
            if name == "left_in_transaction":
                assert value(connection, "SELECT 1") == 1
                seen["atomic"].__exit__(None, None, None)
            elif name == "left_pinned":
                seen["pin"].__exit__(None, None, None)
            elif name == "left_cursor":
                assert seen["cursor"].fetchone() == (1,)
                seen["cursor"].close()
            else:
                connections["default"].dec_thread_sharing()
            answer.read()
            assert in_use() == 0

        in_thread(request)

    def test_file_is_sent_by_the_servers_own_means(self, served: Database) -> None:
        def request() -> None:
            answer = Answer("/in_file/")
            assert in_use() == 0
            assert b"def in_file" in answer.read()

        in_thread(request)

    def test_asynchronous_view_gives_its_connection_back(self, served: Database) -> None:
        messages = asyncio.run(ask_async("/query_async/secret/"))
        assert messages[0]["status"] == 200
        assert seen["used"] == 1
        assert seen["labels"] == ["GET query_async"]
        assert in_use() == 0

    def test_asynchronous_body_has_a_connection_only_while_it_makes_a_chunk(self, served: Database) -> None:
        messages = asyncio.run(ask_async("/stream_async/"))
        assert b"".join(message.get("body", b"") for message in messages) == b"012"
        assert seen["used"] == [0, 0, 0]
        assert in_use() == 0

    def test_synchronous_view_under_asgi_gives_its_connection_back(self, served: Database) -> None:
        asyncio.run(ask_async("/query/secret/"))
        assert seen["labels"] == ["GET query"]
        assert in_use() == 0

    def test_asynchronous_view_under_wsgi_gives_its_connection_back(self, served: Database) -> None:
        in_thread(lambda: Answer("/query_async/secret/").read())
        assert seen["used"] == 1
        assert in_use() == 0

    def test_atomic_requests_hold_it_for_the_view_alone(self, database: Database) -> None:
        def request() -> None:
            answer = Answer("/atomic/")
            assert seen["atomic"] is True
            assert in_use() == 0
            answer.read()

        with site(database, __name__, ATOMIC_REQUESTS=True):
            in_thread(request)

    def test_without_the_middleware_it_is_djangos_own_point(self, database: Database) -> None:
        def request() -> None:
            answer = Answer("/query/")
            assert in_use() == 1
            answer.read()
            assert in_use() == 0

        with site(database, __name__, middleware=()):
            in_thread(request)

    def test_release_request_is_djangos_own_point(self, database: Database) -> None:
        def request() -> None:
            answer = Answer("/query/")
            assert in_use() == 1
            answer.read()
            assert in_use() == 0

        with site(database, __name__, pool={"RELEASE": "request"}):
            in_thread(request)


class TestPostgreSQL(ReleaseContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres

    def test_session_set_for_a_streamed_body_is_lost_with_a_warning(
        self, served: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert in_thread(lambda: Answer("/stream_session/").read()) == b"0"
        assert "hold_connection" in caplog.text
        assert "GET plain_stream_session" in caplog.text
        caplog.clear()
        in_thread(lambda: Answer("/stream_session/").read())
        assert caplog.text == "", "once is enough"

    @pytest.mark.parametrize("path", ["/held/", "/held_class/"])
    def test_view_that_holds_keeps_its_session_through_the_body(
        self, served: Database, path: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert in_thread(lambda: Answer(path).read()) == b"77s"
        assert in_use() == 0
        assert caplog.text == ""


class TestMariaDB(ReleaseContract):
    @pytest.fixture
    def database(self, mysql: Database) -> Database:
        return mysql


class TestSQLite(ReleaseContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite

    def test_wrappers_of_a_thread_are_those_that_it_has_used(
        self, served: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def used_here() -> None:
            assert wrappers_here() == []
            mine = connections["default"]
            assert wrappers_here() == connections.all(initialized_only=True) == [mine]
            in_thread(lambda: seen.update(elsewhere=wrappers_here()))
            assert seen["elsewhere"] == []
            # Where a release of asgiref keeps them in another way.
            monkeypatch.setattr(connections, "_connections", SimpleNamespace(default=mine))
            assert wrappers_here() == [mine]
            monkeypatch.undo()

        in_thread(used_here)

    def test_wrappers_of_a_thread_with_an_event_loop_are_those_of_its_task(self, served: Database) -> None:
        async def task() -> Any:
            mine = connections["default"]
            assert wrappers_here() == [mine]
            return mine

        def used_here() -> None:
            outside = connections["default"]
            assert asyncio.run(task()) is not outside
            assert wrappers_here() == [outside]

        in_thread(used_here)


class TransactionPolicyContract:
    """RELEASE "transaction"."""

    @pytest.fixture
    def served(self, database: Database) -> Iterator[Database]:
        with site(database, __name__, pool={"RELEASE": "transaction", "MAX_SIZE": 2}):
            yield database

    def check(self, function: Callable[[], object]) -> None:
        def call() -> None:
            function()
            connection.close()

        in_thread(call)

    def test_connection_is_back_after_each_statement(self, served: Database) -> None:
        def work() -> None:
            assert value(connection, "SELECT 1") == 1
            assert in_use() == 0

        self.check(work)

    def test_connection_is_back_when_the_outermost_transaction_ends(self, served: Database) -> None:
        def work() -> None:
            with transaction.atomic():
                value(connection, "SELECT 1")
                assert in_use() == 1
                with transaction.atomic():
                    value(connection, "SELECT 1")
                assert in_use() == 1
            assert in_use() == 0
            with pytest.raises(ZeroDivisionError):
                self.fail_in_transaction()
            assert in_use() == 0

        self.check(work)

    def fail_in_transaction(self) -> None:
        with transaction.atomic():
            value(connection, "SELECT 1")
            raise ZeroDivisionError

    def test_what_runs_on_commit_may_query(self, served: Database) -> None:
        ran = []

        def work() -> None:
            with transaction.atomic():
                transaction.on_commit(lambda: ran.append(value(connection, "SELECT 5")))
            assert ran == [5]
            assert in_use() == 0

        self.check(work)

    def test_hook_that_raises_does_not_keep_the_connection(self, served: Database) -> None:
        def work() -> None:
            with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012  # It is raised at the end.
                transaction.on_commit(lambda: 1 / 0)
                value(connection, "SELECT 5")
            assert in_use() == 0

        self.check(work)

    def test_pin_keeps_the_connection_and_its_session(self, served: Database) -> None:
        def work() -> None:
            with pin():
                raw = None
                for _ in range(3):
                    value(connection, "SELECT 1")
                    assert in_use() == 1
                    raw = raw or connection.connection
                    assert connection.connection is raw
                with pin():
                    pass
                assert in_use() == 1
            assert in_use() == 0

        self.check(work)

    def test_open_cursor_keeps_the_connection(self, served: Database) -> None:
        def work() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                assert in_use() == 1
                assert cursor.fetchone() == (1,)
                cursor.execute("SELECT 2")
                assert cursor.fetchone() == (2,)
            assert in_use() == 0

        self.check(work)

    def test_signal_receiver_that_queries_does_not_take_the_connection_away(self, served: Database) -> None:
        from django.db.backends.signals import connection_created

        def receive(*, connection: Any, **_: object) -> None:
            value(connection, "SELECT 1")

        connection_created.connect(receive)
        try:
            self.check(lambda: value(connection, "SELECT 2"))
        finally:
            connection_created.disconnect(receive)

    def test_session_state_outside_of_pin_is_warned_of(
        self, served: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        sets = {
            "postgresql": "SET statement_timeout = 5000",
            "mysql": "SET @x = 1",
            "sqlite3": "PRAGMA cache_size = 100",
        }[served.engine]

        def pinned() -> None:
            with pin():
                run(connection, sets)
            with transaction.atomic():
                run(connection, sets)

        self.check(pinned)
        assert caplog.text == ""
        self.check(lambda: run(connection, sets))
        assert 'RELEASE "transaction" does not keep' in caplog.text
        assert "pin('default')" in caplog.text

    def test_session_without_checks_of_foreign_keys_is_kept_until_they_are_on_again(
        self, served: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        """On PostgreSQL they cannot be turned off, so nothing is kept."""
        can = {"postgresql": False, "mysql": True, "sqlite3": True}[served.engine]

        def work() -> None:
            assert connection.disable_constraint_checking() is can
            assert in_use() == int(can)
            value(connection, "SELECT 1")
            with transaction.atomic():
                value(connection, "SELECT 2")
            assert in_use() == int(can)
            connection.enable_constraint_checking()
            assert in_use() == 0
            # Whoever closes it has nothing more to keep.
            connection.disable_constraint_checking()
            connection.close()
            value(connection, "SELECT 3")
            assert in_use() == 0

        self.check(work)
        assert caplog.text == ""

    def test_manual_transactions_keep_the_connection(self, served: Database) -> None:
        def work() -> None:
            connection.set_autocommit(False)
            value(connection, "SELECT 1")
            assert in_use() == 1
            connection.rollback()
            connection.set_autocommit(True)
            assert in_use() == 0

        self.check(work)


class TestPostgreSQLTransactionPolicy(TransactionPolicyContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres


class TestMariaDBTransactionPolicy(TransactionPolicyContract):
    @pytest.fixture
    def database(self, mysql: Database) -> Database:
        return mysql


class TestSQLiteTransactionPolicy(TransactionPolicyContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite
