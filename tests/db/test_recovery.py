"""Connections that were lost come back or are replaced: broken, evicted, forked away, left behind by their holder."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError, transaction
from django.db.utils import load_backend

from django_wsgiperf.db import PoolTimeout, registry
from tests.db.databases import Database, in_thread, run, value
from tests.db.sites import site

#: Logins belong to the whole server, which other runs may use, too.
ROTATING = f"wsgiperf_rotating_{os.getpid()}"
#: Django 6.1 serializes nothing by itself, and says so of the argument.
UNSERIALIZED = {} if django.VERSION >= (6, 1) else {"serialize": False}


def snapshot() -> dict[str, Any]:
    (pool,) = registry.pools()
    found: dict[str, Any] = pool.snapshot()
    return found


def session(wrapper: Any) -> int:
    """The server's number of this session."""
    number: int = value(
        wrapper, "SELECT pg_backend_pid()" if wrapper.vendor == "postgresql" else "SELECT CONNECTION_ID()"
    )
    return number


def end_session(database: Database, number: int) -> None:
    """Have the server end a session, as an administrator would."""
    stock = database.wrapper(stock=True)
    if stock.vendor == "postgresql":
        run(stock, f"SELECT pg_terminate_backend({number})")
    else:
        run(stock, f"KILL {number}")
    stock.close()


def cut(raw: Any) -> None:
    """Nothing comes or goes on this connection any more, and the server has had no time to say why."""
    with socket.socket(fileno=os.dup(raw.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def in_child(function: Callable[[], object]) -> None:
    """Run `function` in a forked child; its failure is ours."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


class RecoveryContract:
    """What holds for each database."""

    def test_dead_holder_gives_its_connection_up(self, database: Database) -> None:
        options = {"MAX_SIZE": 1, "ACQUIRE_TIMEOUT_S": 5}
        kept = []

        def dies() -> None:
            wrapper = database.wrapper(pool=options)
            value(wrapper, "SELECT 1")
            kept.append(wrapper)

        in_thread(dies)
        wrapper = database.wrapper(pool=options)
        assert value(wrapper, "SELECT 2") == 2
        wrapper.close()
        assert snapshot()["reclaimed"] == 1
        # The wrapper of the dead thread does not reach the connection of another.
        kept[0].inc_thread_sharing()
        with pytest.raises(DatabaseError):
            value(kept[0], "SELECT 1")
        kept[0].close()

    def test_collected_wrapper_gives_its_connection_up(self, database: Database) -> None:
        options = {"MAX_SIZE": 1, "ACQUIRE_TIMEOUT_S": 5}
        wrapper = database.wrapper(pool=options)
        value(wrapper, "SELECT 1")
        database.wrappers.clear()
        del wrapper
        gc.collect()
        other = database.wrapper(pool=options)
        assert value(other, "SELECT 2") == 2
        other.close()
        assert snapshot()["reclaimed"] == 1

    def test_close_in_an_atomic_block_is_as_without_a_pool(self, database: Database) -> None:
        outcomes = []
        for stock in (True, False):
            with site(database, "tests.urls", stock=stock, CONN_MAX_AGE=0):
                from django.db import connection

                with contextlib.suppress(DatabaseError), transaction.atomic():
                    value(connection, "SELECT 1")
                    connection.close()
                    try:
                        value(connection, "SELECT 1")
                        outcomes.append("works")
                    except DatabaseError as error:
                        outcomes.append(type(error).__name__)
                    except InterfaceError:
                        outcomes.append("InterfaceError")
                assert value(connection, "SELECT 3") == 3
        assert outcomes[0] == outcomes[1]
        assert snapshot()["closed"] == {"closed in transaction": 1}

    def test_failed_health_check_is_not_answered_with_the_same_connection(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrapper = database.wrapper(CONN_HEALTH_CHECKS=True, CONN_MAX_AGE=None)
        value(wrapper, "SELECT 1")
        raw = wrapper.connection
        wrapper.close_if_unusable_or_obsolete()
        monkeypatch.setattr(wrapper, "is_usable", lambda: False)
        value(wrapper, "SELECT 1")
        assert wrapper.connection is not raw
        monkeypatch.undo()
        wrapper.close()
        assert snapshot()["closed"] == {"broken": 1}

    def test_wrapper_stays_its_threads(self, database: Database) -> None:
        wrapper = database.wrapper()
        value(wrapper, "SELECT 1")
        with pytest.raises(DatabaseError, match="can only be used in that same thread"):
            in_thread(lambda: value(wrapper, "SELECT 1"))
        wrapper.inc_thread_sharing()
        assert in_thread(lambda: value(wrapper, "SELECT 1")) == 1
        wrapper.dec_thread_sharing()
        wrapper.close()

    def test_shared_connection_outlives_the_thread_that_opened_it(self, database: Database) -> None:
        wrapper = database.wrapper(pool={"MAX_SIZE": 1, "ACQUIRE_TIMEOUT_S": 0.05})
        wrapper.inc_thread_sharing()
        in_thread(lambda: value(wrapper, "SELECT 1"))
        with pytest.raises(PoolTimeout):
            value(database.wrapper(pool={"MAX_SIZE": 1, "ACQUIRE_TIMEOUT_S": 0.05}), "SELECT 1")
        assert value(wrapper, "SELECT 2") == 2
        wrapper.close()
        wrapper.dec_thread_sharing()

    def test_child_process_has_connections_of_its_own(self, database: Database) -> None:
        lent, idle = database.wrapper(), database.wrapper()
        value(lent, "SELECT 1")
        value(idle, "SELECT 1")
        idle.close()
        numbers = [] if database.engine == "sqlite3" else [session(lent)]

        def child() -> None:
            assert lent.connection is None
            assert value(lent, "SELECT 4") == 4
            if numbers:
                assert session(lent) not in numbers
            lent.close()
            counted = snapshot()
            assert (counted["forks"], counted["created"]) == (1, 1)
            registry.close_all()
            gc.collect()

        in_child(child)
        # The parent's sessions, lent and idle, go on.
        if numbers:
            assert session(lent) == numbers[0]
        assert value(lent, "SELECT 5") == 5
        assert value(idle, "SELECT 6") == 6
        lent.close()
        idle.close()
        assert snapshot()["created"] == 2

    def test_child_of_an_open_transaction_does_not_go_on_with_it(self, database: Database) -> None:
        with site(database, "tests.urls"):
            from django.db import connection

            with transaction.atomic():
                value(connection, "SELECT 1")

                def child() -> None:
                    with pytest.raises((ProgrammingError, transaction.TransactionManagementError)):
                        value(connection, "SELECT 1")

                in_child(child)
                assert value(connection, "SELECT 2") == 2

    def test_process_ends_at_once_with_connections_lent_and_idle(self, database: Database) -> None:
        program = f"""
            import threading
            from django.conf import settings
            settings.configure(DATABASES={{"default": {database.entry()!r}}})
            import django
            django.setup()
            from django.db import connection
            connection.ensure_connection()

            def idle():
                connection.ensure_connection()
                connection.close()
            thread = threading.Thread(target=idle)
            thread.start()
            thread.join()
            print("ready")
        """
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        assert (ended.stdout, ended.stderr) == ("ready\n", "")

    def test_two_aliases_of_one_database_do_not_wait_for_each_other(self, database: Database) -> None:
        pool = {"MAX_SIZE": 1, "ACQUIRE_TIMEOUT_S": 0.05}
        one, other = database.wrapper(alias="default", pool=pool), database.wrapper(alias="other", pool=pool)
        value(one, "SELECT 1")
        value(other, "SELECT 1")
        assert [pool.name for pool in registry.pools()] == ["default", "other"]

    def test_changed_settings_of_a_wrapper_lead_to_another_pool(self, database: Database) -> None:
        wrapper = database.wrapper()
        value(wrapper, "SELECT 1")
        wrapper.close()
        wrapper.settings_dict["POOL"] = {"MAX_SIZE": 3}
        value(wrapper, "SELECT 1")
        wrapper.close()
        assert [pool.config.max_size for pool in registry.pools()] == [10, 3]
        assert len({pool.name for pool in registry.pools()}) == 2

    def test_parameters_are_asked_for_once_for_each_physical_connection(self, database: Database) -> None:
        asked = []
        base = type(database.wrapper())

        class WithToken(base):  # type: ignore[misc, valid-type]
            def get_connection_params(self) -> Any:
                asked.append("token")
                return super().get_connection_params()

        wrapper = WithToken(database.entry(), "default")
        for _ in range(3):
            value(wrapper, "SELECT 1")
            wrapper.close()
        assert asked == ["token"]

    def test_known_steps_of_connect_leave_what_djangos_own_leave(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def state(wrapper: Any) -> dict[str, Any]:
            # What a manual transaction, closed in the middle, has left is all to be put right.
            wrapper.in_atomic_block = wrapper.needs_rollback = wrapper.closed_in_transaction = True
            wrapper.savepoint_ids, wrapper.atomic_blocks, wrapper.run_on_commit = ["s1"], [None], [None]
            wrapper.errors_occurred, wrapper.health_check_done = True, False
            wrapper.connect()
            found = {
                name: value
                for name, value in vars(wrapper).items()
                if isinstance(value, (bool, int, str, list, type(None)))
                and name not in ("_thread_ident", "timezone_name", "isolation_level")
            }
            found["close_at"] = wrapper.close_at is None
            wrapper.close()
            return found

        for settings in ({}, {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}, {"AUTOCOMMIT": False}):
            short = database.wrapper(**settings)
            assert short.pool_has_plain_connect, "Django's connect() has changed: compare lending.py with it"
            by_known_steps = state(short)
            long = database.wrapper(**settings)
            monkeypatch.setattr(type(long), "pool_has_plain_connect", False)
            assert state(long) == by_known_steps
            monkeypatch.undo()
            stock = database.wrapper(stock=True, **settings)
            assert state(stock) == by_known_steps

    def test_renamed_database_of_a_copy_is_not_the_first_ones(self, database: Database) -> None:
        first = database.wrapper()
        run(first, "CREATE TABLE here (n INTEGER)")
        first.close()
        copy = first.copy()
        database.wrappers.append(copy)
        value(copy, "SELECT COUNT(*) FROM here")
        copy.close()
        copy.settings_dict["NAME"] = "no_such_folder/no_such_database"
        with pytest.raises(DatabaseError):
            value(copy, "SELECT 1")
        registry.pools()[0].evict_all("test")
        assert value(first, "SELECT COUNT(*) FROM here") == 0
        run(first, "DROP TABLE here")
        first.close()

    def test_connection_created_is_sent_for_each_lease(self, database: Database) -> None:
        from django.db.backends.signals import connection_created

        sent: list[Any] = []

        def receive(*, connection: Any, **_: object) -> None:
            sent.append((connection, value(connection, "SELECT 1")))

        wrapper = database.wrapper()
        connection_created.connect(receive)
        try:
            for _ in range(2):
                value(wrapper, "SELECT 1")
                wrapper.close()
        finally:
            connection_created.disconnect(receive)
        assert sent == [(wrapper, 1)] * 2

    def test_receiver_of_connection_created_that_makes_every_session_dirty_is_told_of(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        from django.db.backends.signals import connection_created

        sets = {"mysql": "SET @left_over = 1", "sqlite3": "PRAGMA cache_size = 77"}
        statement = sets.get(database.engine, "SET statement_timeout = 5000")

        def receive(*, connection: Any, **_: object) -> None:
            run(connection, statement)

        def use(**pool: Any) -> list[str]:
            wrapper = database.wrapper(pool=pool)
            caplog.clear()
            for _ in range(2):
                value(wrapper, "SELECT 1")
                wrapper.close()
            return [record.getMessage() for record in caplog.records if "connection_created" in record.getMessage()]

        connection_created.connect(receive)
        try:
            (told,) = use()
            assert statement in told
            assert use(RESET="hard") == []
        finally:
            connection_created.disconnect(receive)
        assert use(MAX_SIZE=3) == []

    def test_execute_wrapper_and_query_log_are_the_wrappers(self, database: Database) -> None:
        wrapper = database.wrapper()
        statements = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            statements.append(sql)
            return execute(sql, params, many, context)

        wrapper.force_debug_cursor = True
        with wrapper.execute_wrapper(note):
            value(wrapper, "SELECT 1")
            wrapper.close()
            value(wrapper, "SELECT 2")
        wrapper.force_debug_cursor = False
        wrapper.close()
        assert statements == ["SELECT 1", "SELECT 2"]
        assert [query["sql"] for query in wrapper.queries_log] == ["SELECT 1", "SELECT 2"]

    def test_test_database_is_made_copied_and_dropped_with_pooled_connections(self, database: Database) -> None:
        wrapper = database.wrapper(alias="default", TEST={"NAME": self.temporary_name(database)})
        with site(database, "tests.urls"):
            from django.db import connections

            connections["default"] = wrapper
            old_name = wrapper.settings_dict["NAME"]
            wrapper.creation.create_test_db(verbosity=0, autoclobber=True, **UNSERIALIZED)
            in_thread(lambda: self.leave_idle(wrapper))
            wrapper.creation.clone_test_db(suffix="1", verbosity=0, autoclobber=True)
            value(wrapper, "SELECT COUNT(*) FROM auth_user")
            wrapper.creation.destroy_test_db(verbosity=0, suffix="1")
            wrapper.settings_dict["NAME"] = self.temporary_name(database)
            in_thread(lambda: self.leave_idle(wrapper))
            wrapper.creation.destroy_test_db(old_database_name=old_name, verbosity=0)
            assert wrapper.settings_dict["NAME"] == old_name

    def temporary_name(self, database: Database) -> str:
        return f"{database.settings['NAME']}_test"

    def leave_idle(self, wrapper: Any) -> None:
        engine = load_backend(wrapper.settings_dict["ENGINE"])
        other = engine.DatabaseWrapper(wrapper.settings_dict, "default")
        value(other, "SELECT COUNT(*) FROM auth_user")
        other.close()


class ServerContract(RecoveryContract):
    """What holds where there is a server."""

    def test_ended_session_is_replaced_and_fails_one_request_at_most(self, database: Database) -> None:
        wrapper = database.wrapper(pool={"MAX_SIZE": 1})
        end_session(database, session(wrapper))
        with pytest.raises((OperationalError, InterfaceError)):
            value(wrapper, "SELECT 1")
        wrapper.close_if_unusable_or_obsolete()
        assert value(wrapper, "SELECT 2") == 2
        wrapper.close()

    def test_broken_connection_does_not_reach_the_next_holder(self, database: Database) -> None:
        wrapper = database.wrapper(pool={"MAX_SIZE": 1})
        end_session(database, session(wrapper))
        with pytest.raises((OperationalError, InterfaceError)):
            value(wrapper, "SELECT 1")
        wrapper.close()
        assert snapshot()["closed"]
        assert value(wrapper, "SELECT 2") == 2
        wrapper.close()

    def test_idle_session_that_the_server_ended_is_found_before_it_is_lent(self, database: Database) -> None:
        wrapper = database.wrapper(pool={"MAX_SIZE": 1, "BYPASS_WINDOW_S": 0})
        number = session(wrapper)
        wrapper.close()
        end_session(database, number)
        assert value(wrapper, "SELECT 2") == 2
        wrapper.close()
        assert snapshot()["ping_failures"] == 1

    def test_network_that_is_cut_in_an_atomic_block_puts_the_idle_connections_in_doubt(
        self, database: Database
    ) -> None:
        with site(database, "tests.urls", pool={"BYPASS_WINDOW_S": 3600}):
            from django.db import connection

            idle = database.wrapper(pool={"BYPASS_WINDOW_S": 3600})
            value(idle, "SELECT 1")

            def work() -> None:
                with transaction.atomic():
                    value(connection, "SELECT 1")
                    for wrapper in (idle, connection):
                        cut(wrapper.connection)
                    idle.close()
                    value(connection, "SELECT 2")

            with pytest.raises((OperationalError, InterfaceError)):
                work()
            assert value(connection, "SELECT 3") == 3
        assert snapshot()["closed"] == {"broken": 1, "dead": 1}

    def test_fail_over_replaces_every_older_connection(self, database: Database) -> None:
        options = {"MAX_SIZE": 3, "EVICT_ON": [self.CODE]}
        one, other, idle = (database.wrapper(pool=options) for _ in range(3))
        run(one, "CREATE TABLE kept (n int)")
        for wrapper in (one, other, idle):
            value(wrapper, "SELECT 1")
        idle.close()
        with pytest.raises(DatabaseError):
            run(one, *self.PROVOKES)
        one.close()
        other.close()
        counted = snapshot()
        assert counted["db.client.connection.count"] == {"idle": 0, "used": 0}
        assert value(one, "SELECT 2") == 2
        assert value(other, "SELECT 2") == 2
        run(one, "DROP TABLE kept")
        one.close()
        other.close()
        assert snapshot()["created"] == 5

    def test_server_that_stays_as_it_is_costs_each_error_its_own_connection(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        options = {"MAX_SIZE": 2, "EVICT_ON": [self.CODE]}
        writer, reader = database.wrapper(pool=options), database.wrapper(pool=options)
        run(writer, "CREATE TABLE kept (n int)")
        with caplog.at_level(logging.INFO, "django_wsgiperf.db"):
            for _ in range(5):
                value(reader, "SELECT 1")
                with pytest.raises(DatabaseError):
                    run(writer, *self.PROVOKES)
                writer.close()
                reader.close()
        assert snapshot()["closed"] == {f"evicted by {self.CODE}": 5, "evicted": 1}
        assert caplog.text.count("closes all of its connections") == 1
        run(writer, "DROP TABLE kept")
        writer.close()

    def test_new_password_is_used_for_the_next_connection(self, database: Database) -> None:
        stock = database.wrapper(stock=True)
        self.set_password(stock, "first")
        settings = {**database.settings, "USER": ROTATING, "PASSWORD": "first"}
        rotating = Database(database.engine, settings).wrapper(pool={"MAX_SIZE": 1})
        try:
            value(rotating, "SELECT 1")
            self.set_password(stock, "second")
            rotating.settings_dict["PASSWORD"] = "second"
            assert value(rotating, "SELECT 1") == 1
            rotating.close()
            (pool,) = registry.pools()
            pool.evict_all("test")
            assert value(rotating, "SELECT 1") == 1
            assert snapshot()["connect_failures"] == 0
        finally:
            rotating.close()
            registry.close_all()
            run(stock, *self.DROP_USER)
            stock.close()

    def test_wrong_password_is_the_drivers_error(self, database: Database) -> None:
        settings = {**database.settings, "USER": "wsgiperf_nobody", "PASSWORD": "secret-4711"}
        wrapper = Database(database.engine, settings).wrapper(pool={"MAX_SIZE": 1})
        with pytest.raises(OperationalError) as caught:
            value(wrapper, "SELECT 1")
        assert "secret-4711" not in str(caught.value)


class TestPostgreSQL(ServerContract):
    CODE = "25006"
    PROVOKES = ("BEGIN READ ONLY", "CREATE TABLE refused (n int)")
    DROP_USER = (f"DROP ROLE {ROTATING}",)

    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres

    def set_password(self, stock: Any, password: str) -> None:
        if not value(stock, f"SELECT COUNT(*) FROM pg_roles WHERE rolname = '{ROTATING}'"):
            run(stock, f"CREATE ROLE {ROTATING} LOGIN")
        run(stock, f"ALTER ROLE {ROTATING} PASSWORD '{password}'")

    def test_wrong_password_is_the_drivers_error(self, database: Database) -> None:
        # A server that trusts its own machine knows no wrong password, but it knows wrong names.
        super().test_wrong_password_is_the_drivers_error(database)

    def test_restored_role_and_time_zone_after_a_reset(self, database: Database) -> None:
        wrapper = database.wrapper(
            pool={"RESET": "hard"}, TIME_ZONE="Asia/Tokyo", OPTIONS={"assume_role": "pg_monitor"}
        )
        for _ in range(2):
            assert value(wrapper, "SELECT current_user") == "pg_monitor"
            assert value(wrapper, "SHOW TimeZone") == "Asia/Tokyo"
            wrapper.close()
        assert snapshot()["created"] == 1


class TestMariaDB(ServerContract):
    CODE = "1792"
    PROVOKES = ("START TRANSACTION READ ONLY", "INSERT INTO kept VALUES (1)")
    DROP_USER = (f"DROP USER '{ROTATING}'@'%'",)

    @pytest.fixture
    def database(self, mysql: Database) -> Database:
        return mysql

    def set_password(self, stock: Any, password: str) -> None:
        run(
            stock,
            f"CREATE OR REPLACE USER '{ROTATING}'@'%' IDENTIFIED BY '{password}'",
            f"GRANT ALL ON {stock.settings_dict['NAME']}.* TO '{ROTATING}'@'%'",
        )


class TestSQLite(RecoveryContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite

    def temporary_name(self, database: Database) -> str:
        return f"{database.settings['NAME']}-test"

    @pytest.mark.parametrize("after", ["a pause", "an error"])
    def test_file_that_another_took_the_place_of_is_let_go(self, database: Database, after: str) -> None:
        path = Path(database.settings["NAME"])
        wrapper = database.wrapper(pool={"BYPASS_WINDOW_S": 0 if after == "a pause" else 3600})
        run(wrapper, "CREATE TABLE things (n INTEGER)")
        wrapper.close()
        shutil.copy(path, path.with_suffix(".backup"))
        path.with_suffix(".backup").replace(path)
        if after == "an error":
            with pytest.raises(OperationalError):
                run(wrapper, "INSERT INTO things VALUES (1)")
            wrapper.close()
        run(wrapper, "INSERT INTO things VALUES (2)")
        wrapper.close()
        with contextlib.closing(sqlite3.connect(path)) as there:
            assert there.execute("SELECT n FROM things").fetchall() == [(2,)]
