"""Stores that go away and come back, that are locked, in somebody's transaction: nothing is lost, nothing is held."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections, transaction
from django.test import override_settings

from django_wsgiperf.conf import MetricsSettings
from django_wsgiperf.metrics.stores import open_store as open_by_settings
from django_wsgiperf.metrics.worker import Worker
from django_wsgiperf.models import Bucket
from tests.cache import private_redis

from .conftest import ALIAS, CACHES, database, entry_of
from .making import NOON, Clock, record, requests_in, worker

DATABASES = ("sqlite", "postgres", "mysql")


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Nobody listens there, and nobody else is given it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@pytest.fixture(params=DATABASES)
def kept(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """A database with the tables of the metrics, under ALIAS; gives its kind."""
    if request.param != "sqlite":
        request.getfixturevalue(f"{request.param}_url")
    with django_db_blocker.unblock(), database(entry_of(request.param, request, tmp_path)):
        yield request.param


@contextlib.contextmanager
def away(kind: str) -> Iterator[None]:
    """Connections cannot be made meanwhile."""
    there = dict(connections.settings[ALIAS])
    with closed_port() as port:
        gone = {"NAME": "/nowhere/at/all"} if kind == "sqlite" else {"HOST": "127.0.0.1", "PORT": str(port)}
        connections.settings[ALIAS] = {**there, **gone}
        try:
            yield
        finally:
            connections.settings[ALIAS] = there


def worker_of(clock: Clock) -> Worker:
    return worker(lambda: open_by_settings(MetricsSettings(database=ALIAS)), clock=clock)


def serve_for(made: Worker, clock: Clock, seconds: int) -> list[bool]:
    """A request every ten seconds, and a writing after each. Gives which of these succeeded."""
    succeeded = []
    for _ in range(seconds // 10):
        clock.now_s += 10
        made.put(record(at_s=clock.now_s))
        succeeded.append(made.flush(60))
    return succeeded


def test_database_away_for_ten_minutes_loses_nothing(kept: str, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    made = worker_of(clock)
    assert all(serve_for(made, clock, 30))
    with away(kept):
        assert not any(serve_for(made, clock, 600))
        assert ALIAS in made.status()["last_error"]
    assert all(serve_for(made, clock, 30))
    assert requests_in(made.store()) == 66
    assert made.status()["given_up"] == made.status()["dropped"] == 0
    assert sum("cannot be written" in each.message for each in caplog.records) == 1


def test_minutes_of_an_outage_are_where_they_happened(kept: str) -> None:
    clock = Clock()
    made = worker_of(clock)
    with away(kept):
        serve_for(made, clock, 300)
    clock.now_s += 70
    assert made.flush(60)
    starts = Bucket.objects.using(ALIAS).filter(level=0).order_by("start").values_list("start", "closed")
    assert list(starts) == [(NOON + 60 * n, True) for n in range(6)]


def test_writing_is_no_part_of_the_callers_transaction(kept: str) -> None:
    if kept == "sqlite":
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")  # Else a reader keeps everybody from writing.
    clock = Clock()
    made = worker_of(clock)
    made.put(record())
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(ALIAS):
        assert Bucket.objects.using(ALIAS).count() == 0
        mine = connections[ALIAS].connection
        assert made.flush(60)
        assert connections[ALIAS].connection is mine, "the caller has its own connection again"
        raise ZeroDivisionError
    assert requests_in(made.store()) == 1


def test_no_connection_is_held_between_two_writings(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    create = type(connections).create_connection

    def watched(handler: Any, alias: str) -> Any:
        opened.append(create(handler, alias))
        return opened[-1]

    monkeypatch.setattr(type(connections), "create_connection", watched)
    made = worker_of(Clock())
    for _ in range(3):
        made.put(record())
        assert made.flush(60)
    own = [each for each in opened if each is not connections[ALIAS]]
    assert len(own) >= 3
    assert all(each.connection is None for each in own)


def test_locked_sqlite_is_written_the_next_time(tmp_path: Path, django_db_blocker: Any) -> None:
    file = tmp_path / "metrics.sqlite3"
    with django_db_blocker.unblock(), database({"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}):
        clock = Clock()
        made = worker_of(clock)
        made.put(record())
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        assert not made.flush(60)
        assert "locked" in made.status()["last_error"]
        other.execute("ROLLBACK")
        other.close()
        assert made.flush(60)
        assert requests_in(made.store()) == 1


@pytest.mark.parametrize("backend", CACHES.values(), ids=CACHES)
def test_redis_that_is_killed_is_written_to_when_it_is_back(backend: str, tmp_path: Path) -> None:
    with private_redis.running(tmp_path) as server:
        alias = {"BACKEND": backend, "LOCATION": server.url}
        with override_settings(CACHES={"default": alias, ALIAS: alias}):
            clock = Clock()
            made = worker(lambda: open_by_settings(MetricsSettings(store="redis", cache=ALIAS)), clock=clock)
            server.kill()
            assert not any(serve_for(made, clock, 600))
            assert "Redis of the cache" in made.status()["last_error"]
            server.launch()
            assert all(serve_for(made, clock, 30))
            assert requests_in(made.store()) == 63
            caches.close_all()


def test_cache_that_is_no_redis_is_refused_with_the_remedy() -> None:
    alias = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with override_settings(CACHES={"default": alias}):
        for name in ("default", "none"):
            made = worker(lambda name=name: open_by_settings(MetricsSettings(store="redis", cache=name)))
            made.put(record())
            assert not made.flush()
            assert repr(name) in made.status()["last_error"]
            assert made.status()["minutes"] == 1, "it is kept, should the setting be changed"
