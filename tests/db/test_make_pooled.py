"""make_pooled: pooled engines of others' wrappers, which keep what they add."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.dummy.base import DatabaseWrapper as DummyWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper
from django.db.backends.utils import CursorWrapper

import django_wsgiperf.db
from django_wsgiperf.db import make_pooled, registry
from tests.db.databases import Database, run, value


class CountingCursor(CursorWrapper):
    """As an observability engine has them."""

    statements: list[str] = []  # noqa: RUF012

    def execute(self, sql: str, params: Any = None) -> Any:
        self.statements.append(sql)
        return super().execute(sql, params)


class OtherWrapper(SQLiteWrapper):
    """An engine of somebody else: it has cursors of its own, and a wrapper that remembers what it has connected."""

    tenant: str | None = None

    def connect(self) -> None:
        self.connects = getattr(self, "connects", 0) + 1
        super().connect()

    def get_new_connection(self, conn_params: Any) -> Any:
        self.tenant = "one"
        return super().get_new_connection(conn_params)

    def make_cursor(self, cursor: Any) -> CursorWrapper:
        return CountingCursor(cursor, self)


def test_what_another_engine_adds_is_kept(sqlite: Database) -> None:
    CountingCursor.statements.clear()
    pooled: Any = make_pooled(OtherWrapper, module=__name__)
    assert (pooled.__name__, pooled.__module__) == ("DatabaseWrapper", __name__)
    one, other = pooled(sqlite.entry(), "default"), pooled(sqlite.entry(), "default")
    assert value(one, "SELECT 1") == 1
    with one.cursor() as cursor:
        assert isinstance(cursor, CountingCursor)
    one.close()
    assert value(other, "SELECT 2") == 2
    assert other.tenant == "one", "what connecting sets on a wrapper is on each that gets the connection"
    run(other, "PRAGMA cache_size = 77")
    other.close()
    assert (one.connects, other.connects) == (1, 1)
    assert CountingCursor.statements == ["SELECT 1", "SELECT 2", "PRAGMA cache_size = 77"]
    (pool,) = registry.pools()
    assert pool.snapshot()["created"] == 1
    assert pool.snapshot()["closed"] == {"dirty": 1}, "statements are seen through another's cursors"


def test_engine_without_an_adapter_is_refused_with_the_remedy() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"vendor 'unknown'.*adapter"):
        make_pooled(DummyWrapper)


def test_public_names_are_there_without_being_loaded() -> None:
    for name in ("make_pooled", "PooledMixin", "pin", "hold_connection", "pools", "PoolTimeout"):
        assert getattr(django_wsgiperf.db, name) is not None
        assert name in dir(django_wsgiperf.db)
    with pytest.raises(AttributeError):
        _ = django_wsgiperf.db.nothing_of_the_kind
