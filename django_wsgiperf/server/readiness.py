"""Whether this worker can do its work: the databases, the caches and the migrations, asked in a thread of their own.

Asked for by the leader, which never waits: an answer younger than a second is given again, else a check is begun, and
whoever asked is answered when it has ended or, should it take long, by what the last one found. No HTTP here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import process
from .scoreboard import Scoreboard

logger = logging.getLogger("django_wsgiperf.server")

_FRESH_S = 1.0
_QUICK_S = 0.5
"""So long a request for the page waits for a check that was begun on its behalf."""


class Readiness:
    """`checks` are names of CHECKS. Each round of them counts as failed when it has taken `timeout_s` seconds."""

    def __init__(self, checks: Sequence[str], timeout_s: float, board: Scoreboard) -> None:
        self._checks = [(name, CHECKS[name]) for name in dict.fromkeys(checks)]
        self._timeout_s = timeout_s
        self._board = board
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self.on_done: Callable[[], None] | None = None
        """Called in the readiness thread after each round."""
        # Written by the thread, read by the leader; each assignment is one reference.
        self._failures: tuple[str, ...] | None = None
        self._answered_at = float("-inf")
        self._asked_at = 0.0
        self._asking = ""
        self._is_running = False
        self._is_stopping = False

    def answer(self, *, patient: bool) -> tuple[str, ...] | None:
        """What is the matter, nothing when all is well; None, if `patient`, where asking again soon may tell more."""
        if not self._checks:
            return ()
        now = time.monotonic()
        if not self._is_running and now - self._answered_at >= _FRESH_S:
            self._begin(now)
        if self._is_running:
            waited_s = now - self._asked_at
            if waited_s >= self._timeout_s:
                return (f"{self._asking}: no answer for {waited_s:.0f} s",)
            if patient and waited_s < _QUICK_S:
                return None
        return ("starting",) if self._failures is None else self._failures

    def stop(self) -> None:
        """Begin no further round, and let the thread end; it is not waited for."""
        self.on_done = None
        self._checks = []
        self._is_stopping = True
        self._wanted.set()

    def _begin(self, now: float) -> None:
        self._asked_at = now
        self._is_running = True
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wsgiperf-readiness", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._is_stopping:
                return
            before = self._failures
            self._failures = found = tuple(self._look())
            if found != before and (found or before):
                logger.log(
                    logging.WARNING if found else logging.INFO, "Readiness: %s", "; ".join(found) or "all is well again"
                )
            self._answered_at = time.monotonic()
            self._is_running = False
            on_done = self.on_done
            if on_done is not None:
                on_done()

    def _look(self) -> list[str]:
        found: list[str] = []
        for name, check in self._checks:
            # What has been applied stays applied, and one worker of the server knows it for all.
            if name == "migrations" and (self._board.migrated or found):
                continue
            self._asking = name
            try:
                failures = list(check(self._say))
            except Exception as error:
                logger.debug("Readiness check %s failed", name, exc_info=True)
                failures = [f"{name}: {type(error).__name__}"]
            if name == "migrations" and not failures:
                self._board.migrated = True
            found += failures
        process.close_django_connections()
        return found

    def _say(self, what: str) -> None:
        self._asking = what


def _databases(say: Callable[[str], None]) -> Iterator[str]:
    """Every alias takes a connection and answers a query. A new connection each time: that is what may fail."""
    from django.db import connections

    for alias in connections:
        connection = connections[alias]
        if _is_dummy(connection):
            continue
        say(f"database {alias}")
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1" + connection.features.bare_select_suffix)
                cursor.fetchone()
        except Exception as error:
            # The message may hold addresses and user names, and the page is open to everybody.
            logger.debug("Database %s is not ready", alias, exc_info=True)
            yield f"database {alias}: {type(error).__name__}"


def _caches(say: Callable[[str], None]) -> Iterator[str]:
    """Every alias answers. One that is configured to hide its errors is taken at its word."""
    from django.conf import settings
    from django.core.cache import caches

    for alias in settings.CACHES:
        say(f"cache {alias}")
        try:
            caches[alias].get("wsgiperf-readiness")
        except Exception as error:
            logger.debug("Cache %s is not ready", alias, exc_info=True)
            yield f"cache {alias}: {type(error).__name__}"


def _migrations(say: Callable[[str], None]) -> Iterator[str]:
    """No migration of the default database is missing, by the same measure as `migrate --check`."""
    from django.db import DEFAULT_DB_ALIAS, connections
    from django.db.migrations.executor import MigrationExecutor

    connection = connections[DEFAULT_DB_ALIAS]
    say("migrations")
    if _is_dummy(connection) or getattr(connection, "is_in_memory_db", lambda: False)():
        return  # In memory, each thread has a database of its own, and this one's is empty.
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield f"migrations: {len(missing)} not applied"


def _is_dummy(connection: Any) -> bool:
    """Whether this is what Django has in place of a database when none is configured."""
    return str(connection.settings_dict["ENGINE"]) == "django.db.backends.dummy"


CHECKS: dict[str, Callable[[Callable[[str], None]], Iterator[str]]] = {
    "database": _databases,
    "cache": _caches,
    "migrations": _migrations,
}
"""Each yields what is the matter, without secrets, and says through its argument what it asks just now."""
