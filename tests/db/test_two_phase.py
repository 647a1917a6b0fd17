"""Two-phase commit: a transaction that is prepared waits on the server, and keeps nobody else from committing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from django_wsgiperf.db import registry
from tests.db.databases import Database, run, value
from tests.db.servers import Server

NAME = f"prepared_{os.getpid()}"


@pytest.fixture
def patient(private_postgres: Server, allowed_database: None) -> Iterator[Database]:
    """A PostgreSQL that keeps prepared transactions, with a table."""
    private_postgres.restart("-c", "max_prepared_transactions=2")
    database = Database.at(private_postgres.private.url)
    owner = database.wrapper(stock=True)
    run(owner, "CREATE TABLE parcel (n int)")
    try:
        yield database
    finally:
        # What a test that failed has left locked.
        database.close()
        registry.close_all()
        for name in names(owner):
            run(owner, f"ROLLBACK PREPARED '{name}'")
        run(owner, "DROP TABLE parcel")
        database.close()
        private_postgres.restart()


def names(wrapper: Any) -> list[str]:
    """What waits on a PostgreSQL server."""
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT gid FROM pg_prepared_xacts")
        return [gid for (gid,) in cursor.fetchall()]


def commit_one_more(wrapper: Any) -> None:
    """What the next request does."""
    wrapper.set_autocommit(False)
    run(wrapper, "INSERT INTO parcel VALUES (2)")
    wrapper.commit()
    wrapper.set_autocommit(True)
    assert value(wrapper, "SELECT n FROM parcel") == 2
    wrapper.close()


def by_djangos_autocommit(wrapper: Any, *, on: bool) -> None:
    wrapper.set_autocommit(on)


def by_drivers_autocommit(wrapper: Any, *, on: bool) -> None:
    wrapper.connection.autocommit = on


@pytest.mark.parametrize("reset", ["auto", "hard", "rollback"])
@pytest.mark.parametrize("autocommit", [by_djangos_autocommit, by_drivers_autocommit])
def test_psycopg_transaction_that_another_is_to_end_leaves_no_trace(
    patient: Database, autocommit: Any, reset: str
) -> None:
    wrapper = patient.wrapper(pool={"MAX_SIZE": 1, "RESET": reset})
    with wrapper.pinned():
        wrapper.ensure_connection()
        autocommit(wrapper, on=False)
        wrapper.connection.tpc_begin(NAME)
        run(wrapper, "INSERT INTO parcel VALUES (1)")
        wrapper.connection.tpc_prepare()
        autocommit(wrapper, on=True)
    wrapper.close()
    commit_one_more(wrapper)
    assert names(wrapper) == [NAME]
    wrapper.close()


def test_psycopg_transaction_that_is_ended_costs_no_connection(patient: Database) -> None:
    wrapper = patient.wrapper(pool={"MAX_SIZE": 1})
    wrapper.ensure_connection()
    raw = wrapper.connection
    wrapper.set_autocommit(False)
    raw.tpc_begin(NAME)
    raw.tpc_prepare()
    raw.tpc_rollback()
    wrapper.set_autocommit(True)
    wrapper.close()
    commit_one_more(wrapper)
    wrapper.ensure_connection()
    assert wrapper.connection is raw
    wrapper.close()


@pytest.mark.parametrize("reset", ["auto", "hard", "rollback"])
def test_mariadb_transaction_that_another_is_to_end_leaves_no_trace(mysql: Database, reset: str) -> None:
    owner = mysql.wrapper(stock=True)
    run(owner, "CREATE TABLE parcel (n int) ENGINE = InnoDB")
    wrapper = mysql.wrapper(pool={"MAX_SIZE": 1, "RESET": reset})
    try:
        run(wrapper, f"XA START '{NAME}'", "INSERT INTO parcel VALUES (1)", f"XA END '{NAME}'", f"XA PREPARE '{NAME}'")
        wrapper.close()
        commit_one_more(wrapper)
    finally:
        # As long as its own session is there, nobody else may end it.
        wrapper.close()
        registry.close_all()
        run(owner, f"XA ROLLBACK '{NAME}'", "DROP TABLE parcel")
