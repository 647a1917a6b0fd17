"""A database that is made for one benchmark run and dropped after it.

PostgreSQL at TEST_POSTGRES_URL, else at 127.0.0.1:5432 as user postgres; a SQLite file when neither answers. The
benchmark project takes the address from BENCHMARK_DATABASE.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.common.places import PROJECT

DEFAULT_URL = "postgresql://postgres@127.0.0.1:5432/postgres"
CONNECT_S = 3
FILL_S = 120.0


@dataclass(frozen=True, slots=True)
class Database:
    """Where the rows are. `note` is what a reader of the numbers must know about it."""

    address: str
    note: str


def with_name(url: str, name: str) -> str:
    """Give `url` with another database name."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextlib.contextmanager
def temporary(label: str) -> Iterator[Database]:
    """Make an empty database for the length of a `with` block."""
    url = os.environ.get("TEST_POSTGRES_URL") or DEFAULT_URL
    name = f"wsgiperf_{label}_{os.getpid()}"
    try:
        version = _administer(url, f'CREATE DATABASE "{name}"')
    except Unreachable as reason:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            note = f"SQLite, because PostgreSQL was not reached ({reason}): the database page is not the real one"
            yield Database(str(Path(folder) / "benchmark.sqlite3"), note)
        return
    try:
        yield Database(with_name(url, name), f"PostgreSQL {version}, on the same machine")
    finally:
        _administer(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def fill(env: Mapping[str, str]) -> None:
    """Make the benchmark project's tables and rows, in the database that the variables `env` name."""
    command = [sys.executable, "manage.py", "fill_benchmark"]
    subprocess.run(command, cwd=PROJECT, env={**os.environ, **env}, check=True, timeout=FILL_S)


class Unreachable(RuntimeError):
    """PostgreSQL cannot be used; the text says why."""


def _administer(url: str, statement: str) -> str:
    """Run one statement outside a transaction, and give the server's version. Raises Unreachable."""
    try:
        psycopg = importlib.import_module("psycopg")
    except ImportError:
        raise Unreachable("the package psycopg is not installed") from None
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S) as connection:
            connection.execute(statement)
            version: str = connection.execute("SHOW server_version").fetchone()[0]
            return version.split()[0]
    except psycopg.Error as error:
        raise Unreachable(str(error).strip().splitlines()[0]) from None
