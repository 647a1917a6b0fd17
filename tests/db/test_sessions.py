"""Nothing leaks from one holder of a connection to the next, and what that costs in round trips."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from django_wsgiperf.db import registry
from tests.db.databases import Database, in_thread, run, value
from tests.db.proxy import Proxy, proxy_to

Use = Callable[[Any], object]
#: Named locks belong to the whole server, which other runs may use, too.
LOCK = f"left over {os.getpid()}"


def after(database: Database, use: Use, look: Use, **pool: Any) -> Any:
    """What `look` finds on the connection that `use` had before, in another thread."""
    options = {"MAX_SIZE": 1, **pool}

    def first() -> None:
        wrapper = database.wrapper(pool=options)
        use(wrapper)
        wrapper.close()

    def second() -> Any:
        wrapper = database.wrapper(pool=options)
        try:
            return look(wrapper)
        finally:
            wrapper.close()

    in_thread(first)
    return in_thread(second)


def before(database: Database, look: Use) -> Any:
    """What `look` finds without a pool."""
    wrapper = database.wrapper(stock=True)
    try:
        return look(wrapper)
    finally:
        wrapper.close()


def asks(sql: str) -> Use:
    return lambda wrapper: value(wrapper, sql)


def does(*statements: str) -> Use:
    return lambda wrapper: run(wrapper, *statements)


def closed() -> dict[str, int]:
    """The reasons for which the one pool has closed connections."""
    (pool,) = registry.pools()
    reasons: dict[str, int] = pool.snapshot()["closed"]
    return reasons


def resets() -> dict[str, int]:
    (pool,) = registry.pools()
    kinds: dict[str, int] = pool.snapshot()["resets"]
    return kinds


SETS_TIMEOUT = "SELECT set_config('statement_timeout', '123', false)"


def copied(wrapper: Any, statement: str) -> list[Any]:
    with wrapper.cursor() as cursor, cursor.copy(statement) as rows:
        return list(rows)


def on_drivers_own(wrapper: Any, statement: str) -> None:
    """Past Django's cursors, as the documentation says it is done."""
    with wrapper.pinned():
        wrapper.ensure_connection()
        wrapper.connection.cursor().execute(statement)


def given_as_values(wrapper: Any) -> None:
    """As the ORM calls a function: what it is called with is not in the text."""
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, %s)", ["statement_timeout", "123", "false"])


def notified(wrapper: Any) -> int:
    """How many notifications there are."""
    wrapper.ensure_connection()
    return len(list(wrapper.connection.notifies(timeout=0)))


@pytest.mark.parametrize("reset", ["auto", "hard"])
@pytest.mark.parametrize(
    ("use", "look"),
    [
        (does("SET search_path TO pg_catalog"), asks("SHOW search_path")),
        (does("SET statement_timeout = 123"), asks("SHOW statement_timeout")),
        (does("SET TIME ZONE 'Asia/Tokyo'"), asks("SHOW TimeZone")),
        (does("SET ROLE pg_monitor"), asks("SELECT current_user")),
        (does("SET SESSION AUTHORIZATION pg_monitor"), asks("SELECT session_user")),
        (does("SET default_transaction_isolation = serializable"), asks("SHOW transaction_isolation")),
        (does("SET app.tenant = 'one'"), asks("SELECT current_setting('app.tenant', true)")),
        (does("SELECT set_config('app.tenant', 'one', false)"), asks("SELECT current_setting('app.tenant', true)")),
        (does("CREATE TEMP TABLE left_over (n int)"), asks("SELECT to_regclass('left_over')")),
        (does("PREPARE left_over AS SELECT 1"), asks("SELECT COUNT(*) FROM pg_prepared_statements")),
        (does("LISTEN left_over"), asks("SELECT COUNT(*) FROM pg_listening_channels()")),
        (does("SELECT pg_advisory_lock(7)"), asks("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory'")),
        (does("DECLARE left_over CURSOR WITH HOLD FOR SELECT 1"), asks("SELECT COUNT(*) FROM pg_cursors")),
        (lambda wrapper: list(wrapper.cursor().stream(SETS_TIMEOUT)), asks("SHOW statement_timeout")),
        (lambda wrapper: copied(wrapper, f"COPY ({SETS_TIMEOUT}) TO STDOUT"), asks("SHOW statement_timeout")),
        (lambda wrapper: on_drivers_own(wrapper, "SET statement_timeout = 123"), asks("SHOW statement_timeout")),
        (does("LISTEN left_over", "NOTIFY left_over"), lambda wrapper: notified(wrapper)),
        (does("CREATE TEMP SEQUENCE left_over"), asks("SELECT to_regclass('left_over')")),
        (does("BEGIN", "SET statement_timeout = 123", "COMMIT"), asks("SHOW statement_timeout")),
        (lambda wrapper: given_as_values(wrapper), asks("SHOW statement_timeout")),
    ],
)
def test_postgresql_session_is_as_new(postgres: Database, use: Use, look: Use, reset: str) -> None:
    # What was never set is empty after the reset, and unknown before it: that is the server's way.
    assert (after(postgres, use, look, RESET=reset) or None) == (before(postgres, look) or None)
    assert closed() == {}
    assert resets()["hard"] >= 1


@pytest.mark.parametrize("reset", ["auto", "hard"])
@pytest.mark.parametrize(
    ("use", "look"),
    [
        (does("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"), asks("SELECT @@tx_isolation")),
        (does("SET sql_mode = ''"), asks("SELECT @@sql_mode")),
        (does("SET time_zone = '+09:00'"), asks("SELECT @@time_zone")),
        (does("SET NAMES latin1"), asks("SELECT @@character_set_client")),
        (does("SET NAMES latin1"), asks("SELECT @@collation_connection")),
        (does("SET foreign_key_checks = 0"), asks("SELECT @@foreign_key_checks")),
        (does("SET @left_over = 5"), asks("SELECT @left_over")),
        (does("USE information_schema"), asks("SELECT DATABASE()")),
        (does(f"SELECT GET_LOCK('{LOCK}', 1)"), asks(f"SELECT IS_FREE_LOCK('{LOCK}')")),
        (does("PREPARE left_over FROM 'SELECT 1'"), lambda wrapper: _fails(wrapper, "EXECUTE left_over")),
        (
            does("CREATE TEMPORARY TABLE left_over (n int)"),
            lambda wrapper: _fails(wrapper, "SELECT * FROM left_over"),
        ),
        (does("START TRANSACTION"), asks("SELECT @@in_transaction")),
        (lambda wrapper: on_drivers_own(wrapper, "SET @left_over = 5"), asks("SELECT @left_over")),
        (does("SET STATEMENT max_statement_time = 7 FOR SELECT 1"), asks("SELECT @@max_statement_time")),
        (does("EXECUTE IMMEDIATE 'SET @left_over = 4'"), asks("SELECT @left_over")),
        (does("XA START 'left_over'"), asks("SELECT @@in_transaction")),
    ],
)
def test_mariadb_session_is_as_new(mysql: Database, use: Use, look: Use, reset: str) -> None:
    assert after(mysql, use, look, RESET=reset) == before(mysql, look)
    assert closed() == {}
    assert resets()["hard"] >= 1


@pytest.mark.parametrize(
    ("lock", "is_blocked"),
    [
        ("BACKUP LOCK guarded", "ALTER TABLE guarded COMMENT = 'changed'"),
        ("LOCK TABLES guarded WRITE", "INSERT INTO guarded VALUES (1)"),
        ("FLUSH TABLES guarded WITH READ LOCK", "INSERT INTO guarded VALUES (1)"),
        ("FLUSH TABLES guarded FOR EXPORT", "INSERT INTO guarded VALUES (1)"),
        ("HANDLER guarded OPEN", "ALTER TABLE guarded COMMENT = 'changed'"),
    ],
)
def test_mariadb_lock_of_a_session_ends_with_its_use(mysql: Database, lock: str, is_blocked: str) -> None:
    other = mysql.wrapper(stock=True)
    run(other, "CREATE TABLE guarded (n int)", "SET lock_wait_timeout = 1")
    try:
        after(mysql, does(lock), lambda wrapper: wrapper.ensure_connection())
        assert closed() == {}
        assert resets() == {"hard": 1}
        run(other, is_blocked)
    finally:
        registry.close_all()
        run(other, "DROP TABLE guarded")
        other.close()


@pytest.mark.parametrize("reset", ["auto", "hard"])
def test_mariadb_role_ends_with_its_connection(mysql: Database, reset: str) -> None:
    role = f"clerk_{os.getpid()}"
    owner = mysql.wrapper(stock=True)
    run(owner, f"CREATE ROLE {role}")
    try:
        assert after(mysql, does(f"SET ROLE {role}"), asks("SELECT CURRENT_ROLE()"), RESET=reset) is None
        assert closed() == {"altered": 1}
    finally:
        run(owner, f"DROP ROLE {role}")
        owner.close()


@pytest.mark.parametrize("reset", ["auto", "hard"])
def test_postgresql_library_ends_with_its_connection(postgres: Database, reset: str) -> None:
    loaded = asks("SELECT COUNT(*) FROM pg_settings WHERE name LIKE 'auto_explain.%'")
    assert after(postgres, does("LOAD 'auto_explain'"), loaded, RESET=reset) == 0
    assert closed() == {"altered": 1}


def test_psycopg_forgets_prepared_statements_with_each_reset(postgres: Database) -> None:
    options = {"server_side_binding": True, "prepare_threshold": 1}
    wrapper = postgres.wrapper(pool={"MAX_SIZE": 1}, OPTIONS=options)
    # The first reset finds nothing prepared.
    run(wrapper, "SET statement_timeout = 123")
    wrapper.close()
    for _ in range(2):
        assert [value(wrapper, "SELECT 5 WHERE %s = 1", [1]) for _ in range(3)] == [5, 5, 5]
        run(wrapper, "SET statement_timeout = 123")
        wrapper.close()
    assert resets() == {"hard": 3}
    assert closed() == {}


def test_postgresql_what_a_function_does_inside_is_undone_by_hard(postgres: Database) -> None:
    locks = asks("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    hidden = does(
        "CREATE OR REPLACE FUNCTION hidden() RETURNS int AS "
        "'BEGIN PERFORM set_config(''statement_timeout'', ''77'', false), pg_advisory_lock(7); RETURN 1; END' "
        "LANGUAGE plpgsql"
    )
    after(postgres, hidden, lambda wrapper: None)
    calls = does("SELECT hidden()")
    assert after(postgres, calls, asks("SHOW statement_timeout"), RESET="auto") == "77ms", "as the page says"
    registry.close_all()
    assert after(postgres, calls, asks("SHOW statement_timeout"), RESET="hard") == "0"
    registry.close_all()
    assert after(postgres, calls, locks, RESET="hard") == 0


def _fails(wrapper: Any, sql: str) -> str:
    try:
        run(wrapper, sql)
    except Exception as error:
        return type(error).__name__
    return "works"


@pytest.mark.parametrize("reset", ["auto", "hard"])
@pytest.mark.parametrize(
    ("use", "look"),
    [
        (does("PRAGMA foreign_keys = OFF"), asks("PRAGMA foreign_keys")),
        (does("PRAGMA cache_size = 77"), asks("PRAGMA cache_size")),
        (lambda wrapper: wrapper.cursor().executescript("PRAGMA cache_size = 77"), asks("PRAGMA cache_size")),
        (lambda wrapper: on_drivers_own(wrapper, "PRAGMA cache_size = 77"), asks("PRAGMA cache_size")),
        (does("ATTACH ':memory:' AS left_over"), asks("SELECT COUNT(*) FROM pragma_database_list")),
        (does("CREATE TEMP TABLE left_over (n int)"), asks("SELECT COUNT(*) FROM sqlite_temp_master")),
    ],
)
def test_sqlite_session_is_as_new(sqlite: Database, use: Use, look: Use, reset: str) -> None:
    assert after(sqlite, use, look, RESET=reset) == before(sqlite, look)
    assert closed()["dirty"] >= 1


def test_reset_rollback_leaves_the_session_alone(postgres: Database) -> None:
    left = after(postgres, does("SET statement_timeout = 123"), asks("SHOW statement_timeout"), RESET="rollback")
    assert left == "123ms"


def test_hidden_change_is_seen_when_the_server_reports_it(postgres: Database) -> None:
    use = does(
        "CREATE OR REPLACE FUNCTION hidden() RETURNS int AS "
        "'BEGIN PERFORM set_config(''TimeZone'', ''Asia/Tokyo'', false); RETURN 1; END' LANGUAGE plpgsql",
        "SELECT hidden()",
    )
    assert after(postgres, use, asks("SHOW TimeZone")) == before(postgres, asks("SHOW TimeZone"))


class TransactionContract:
    """However a transaction was left, the next holder finds none."""

    @pytest.mark.parametrize("reset", ["auto", "hard", "rollback"])
    def test_transaction_begun_by_hand_is_rolled_back(self, database: Database, reset: str) -> None:
        wrapper = database.wrapper(pool={"MAX_SIZE": 1, "RESET": reset})
        run(wrapper, "CREATE TABLE things (n INTEGER)")
        try:
            run(wrapper, "BEGIN", "INSERT INTO things VALUES (1)")
            wrapper.close()
            assert value(wrapper, "SELECT COUNT(*) FROM things") == 0
        finally:
            run(wrapper, "DROP TABLE things")
            wrapper.close()

    def test_autocommit_is_as_the_settings_say(self, database: Database) -> None:
        after(database, lambda wrapper: wrapper.set_autocommit(False), lambda wrapper: None)
        assert after(database, lambda wrapper: None, lambda wrapper: wrapper.get_autocommit()) is True
        manual = database.wrapper(pool={"MAX_SIZE": 1}, AUTOCOMMIT=False)
        assert manual.get_autocommit() is False
        manual.close()
        assert after(database, lambda wrapper: None, lambda wrapper: wrapper.get_autocommit()) is True


class TestPostgreSQLTransactions(TransactionContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres


class TestMariaDBTransactions(TransactionContract):
    @pytest.fixture
    def database(self, mysql: Database) -> Database:
        return mysql


class TestSQLiteTransactions(TransactionContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


def test_return_that_is_interrupted_does_not_lend_the_connection_again(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = postgres.wrapper(pool={"MAX_SIZE": 1})
    run(wrapper, "SET statement_timeout = 123")
    adapter = wrapper.pool_of.adapter

    def interrupted(raw: Any, *, dirty: bool) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapter, "settle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wrapper.close()
    monkeypatch.undo()
    assert closed() == {"interrupted": 1}
    assert value(wrapper, "SHOW statement_timeout") == "0"
    wrapper.close()


# -- the driver's connection


def test_psycopg_connection_is_put_back(postgres: Database) -> None:
    def use(wrapper: Any) -> None:
        wrapper.ensure_connection()
        raw = wrapper.connection
        raw.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        raw.read_only = True
        raw.row_factory = dict_row
        raw.prepare_threshold = 1

    def look(wrapper: Any) -> Any:
        wrapper.ensure_connection()
        raw = wrapper.connection
        return raw.isolation_level, raw.read_only, raw.row_factory is dict_row, raw.prepare_threshold

    assert after(postgres, use, look) == (None, None, False, None)
    assert closed() == {}


def test_psycopg_connection_with_a_handler_is_closed(postgres: Database) -> None:
    def use(wrapper: Any) -> None:
        wrapper.ensure_connection()
        wrapper.connection.add_notice_handler(print)

    after(postgres, use, lambda wrapper: None)
    assert closed() == {"altered": 1}


def test_psycopg_pipeline_that_has_not_ended_goes_with_its_connection(postgres: Database) -> None:
    wrapper = postgres.wrapper(pool={"MAX_SIZE": 1})

    def rows() -> Iterator[Any]:
        with wrapper.connection.pipeline():
            yield wrapper.connection.execute("SELECT 1").fetchone()

    wrapper.ensure_connection()
    suspended = rows()
    assert next(suspended) == (1,)
    wrapper.close()
    assert closed() == {"altered": 1}
    assert value(wrapper, "SELECT 5") == 5
    wrapper.close()
    with contextlib.suppress(psycopg.Error):
        suspended.close()


def test_sqlite_connection_is_put_back(sqlite: Database) -> None:
    def use(wrapper: Any) -> None:
        wrapper.ensure_connection()
        wrapper.connection.row_factory = sqlite3.Row
        wrapper.connection.text_factory = bytes

    assert after(sqlite, use, asks("SELECT 'text'")) == "text"


def test_what_connecting_sets_on_a_wrapper_is_set_on_each_borrower(
    postgres: Database, mysql: Database, sqlite: Database
) -> None:
    level = {"isolation_level": psycopg.IsolationLevel.SERIALIZABLE}
    for database, options, attribute, expected in (
        (postgres, level, "isolation_level", psycopg.IsolationLevel.SERIALIZABLE),
        (mysql, {"isolation_level": "repeatable read"}, "isolation_level", "repeatable read"),
        (sqlite, {"transaction_mode": "IMMEDIATE"}, "transaction_mode", "IMMEDIATE"),
    ):
        for _ in range(2):

            def borrow(database: Database = database, options: Any = options, attribute: str = attribute) -> Any:
                wrapper = database.wrapper(OPTIONS=options)
                wrapper.ensure_connection()
                found = getattr(wrapper, attribute)
                wrapper.close()
                return found

            assert in_thread(borrow) == expected
    assert [pool.snapshot()["created"] for pool in registry.pools()] == [1, 1, 1]


# -- cursors that are open when the connection goes back


def test_postgresql_cursor_left_open_on_the_server_ends_with_its_connection(postgres: Database) -> None:
    wrapper = postgres.wrapper(pool={"MAX_SIZE": 1})
    cursor = wrapper.chunked_cursor()
    cursor.execute("SELECT generate_series(1, 1000)")
    assert cursor.fetchone() == (1,)
    wrapper.close()
    assert closed() == {"open cursor": 1}
    assert value(wrapper, "SELECT COUNT(*) FROM pg_cursors") == 0
    with contextlib.suppress(psycopg.Error):
        cursor.cursor.close()


def test_collected_cursor_that_nobody_closed_ends_with_its_connection(postgres: Database) -> None:
    wrapper = postgres.wrapper(pool={"MAX_SIZE": 1})
    cursor = wrapper.chunked_cursor()
    cursor.execute("SELECT generate_series(1, 1000)")
    with pytest.warns(ResourceWarning):
        del cursor
    wrapper.close()
    assert closed() == {"open cursor": 1}


def test_mariadb_unread_result_ends_with_its_connection(mysql: Database) -> None:
    from MySQLdb.cursors import SSCursor

    wrapper = mysql.wrapper(pool={"MAX_SIZE": 1}, OPTIONS={"cursorclass": SSCursor})
    cursor = wrapper.cursor()
    cursor.execute("SELECT seq FROM seq_1_to_1000")
    assert cursor.fetchone() == (1,)
    wrapper.close()
    assert closed() == {"open cursor": 1}
    assert value(wrapper, "SELECT 5") == 5


@pytest.mark.parametrize("reset", ["auto", "rollback"])
@pytest.mark.parametrize("keeps_cursor", [True, False])
@pytest.mark.parametrize(("second", "reasons"), [("SELECT 2", {}), ("SELECT nothing", {"broken": 1})])
def test_mariadb_results_of_several_statements_are_not_for_the_next(
    mysql: Database, second: str, reasons: dict[str, int], reset: str, *, keeps_cursor: bool
) -> None:
    kept = []

    def use(wrapper: Any) -> None:
        cursor = wrapper.cursor()
        cursor.execute(f"SELECT 1; {second}")
        assert cursor.fetchone() == (1,)
        if keeps_cursor:
            kept.append(cursor)

    def look(wrapper: Any) -> None:
        # A transaction of Django begins with a command of the driver and no cursor.
        wrapper.ensure_connection()
        wrapper.set_autocommit(False)
        assert value(wrapper, "SELECT 5") == 5
        wrapper.rollback()
        wrapper.set_autocommit(True)

    after(mysql, use, look, RESET=reset)
    assert closed() == reasons


def test_sqlite_unread_rows_do_not_keep_a_snapshot(sqlite: Database) -> None:
    wrapper = sqlite.wrapper(pool={"MAX_SIZE": 2})
    run(wrapper, "PRAGMA journal_mode = WAL", "CREATE TABLE t (n)", "INSERT INTO t VALUES (1), (2), (3)")
    wrapper.close()
    cursor = wrapper.cursor()
    cursor.execute("SELECT n FROM t")
    assert cursor.fetchone() == (1,)
    wrapper.close()
    other = sqlite.wrapper(stock=True)
    run(other, "INSERT INTO t VALUES (4)")
    busy = value(other, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert busy == 0
    other.close()


# -- what it costs


class RoundTripContract:
    """Counted on the wire."""

    DIRTY = "SET SESSION statement_timeout = 5"
    RESET_COSTS = range(1, 3)

    @pytest.fixture
    def relayed(self, database: Database) -> Iterator[tuple[Any, Proxy]]:
        with proxy_to(database.settings["HOST"], int(database.settings["PORT"])) as proxy:
            relayed = Database(database.engine, {**database.settings, "HOST": "127.0.0.1", "PORT": str(proxy.port)})
            wrapper = relayed.wrapper(pool={"MAX_SIZE": 1, "BYPASS_WINDOW_S": 60})
            value(wrapper, "SELECT 1")
            wrapper.close()
            try:
                yield wrapper, proxy
            finally:
                wrapper.close()
                registry.close_all()

    def test_clean_use_costs_its_queries_and_nothing_else(self, relayed: tuple[Any, Proxy]) -> None:
        wrapper, proxy = relayed
        start = proxy.round_trips
        for _ in range(10):
            value(wrapper, "SELECT 1")
            wrapper.close()
        assert proxy.round_trips - start == 10
        assert proxy.connections == 1

    def test_atomic_block_costs_what_it_costs_without_a_pool(self, relayed: tuple[Any, Proxy]) -> None:
        from django.db.transaction import Atomic

        wrapper, proxy = relayed
        stock = load_stock(wrapper)
        costs = []
        for each in (stock, wrapper):
            value(each, "SELECT 1")
            start = proxy.round_trips
            with registered(each), Atomic(each.alias, True, False):
                value(each, "SELECT 1")
            costs.append(proxy.round_trips - start)
        stock.close()
        start = proxy.round_trips
        wrapper.close()
        assert proxy.round_trips == start
        assert costs[0] == costs[1]

    def test_dirty_return_costs_a_reset(self, relayed: tuple[Any, Proxy]) -> None:
        wrapper, proxy = relayed
        run(wrapper, self.DIRTY)
        start = proxy.round_trips
        wrapper.close()
        assert proxy.round_trips - start in self.RESET_COSTS
        assert proxy.connections == 1
        start = proxy.round_trips
        value(wrapper, "SELECT 1")
        assert proxy.round_trips - start == 1

    def test_old_idle_connection_is_asked_once(self, relayed: tuple[Any, Proxy]) -> None:
        wrapper, proxy = relayed
        checking = Database(wrapper.settings_dict["ENGINE"].rpartition(".")[2], dict(wrapper.settings_dict)).wrapper(
            pool={"BYPASS_WINDOW_S": 0}
        )
        value(checking, "SELECT 1")
        checking.close()
        start = proxy.round_trips
        value(checking, "SELECT 1")
        checking.close()
        assert proxy.round_trips - start == 2


def load_stock(wrapper: Any) -> Any:
    """Django's own wrapper for the same database."""
    from django.db.utils import load_backend

    settings = {**wrapper.settings_dict, "CONN_MAX_AGE": None}
    engine = settings["ENGINE"].replace("django_wsgiperf", "django")
    return load_backend(engine).DatabaseWrapper({**settings, "ENGINE": engine}, wrapper.alias)


@contextlib.contextmanager
def registered(wrapper: Any) -> Iterator[None]:
    """Have django.db.connections give this wrapper for its alias, in this thread."""
    from django.db import connections

    known = connections[wrapper.alias]
    connections[wrapper.alias] = wrapper
    try:
        yield
    finally:
        connections[wrapper.alias] = known


class TestPostgreSQLRoundTrips(RoundTripContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres


class TestMariaDBRoundTrips(RoundTripContract):
    DIRTY = "SET @x = 1"
    RESET_COSTS = range(2, 5)

    @pytest.fixture
    def database(self, mysql: Database) -> Database:
        return mysql
