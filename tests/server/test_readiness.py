"""Readiness: what is asked, when, and what is answered while the question is still open."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from django_wsgiperf.server import readiness
from django_wsgiperf.server.readiness import Readiness
from django_wsgiperf.server.scoreboard import Scoreboard

from .processes import eventually


class Clock:
    """The time that readiness.py sees."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(readiness, "time", clock)
    return clock


class Check:
    """A check that says what it is told to, and waits at its gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[str] = []
        self.error: Exception | None = None
        self.rounds = 0
        self.began = threading.Event()

    def __call__(self, say: Callable[[str], None]) -> Iterator[str]:
        say("database default")
        self.began.set()
        assert self.gate.wait(60)
        self.rounds += 1
        if self.error is not None:
            raise self.error
        yield from self.failures


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
    check = Check()
    monkeypatch.setattr(readiness, "CHECKS", {"database": check})
    yield check
    check.gate.set()
    while ASKED:
        ASKED.pop().stop()
    eventually(lambda: not threads(), "the threads have ended")


ASKED: list[Readiness] = []


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wsgiperf-readiness"]


class Asked:
    """A readiness whose rounds can be waited for."""

    def __init__(self, timeout_s: float = 5.0) -> None:
        self.readiness = Readiness(["database"], timeout_s, Scoreboard())
        self.done = threading.Event()
        self.readiness.on_done = self.done.set
        ASKED.append(self.readiness)

    def ask(self, *, patient: bool = True) -> tuple[str, ...] | None:
        return self.readiness.answer(patient=patient)

    def round(self) -> tuple[str, ...] | None:
        """Ask, wait for the round that this begins, and ask again."""
        self.done.clear()
        self.ask()
        assert self.done.wait(60)
        return self.ask()


class TestAnswers:
    def test_first_answer_is_waited_for_a_moment(self, check: Check, clock: Clock) -> None:
        check.gate.clear()
        asked = Asked()
        assert asked.ask() is None
        assert asked.ask(patient=False) == ("starting",)
        clock.now += 0.6
        assert asked.ask() == ("starting",)
        check.gate.set()
        assert asked.done.wait(60)
        assert asked.ask() == ()

    def test_answer_holds_for_a_second(self, check: Check, clock: Clock) -> None:
        asked = Asked()
        assert asked.round() == ()
        clock.now += 0.9
        assert asked.ask() == ()
        assert check.rounds == 1
        check.failures = ["database default: OperationalError"]
        clock.now += 0.2
        assert asked.round() == ("database default: OperationalError",)
        assert check.rounds == 2

    def test_slow_check_leaves_the_last_answer_standing_until_its_time_is_up(self, check: Check, clock: Clock) -> None:
        asked = Asked(timeout_s=5.0)
        assert asked.round() == ()
        check.gate.clear()
        check.began.clear()
        clock.now += 60
        assert asked.ask() is None
        assert check.began.wait(60)
        clock.now += 1
        assert asked.ask() == ()
        clock.now += 4
        assert asked.ask() == ("database default: no answer for 5 s",)

    def test_check_that_fails_itself_is_named_without_its_words(self, check: Check, clock: Clock) -> None:
        check.error = ValueError("postgres://user:secret@host/")
        assert Asked().round() == ("database: ValueError",)

    def test_without_checks_all_is_well(self) -> None:
        ready = Readiness([], 5.0, Scoreboard())
        assert ready.answer(patient=True) == ()
        assert not threads()

    def test_changes_are_logged_and_nothing_else(
        self, check: Check, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "django_wsgiperf.server")
        asked = Asked()
        for failures in ([], [], ["cache default: ConnectionError"], ["cache default: ConnectionError"], []):
            check.failures = failures
            asked.round()
            clock.now += 2
        assert [record.message for record in caplog.records] == [
            "Readiness: cache default: ConnectionError",
            "Readiness: all is well again",
        ]


def ask(*checks: str, board: Scoreboard | None = None) -> tuple[str, ...]:
    """What one round of the real checks finds, in a thread of its own as in a server."""
    found: list[tuple[str, ...]] = []
    ready = Readiness(checks, 20.0, board or Scoreboard())
    thread = threading.Thread(target=lambda: found.append(tuple(ready._look())))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def databases(django_db_blocker: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Replace the project's databases, and let them be used without the test suite's transactions."""
    before = connections.settings, connections._settings
    default = dict(connections.settings["default"])

    def use(aliases: dict[str, Any]) -> None:
        settings = {alias: {**default, **values} for alias, values in aliases.items()}
        connections._settings = settings  # type: ignore[assignment]
        connections.settings = connections.configure_settings(settings)

    with django_db_blocker.unblock():
        yield use
    connections.settings, connections._settings = before


class TestDatabases:
    def test_each_alias_is_asked(self, databases: Any, tmp_path: Path) -> None:
        databases(
            {
                "default": {"NAME": str(tmp_path / "db.sqlite3")},
                "reports": {"NAME": str(tmp_path / "no" / "folder" / "db.sqlite3")},
            }
        )
        assert ask("database") == ("database reports: OperationalError",)

    def test_server_that_is_not_there_is_named_without_its_address(self, databases: Any) -> None:
        engine = "django.db.backends.postgresql"
        databases({"default": {"ENGINE": engine, "HOST": "127.0.0.1", "PORT": "1", "USER": "ann", "NAME": "x"}})
        assert ask("database", "migrations") == ("database default: OperationalError",)

    def test_connection_does_not_stay_open(self, databases: Any, postgres_url: str) -> None:
        import dj_database_url
        import psycopg

        databases({"default": {"OPTIONS": {}, **dict(dj_database_url.parse(postgres_url))}})
        assert ask("database") == ()
        with psycopg.connect(postgres_url, autocommit=True) as connection:

            def others() -> int:
                query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                row = connection.execute(query).fetchone()
                assert row is not None
                return int(row[0]) - 1

            eventually(lambda: others() == 0, "it is closed")

    def test_project_without_a_database(self, databases: Any) -> None:
        databases({"default": {"ENGINE": "django.db.backends.dummy"}})
        assert ask("database", "migrations") == ()


class TestMigrations:
    def test_missing_migrations_are_counted(self, databases: Any, tmp_path: Path) -> None:
        databases({"default": {"NAME": str(tmp_path / "db.sqlite3")}})
        [failure] = ask("database", "migrations")
        assert failure.startswith("migrations: ")
        assert failure.endswith(" not applied")

    def test_database_in_memory_is_another_for_each_thread(self) -> None:
        assert ask("migrations") == ()

    def test_what_one_worker_has_found_applied_no_other_asks_again(self, databases: Any, tmp_path: Path) -> None:
        databases({"default": {"NAME": str(tmp_path / "db.sqlite3")}})
        board = Scoreboard()
        board.migrated = True
        assert ask("migrations", board=board) == ()
        board = Scoreboard()
        ask("migrations", board=board)
        assert not board.migrated


class TestCaches:
    def test_each_alias_is_asked(self) -> None:
        caches = {
            "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "shared": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"},
        }
        with override_settings(CACHES=caches):
            assert ask("cache") == ("cache shared: ConnectionError",)

    def test_redis_that_is_there(self, redis_url: str) -> None:
        backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url}
        with override_settings(CACHES={"default": backend}):
            assert ask("cache") == ()
