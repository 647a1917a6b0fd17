"""Statements and waits for connections, on real PostgreSQL, MariaDB and SQLite, with engines of Django's and ours."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.utils import load_backend

from django_wsgiperf.metrics import instruments, instruments_database
from django_wsgiperf.metrics.record import MAX_STATEMENTS, Record, current
from tests.db.databases import Database
from tests.db.sites import site

from .conftest import URLS, measuring
from .site import ask_database, hooks

POOL = "django_wsgiperf.middleware.ConnectionPoolMiddleware"


@pytest.fixture
def installed() -> Iterator[None]:
    instruments.install()
    yield
    instruments.uninstall()


@contextlib.contextmanager
def recorded() -> Iterator[Record]:
    """Code that runs for a request."""
    record = Record("GET")
    token = current.set(record)
    try:
        yield record
    finally:
        current.reset(token)


class TestStatements:
    def test_are_counted_and_timed(self, database: Database) -> None:
        with measuring() as measured:
            record = measured.record("/queries/3/")
        use = record.db["default"]
        assert (use.queries, use.errors) == (3, 0)
        assert use.execute_ns > 0
        # SQLite's driver does not know how many rows a SELECT has.
        assert (use.rows, use.uncounted) == ((0, 3) if database.engine == "sqlite3" else (3, 0))
        assert [text for kind, _, _, text in record.spans if kind == "db"] == ["SELECT ? + %s"] * 3

    def test_that_fail_are_counted_as_errors(self, database: Database) -> None:
        with measuring() as measured:
            record = measured.record("/broken-query/")
        use = record.db["default"]
        assert (use.queries, use.errors) == (1, 1)
        assert record.current_sql == ""

    def test_rows_changed_and_many_at_once(self, database: Database) -> None:
        def change() -> None:
            with connection.cursor() as cursor:
                cursor.execute("CREATE TEMPORARY TABLE numbers (n integer)")
                cursor.executemany("INSERT INTO numbers VALUES (%s)", [(1,), (2,), (3,)])
                cursor.execute("UPDATE numbers SET n = n + 1")

        hooks["view"] = change
        with measuring() as measured:
            use = measured.record("/hooked/").db["default"]
        assert (use.queries, use.rows, use.uncounted) == (3, 6, 0)

    def test_statement_of_now_is_seen_while_it_runs(self, database: Database) -> None:
        seen: list[str] = []

        def look(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
            record = current.get()
            assert record is not None
            seen.append(record.current_sql)
            return execute(sql, params, many, context)

        def ask() -> None:
            with connection.execute_wrapper(look):
                ask_database()

        hooks["view"] = ask
        with measuring() as measured:
            measured.ask("/hooked/")
        assert seen == ["SELECT ? + %s"]

    def test_no_parameter_and_no_value_is_kept(self, database: Database) -> None:
        def ask() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s, 'confidential' /* hidden */, 4711", ["classified"])

        hooks["view"] = ask
        with measuring() as measured:
            record = measured.record("/hooked/")
        kept = repr([[text for *_, text in record.spans], list(record.queries), record.current_sql])
        assert "SELECT %s, ? , ?" in kept
        assert not any(word in kept for word in ("confidential", "hidden", "4711", "classified"))

    def test_repeated_ones_have_a_call_site_once_there_are_enough(self, database: Database) -> None:
        with measuring(metrics={"N_PLUS_ONE_QUERIES": 4}) as measured:
            few, many = measured.record("/queries/3/"), measured.record("/queries/4/")
        assert few.queries["SELECT ? + %s"][0::2] == [3, ""]
        count, duration_ns, at = many.queries["SELECT ? + %s"]
        assert count == 4
        assert duration_ns > 0
        assert at.startswith("tests/metrics/requests/site.py:")
        assert at.endswith(" in ask_database")

    def test_spans_are_bounded_and_counts_are_not(self, database: Database) -> None:
        with measuring(metrics={"MAX_SPANS": 2, "GC_TIMING": False}) as measured:
            record = measured.record("/queries/10/")
        assert sum(kind in ("db", "pool") for kind, *_ in record.spans) == 2
        assert record.spans_dropped >= 8
        assert record.db["default"].queries == 10

    def test_different_ones_are_bounded_and_counts_are_not(self, sqlite: Database) -> None:
        def ask() -> None:
            with connection.cursor() as cursor:
                for number in range(MAX_STATEMENTS + 100):
                    cursor.execute(f"SELECT NULL AS a{number}")

        hooks["view"] = ask
        with measuring() as measured:
            record = measured.record("/hooked/")
        assert record.db["default"].queries == MAX_STATEMENTS + 100
        assert len(record.queries) == MAX_STATEMENTS

    def test_procedures(self, postgres: Database) -> None:
        def call() -> None:
            with connection.cursor() as cursor:
                cursor.execute("CREATE FUNCTION pg_temp.two() RETURNS integer AS 'SELECT 2' LANGUAGE sql")
                cursor.callproc("pg_temp.two")

        hooks["view"] = call
        # psycopg 3 has no callproc(): what counts is that it was called, and that the error is the project's.
        with site(postgres, URLS, middleware=()), measuring() as measured:
            record = measured.record("/hooked/")
        assert "CALL pg_temp.two" in record.queries
        assert record.db["default"].queries == 2

    def test_procedures_of_mariadb(self, mysql: Database) -> None:
        def call() -> None:
            with connection.cursor() as cursor:
                cursor.execute("CREATE OR REPLACE PROCEDURE timed_two() SELECT 2")
                cursor.callproc("timed_two")
                cursor.fetchall()
                cursor.nextset()
                cursor.execute("DROP PROCEDURE timed_two")

        hooks["view"] = call
        with site(mysql, URLS, middleware=()), measuring() as measured:
            record = measured.record("/hooked/")
        assert (record.status, record.db["default"].queries, record.db["default"].errors) == (200, 3, 0)

    def test_in_a_transaction_its_own_statements_are_no_others(self, database: Database) -> None:
        def ask() -> None:
            with transaction.atomic(), transaction.atomic():
                ask_database()

        hooks["view"] = ask
        with measuring() as measured:
            record = measured.record("/hooked/")
        assert "SELECT ? + %s" in record.queries
        assert record.db["default"].errors == 0


class TestWaits:
    @pytest.mark.parametrize("stock", [True, False])
    def test_a_connection_that_is_opened_or_lent_was_waited_for(self, postgres: Database, stock: bool) -> None:
        middleware = () if stock else (POOL,)
        with (
            site(postgres, URLS, middleware=(), **({"stock": True} if stock else {})),
            measuring(middleware=("django_wsgiperf.middleware.RequestTimingMiddleware", *middleware)) as measured,
        ):
            first = measured.record("/queries/1/")
            nothing = measured.record("/plain/")
        assert first.db["default"].wait_ns > 0
        assert [text for kind, _, _, text in first.spans if kind == "pool"] == ["default"]
        assert nothing.db == {}

    def test_of_djangos_own_pool(self, postgres: Database) -> None:
        options = {"pool": {"min_size": 1, "max_size": 2}}
        with site(postgres, URLS, middleware=(), stock=True, OPTIONS=options), measuring() as measured:
            try:
                records = [measured.record("/queries/1/") for _ in range(2)]
            finally:
                connection.close()
                connection.close_pool()  # type: ignore[attr-defined]
        assert all(record.db["default"].wait_ns > 0 for record in records)

    def test_waiting_for_a_pool_is_no_time_of_the_database(self, sqlite: Database) -> None:
        with site(sqlite, URLS, middleware=()), measuring() as measured:
            record = measured.record("/queries/1/")
        use = record.db["default"]
        assert record.pool_wait_ns == use.wait_ns > 0
        assert record.accounted_ns == use.wait_ns + use.execute_ns + record.gc_ns

    def test_a_connection_that_cannot_be_had_was_waited_for_too(self, postgres: Database) -> None:
        with site(postgres, URLS, middleware=(), stock=True, NAME="no_such_database"), measuring() as measured:
            record = measured.record("/queries/1/")
        assert record.exception == "django.db.utils.OperationalError"
        assert record.db["default"].wait_ns > 0
        assert record.db["default"].queries == 0


class TestHooks:
    def test_a_users_own_wrapper_is_left_alone(self, sqlite: Database, installed: None) -> None:
        """Django takes the last wrapper off at the end of `with`, whoever's it is."""

        statements: list[str] = []

        def users(execute: Any, sql: str, *args: Any) -> Any:
            statements.append(sql)
            return execute(sql, *args)

        with site(sqlite, URLS, middleware=()):
            wrapper = connection._connections[connection._alias]  # type: ignore[attr-defined]
            with wrapper.execute_wrapper(users), recorded() as record:
                ask_database()
                assert wrapper.execute_wrappers == [users]
            assert wrapper.execute_wrappers == []
        assert (len(statements), record.db["default"].queries) == (1, 1)

    def test_are_put_on_a_connection_once(self, sqlite: Database, installed: None) -> None:
        with site(sqlite, URLS, middleware=()):
            for _ in range(3):
                ask_database()
                connection.close()
            wrapper = connections["default"]
            timed = vars(wrapper)["connect"]
            instruments_database.watch(wrapper)
            assert vars(wrapper)["connect"] is timed

    def test_connections_made_elsewhere_are_timed_once_they_connect(self, sqlite: Database, installed: None) -> None:
        entry = sqlite.entry(stock=True)
        wrapper = load_backend(entry["ENGINE"]).DatabaseWrapper(entry, "elsewhere")
        wrapper.inc_thread_sharing()
        with recorded() as record, contextlib.closing(wrapper), wrapper.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert record.db["elsewhere"].queries == 1

    def test_each_thread_has_its_connection_timed(self, sqlite: Database) -> None:
        counts: list[int] = []

        def serve() -> None:
            record = measured.record("/queries/2/")
            counts.append(record.db["default"].queries)
            connections.close_all()

        with site(sqlite, URLS, middleware=()), measuring() as measured:
            threads = [threading.Thread(target=serve) for _ in range(4)]
            for thread in threads:
                thread.start()
                thread.join()
        assert counts == [2] * 4

    def test_taken_out_they_leave_nothing(self, sqlite: Database) -> None:
        before = BaseDatabaseWrapper.connect
        execute, call = CursorWrapper._execute_with_wrappers, CursorWrapper.callproc  # type: ignore[attr-defined]
        with site(sqlite, URLS, middleware=()):
            ask_database()
            instruments.install()
            instruments.install()
            wrapper = connections["default"]
            assert CursorWrapper._execute_with_wrappers is not execute  # type: ignore[attr-defined]
            instruments.uninstall()
            assert CursorWrapper._execute_with_wrappers is execute  # type: ignore[attr-defined]
            assert CursorWrapper.callproc is call
            assert "connect" not in vars(wrapper)
            assert not instruments.is_installed()
        assert BaseDatabaseWrapper.connect is before

    def test_outside_of_requests_nothing_is_kept(self, sqlite: Database, installed: None) -> None:
        with site(sqlite, URLS, middleware=()):
            with recorded() as record:
                pass
            ask_database(3)
        assert record.db == {}


def test_a_thread_beside_another_counts_and_adds_no_time(sqlite: Database, installed: None) -> None:
    inside, done = threading.Event(), threading.Event()

    def hold(execute: Any, *args: Any) -> Any:
        inside.set()
        assert done.wait(20)
        return execute(*args)

    def ask_slowly(record: Record) -> None:
        current.set(record)
        with connection.execute_wrapper(hold):
            ask_database()
        connection.close()

    with site(sqlite, URLS, middleware=()), recorded() as record:
        thread = threading.Thread(target=ask_slowly, args=(record,))
        thread.start()
        assert inside.wait(20)
        ask_database(3)
        assert record.db.get("default") is None or record.db["default"].queries == 0
        done.set()
        thread.join()
        record.end(record.began_ns + 10**12)
    assert record.db["default"].queries == 4
    assert record.queries["SELECT ? + %s"][0] == 4
