"""Fixtures of the database tests: servers that a test may restart and must leave running, and databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.db import servers
from tests.db.databases import Database, pools_closed


@pytest.fixture(scope="session")
def private_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A PostgreSQL that logs each attempt to connect."""
    with servers.running("postgres", tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def private_mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A MariaDB that logs each connection and statement."""
    with servers.running("mysql", tmp_path_factory.mktemp("mysql")) as server:
        yield server


@pytest.fixture
def allowed_database(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, which pytest-django does not know; no pool outlives a test."""
    # Django writes the name of a test database that it makes or drops into the project's settings.
    before = dict(settings.DATABASES["default"])
    with django_db_blocker.unblock(), pools_closed():
        yield
    settings.DATABASES["default"].update(before)


@pytest.fixture
def postgres(postgres_url: str, allowed_database: None) -> Iterator[Database]:
    database = Database.at(postgres_url)
    yield database
    database.close()


@pytest.fixture
def mysql(mysql_url: str, allowed_database: None) -> Iterator[Database]:
    database = Database.at(mysql_url)
    yield database
    database.close()


@pytest.fixture
def sqlite(tmp_path: Path, allowed_database: None) -> Iterator[Database]:
    database = Database("sqlite3", {"NAME": str(tmp_path / "test.sqlite3")})
    yield database
    database.close()
