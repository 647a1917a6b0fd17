"""The pooled engines: where connections come from and go to, and what stays with Django's wrapper."""

from __future__ import annotations

import asyncio

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import InterfaceError, OperationalError
from django.db.utils import load_backend

from django_wsgiperf.db import registry
from tests.db.databases import Database, in_thread, run, value


class EngineContract:
    """What holds for each database."""

    def test_next_thread_gets_the_connection_that_the_last_gave_back(self, database: Database) -> None:
        def raw_connection() -> int:
            wrapper = database.wrapper()
            assert value(wrapper, "SELECT 1") == 1
            raw = wrapper.connection
            wrapper.close()
            return id(raw)

        assert in_thread(raw_connection) == in_thread(raw_connection)
        (pool,) = registry.pools()
        assert pool.snapshot()["created"] == 1

    def test_threads_beyond_the_maximum_wait_and_then_fail_with_the_holders_named(self, database: Database) -> None:
        first = database.wrapper(pool={"MAX_SIZE": 1, "ACQUIRE_TIMEOUT_S": 0.05})
        assert value(first, "SELECT 1") == 1
        second = database.wrapper(pool={"MAX_SIZE": 1, "ACQUIRE_TIMEOUT_S": 0.05})
        with pytest.raises(OperationalError, match=r"(?s)1 of at most 1 in use.*SELECT 1"):
            value(second, "SELECT 2")
        first.close()
        assert value(second, "SELECT 2") == 2

    def test_pool_false_is_djangos_own_way(self, database: Database) -> None:
        wrapper = database.wrapper(pool=False)
        assert value(wrapper, "SELECT 1") == 1
        assert registry.pools() == []

    def test_engine_is_named_as_django_expects(self, database: Database) -> None:
        wrapper = database.wrapper()
        stock = load_backend(f"django.db.backends.{database.engine}").DatabaseWrapper
        assert type(wrapper).__name__ == "DatabaseWrapper"
        assert isinstance(wrapper, stock)
        assert wrapper.vendor == stock.vendor

    def test_asynchronous_code_is_refused_as_by_django(self, database: Database) -> None:
        wrapper = database.wrapper()
        assert value(wrapper, "SELECT 1") == 1
        wrapper.close()

        async def connect() -> None:
            wrapper.connect()

        with pytest.raises(SynchronousOnlyOperation):
            asyncio.run(connect())
        assert wrapper.connection is None
        assert value(wrapper, "SELECT 1") == 1

    def test_cursor_does_not_reach_a_connection_that_was_given_back(self, database: Database) -> None:
        wrapper = database.wrapper()
        cursor = wrapper.cursor()
        cursor.execute("SELECT 1")
        wrapper.close()
        with pytest.raises(InterfaceError, match="given back"):
            cursor.execute("SELECT 2")
        assert value(wrapper, "SELECT 3") == 3
        with pytest.raises(InterfaceError, match="given back"):
            cursor.execute("SELECT 2")

    def test_open_transaction_is_rolled_back_on_return(self, database: Database) -> None:
        wrapper = database.wrapper()
        run(wrapper, "CREATE TABLE things (n INTEGER)")
        try:
            wrapper.set_autocommit(False)
            run(wrapper, "INSERT INTO things VALUES (1)")
            wrapper.close()
            assert value(wrapper, "SELECT COUNT(*) FROM things") == 0
            assert wrapper.get_autocommit()
        finally:
            run(wrapper, "DROP TABLE things")
            wrapper.close()


class TestPostgreSQL(EngineContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres


class TestMariaDB(EngineContract):
    @pytest.fixture
    def database(self, mysql: Database) -> Database:
        return mysql


class TestSQLite(EngineContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite

    def test_database_in_memory_is_left_alone(self, database: Database) -> None:
        wrapper = database.wrapper(NAME=":memory:")
        run(wrapper, "CREATE TABLE here (n INTEGER)")
        wrapper.close()
        assert value(wrapper, "SELECT COUNT(*) FROM here") == 0
        assert registry.pools() == []
        wrapper.connection.close()
