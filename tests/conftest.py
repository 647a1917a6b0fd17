"""Fixtures for the servers and programs that tests need, and what becomes of tests when one is missing.

Under CI=true such a test fails. Elsewhere it is left out before the run, and listed in the end as not tested. Where
the services come from is in tests/services.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.signals import connection_created
from hypothesis import HealthCheck, settings

from tests import services
from tests._run import results

#: Fixture -> key in services.SERVICES. A test that takes one of these needs that service.
NEEDS = {
    "postgres_url": "postgres",
    "postgis_url": "postgis",
    "mysql_url": "mysql",
    # Fixtures of tests/db that are named by parameters. Those of private servers need the driver at least.
    "postgres": "postgres",
    "mysql": "mysql",
    "redis_url": "redis",
    "chromium_path": "chromium",
    "wrk_path": "wrk",
}
#: What a thread of a busy machine may take to end a request whose answer the test already has.
REQUEST_END_LIMIT_S = 10.0
EXAMPLE_PROJECT = Path(__file__).parent / "example_project"

# A busy machine makes examples slow, and that is no failure. What else the profile says, also that of a CI, stays.
settings.register_profile("wsgiperf", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wsgiperf")

#: SQLite databases in memory that other threads have opened in the present test.
_in_memory: list[Any] = []

_not_tested = pytest.StashKey[dict[str, int]]()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a new, empty PostgreSQL database. Its user may create more of them."""
    with services.scratch_database("postgres") as database:
        yield database.url


@pytest.fixture(scope="session")
def postgis_url() -> Iterator[str]:
    """The address of a new, empty PostgreSQL database that can have the extension postgis, and has not yet."""
    with services.scratch_database("postgis") as database:
        yield database.url


@pytest.fixture(scope="session")
def mysql_url() -> Iterator[str]:
    """The address of a new, empty MariaDB or MySQL database. Its user may create more of them."""
    with services.scratch_database("mysql") as database:
        yield database.url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of an empty Redis database that is this run's alone."""
    with services.scratch_redis() as database:
        yield database.url


@pytest.fixture
def connections_left_alone() -> Iterator[None]:
    """For tests that call a handler themselves. As Django's test client does: a request that begins or ends closes no
    database connection, which may be one that an earlier test has opened, and that this one may not use."""
    from django.core.signals import request_finished, request_started
    from django.db import close_old_connections

    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The path of a Chromium that runs headless."""
    return str(services.chromium())


@pytest.fixture(scope="session")
def wrk_path() -> str:
    """The path of the load generator wrk."""
    return str(services.wrk())


def _note_connection(connection: Any, **_: Any) -> None:
    elsewhere = threading.current_thread() is not threading.main_thread()
    if elsewhere and connection.vendor == "sqlite" and connection.is_in_memory_db():
        _in_memory.append(connection.connection)


connection_created.connect(_note_connection)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Django never closes a database in memory; when its thread has ended, it would be found unclosed much later."""
    while _in_memory:
        _in_memory.pop().close()


@pytest.fixture(autouse=True)
def measuring_as_found() -> Iterator[None]:
    """Instruments that a test put in are taken out again. A test fails that leaves a request running: such a one would
    be shown among those that run for as long as the process lives. Other threads have a moment to end theirs."""
    from django_wsgiperf.metrics import instruments, pipeline

    was_installed = instruments.is_installed()
    running = pipeline.running
    yield
    if not was_installed:
        instruments.uninstall()
    until = time.monotonic() + REQUEST_END_LIMIT_S
    while running and time.monotonic() < until:
        time.sleep(0.01)
    left = [f"{record.method} {record.route or record.path}" for record in list(running.values())]
    running.clear()
    assert not left, f"requests were never ended: {', '.join(left)}"


@pytest.fixture(autouse=True)
def language_as_found() -> Iterator[None]:
    """LocaleMiddleware leaves the language of the last request behind, which is that of the tests after it."""
    from django.utils import translation

    yield
    translation.deactivate()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """The example project's suite runs with its own settings, in a run of its own."""
    other_settings = os.environ.get("DJANGO_SETTINGS_MODULE") != "bookshop.settings"
    return True if collection_path == EXAMPLE_PROJECT and other_settings else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose service is missing, before anything runs."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    counts: dict[str, int] = {}
    for item in items:
        lacking = [] if results.is_ci(os.environ) else _lacking(item)
        for why in lacking:
            counts[why] = counts.get(why, 0) + 1
        (left_out if lacking else kept).append(item)
    config.stash[_not_tested] = counts
    if left_out:
        items[:] = kept
        config.hook.pytest_deselected(items=left_out)
    for why, count in counts.items():
        results.note_untested(f"{count} test{'s' if count > 1 else ''}", why)


def _lacking(item: pytest.Item) -> list[str]:
    """Why the services that the test takes are missing: one line each."""
    # A test that runs with several services has the fixture's name as a parameter.
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    names = [*getattr(item, "fixturenames", ()), *(value for value in parameters if isinstance(value, str))]
    taken = [NEEDS[name] for name in names if name in NEEDS]
    found = {key: services.find(key) for key in taken}
    return [
        f"{services.SERVICES[key].title}: {what.why}"
        for key, what in found.items()
        if isinstance(what, services.Missing)
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Name what was not tested, after everything else."""
    for why, count in config.stash.get(_not_tested, {}).items():
        terminalreporter.write_line(f"not tested: {count} test(s), because {why}", yellow=True)
