"""Fixtures of the pool's tests: servers of their own, which a test may restart and must leave running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.db import servers


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
