"""Where the servers and programs are that tests need: from TEST_* variables, or else from this machine as it runs.

Tests take the fixtures of conftest.py, which come from here. `python -m tests.services` tells the same as JSON to
`tests/run.py`, which starts private servers, gives their addresses by those variables, and by TEST_MISSING why there
is none. Nothing is started here.
Standard library only at import; the database drivers are imported when they are used.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from redis import Redis

CONNECT_LIMIT_S = 5
REDIS_DATABASES = 16
#: JSON: key -> why the runner could not get the service, so that no test looks again.
MISSING_VARIABLE = "TEST_MISSING"


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address; `database` may be empty."""

    scheme: str
    host: str
    port: int
    user: str
    password: str
    database: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """From `scheme://user:password@host:port/database`. Raises ValueError, without the password."""
        parts = urlsplit(url)
        default = {"postgres": 5432, "postgresql": 5432, "mysql": 3306, "redis": 6379, "rediss": 6379}.get(parts.scheme)
        if default is None or not parts.hostname:
            raise ValueError("write scheme://user:password@host:port/database, as in postgres://me@127.0.0.1/postgres")
        return cls(
            parts.scheme,
            parts.hostname,
            parts.port or default,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            parts.path.strip("/"),
        )

    @property
    def url(self) -> str:
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{login + '@' if login else ''}{host}:{self.port}/{self.database}"

    def with_database(self, name: str) -> Address:
        """The same server, another database."""
        return replace(self, database=name)


@dataclass(frozen=True, slots=True)
class Found:
    """A service that works: `address` is what the variable would hold, `origin` where it was found."""

    address: str
    origin: str
    version: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A service that cannot be had. `is_mistake`: the user gave an address, and it does not work."""

    why: str
    is_mistake: bool = False


class ServiceMissing(Exception):
    """A test needs a service that is not there. The message says why."""


@dataclass(frozen=True, slots=True)
class Service:
    """One kind of service: `guesses` are addresses to try, `examine` gives the version or raises."""

    title: str
    variable: str
    guesses: Callable[[], list[str]]
    examine: Callable[[str], str]


def look(key: str, *, here: bool = True) -> Found | Missing:
    """The service from its variable or, when that is not set and `here`, from this machine as it runs."""
    service = SERVICES[key]
    known: dict[str, str] = json.loads(os.environ.get(MISSING_VARIABLE) or "{}")
    if key in known:
        return Missing(known[key])
    given = os.environ.get(service.variable, "")
    problems: list[str] = []
    for address in [given] if given else service.guesses() if here else []:
        try:
            version = service.examine(address)
        except Exception as error:  # Each driver has its own; all mean that it cannot be used.
            reason = " ".join(str(error).split()) or type(error).__name__
            if given:
                return Missing(f"{service.variable}={_shown(given)} does not work: {reason}", is_mistake=True)
            problems.append(f"{_shown(address)}: {reason}")
        else:
            return Found(address, service.variable if given else _shown(address), version)
    return Missing("; ".join(problems) or f"none was found, and {service.variable} is not set")


@functools.cache
def find(key: str) -> Found | Missing:
    """`look`, once in a process."""
    return look(key)


def address(key: str) -> str:
    """The service's address. Raises ServiceMissing."""
    found = find(key)
    if isinstance(found, Missing):
        raise ServiceMissing(f"{SERVICES[key].title}: {found.why}")
    return found.address


def postgres() -> Address:
    """The PostgreSQL server; its user may create databases."""
    return Address.parse(address("postgres"))


def mysql() -> Address:
    """The MariaDB or MySQL server; its user may create databases."""
    return Address.parse(address("mysql"))


def redis() -> Address:
    """The Redis server."""
    return Address.parse(address("redis"))


def chromium() -> Path:
    """The browser's program."""
    return Path(address("chromium"))


def wrk() -> Path:
    """The load generator's program."""
    return Path(address("wrk"))


def nginx() -> Path:
    """The proxy's program. It is started for one benchmark, as that one's own."""
    return Path(address("nginx"))


@contextlib.contextmanager
def scratch_database(key: str) -> Iterator[Address]:
    """A new, empty database on the server, dropped in the end. `key` is "postgres", "postgis" or "mysql"."""
    server = Address.parse(address(key))
    name = f"wsgiperf_{os.getpid()}_{secrets.token_hex(4)}"
    execute(server, f"CREATE DATABASE {name}")
    try:
        yield server.with_database(name)
    finally:
        drop_database(server, name)


def drop_database(server: Address, name: str) -> None:
    """Drop a database, if it exists, with whoever is still connected to it."""
    force = "" if server.scheme == "mysql" else " WITH (FORCE)"
    execute(server, f"DROP DATABASE IF EXISTS {name}{force}")


@contextlib.contextmanager
def scratch_redis() -> Iterator[Address]:
    """A numbered Redis database that was empty and that no other run has, emptied in the end.

    When the address names a number, that one is taken or refused. Claims are keys in database 0, for an hour.
    """
    from redis import Redis

    server = redis()
    with contextlib.closing(Redis.from_url(server.with_database("0").url)) as claims:
        number = _claim_redis_database(server, claims)
        try:
            yield server.with_database(str(number))
        finally:
            with contextlib.closing(Redis.from_url(server.with_database(str(number)).url)) as client:
                client.flushdb()
            claims.delete(_claim_key(number))


def _claim_redis_database(server: Address, claims: Redis) -> int:
    from redis import Redis, ResponseError

    numbers = [int(server.database)] if server.database else list(range(REDIS_DATABASES - 1, 0, -1))
    for number in numbers:
        client = Redis.from_url(server.with_database(str(number)).url)
        # A server may have fewer databases than the usual number.
        with contextlib.closing(client), contextlib.suppress(ResponseError):
            if _is_empty(client) and claims.set(_claim_key(number), os.getpid(), nx=True, ex=3600):
                client.flushdb()
                return number
    raise ServiceMissing(f"Redis: none of the databases {numbers} is empty and free; tests empty what they use")


def _is_empty(client: Redis) -> bool:
    """But for logs of purges, which a thread of an earlier run has begun anew when all had been emptied already."""
    return client.dbsize() < 8 and all(key.endswith(b":wsgiperf:purges") for key in client.scan_iter())


def _claim_key(number: int) -> str:
    return f"django-wsgiperf-tests:{number}"


def execute(server: Address, statement: str) -> str:
    """Run one statement outside a transaction; the first value of its first row, if it has one."""
    if server.scheme == "mysql":
        import MySQLdb

        login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        with contextlib.closing(
            MySQLdb.connect(**login, connect_timeout=CONNECT_LIMIT_S, charset="utf8mb4")
        ) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
    else:
        import psycopg

        url = server.with_database(server.database or "postgres").url
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_LIMIT_S) as connection:
            # The names in the statements are our own.
            executed = connection.execute(statement.encode())
            row = executed.fetchone() if executed.description else None
    return str(row[0]) if row else ""


def _examine_database(url: str) -> str:
    server = Address.parse(url)
    version = execute(server, "SELECT VERSION()" if server.scheme == "mysql" else "SHOW server_version")
    # Tests make databases of their own, so the login must be allowed to.
    name = f"wsgiperf_{os.getpid()}_{secrets.token_hex(4)}"
    execute(server, f"CREATE DATABASE {name}")
    drop_database(server, name)
    return version.split()[0].split("-")[0]


def _examine_postgis(url: str) -> str:
    # What GeoDjango loads when it is used; each raises when it is not there.
    from django.contrib.gis.gdal import gdal_version
    from django.contrib.gis.geos import geos_version

    gdal_version()
    geos_version()
    server = Address.parse(url)
    name = f"wsgiperf_{os.getpid()}_{secrets.token_hex(4)}"
    execute(server, f"CREATE DATABASE {name}")
    try:
        execute(server.with_database(name), "CREATE EXTENSION postgis")
        return execute(server.with_database(name), "SELECT extversion FROM pg_extension WHERE extname = 'postgis'")
    finally:
        drop_database(server, name)


def _postgres_guesses() -> list[str]:
    return [f"postgres://{user}@127.0.0.1:5432/postgres" for user in _users("postgres")]


def _examine_redis(url: str) -> str:
    from redis import Redis

    Address.parse(url)
    with contextlib.closing(
        Redis.from_url(url, socket_connect_timeout=CONNECT_LIMIT_S, socket_timeout=CONNECT_LIMIT_S)
    ) as client:
        return str(client.info("server")["redis_version"])


def _examine_program(path: str) -> str:
    # wrk ends with 1 after printing its version; a program that is none does not start at all.
    said = subprocess.run([path, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    number = re.search(r"\d+(\.\d+)+", (said.stdout + said.stderr).decode("utf-8", "replace"))
    return number[0] if number else "unknown version"


def _examine_nginx(path: str) -> str:
    # It has no long options, and speaks to the error stream.
    said = subprocess.run([path, "-v"], capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=True)
    number = re.search(r"nginx/([\d.]+)", said.stderr.decode("utf-8", "replace"))
    if number is None:
        raise ValueError("it does not say that it is nginx")
    return number[1]


def _programs(*names: str) -> list[str]:
    return [path for name in names if (path := shutil.which(name))]


def _shown(url: str) -> str:
    """The address without its password."""
    with contextlib.suppress(ValueError):
        parsed = Address.parse(url)
        return replace(parsed, password="...").url if parsed.password else parsed.url
    return url


def _users(*names: str) -> list[str]:
    users = list(names)
    with contextlib.suppress(OSError, KeyError):  # A user id without a name.
        users.append(getpass.getuser())
    return list(dict.fromkeys(users))


SERVICES: dict[str, Service] = {
    "postgres": Service(
        "PostgreSQL",
        "TEST_POSTGRES_URL",
        _postgres_guesses,
        _examine_database,
    ),
    # The PostgreSQL of the other tests, when it has the extension.
    "postgis": Service(
        "PostGIS",
        "TEST_POSTGIS_URL",
        lambda: [given] if (given := os.environ.get("TEST_POSTGRES_URL")) else _postgres_guesses(),
        _examine_postgis,
    ),
    "mysql": Service(
        "MariaDB",
        "TEST_MYSQL_URL",
        lambda: [f"mysql://{user}@127.0.0.1:3306/mysql" for user in _users("root")],
        _examine_database,
    ),
    "redis": Service("Redis", "TEST_REDIS_URL", lambda: ["redis://127.0.0.1:6379/"], _examine_redis),
    "chromium": Service(
        "Chromium",
        "TEST_CHROMIUM",
        lambda: _programs(
            "chromium", "chromium-browser", "google-chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"
        ),
        _examine_program,
    ),
    "wrk": Service("wrk", "TEST_WRK", lambda: _programs("wrk"), _examine_program),
    # Debian puts it where only root's PATH leads.
    "nginx": Service("nginx", "TEST_NGINX", lambda: _programs("nginx", "/usr/sbin/nginx"), _examine_nginx),
}


def main(arguments: list[str]) -> int:
    """`python -m tests.services [--given] KEY...`: what `look` finds. `--drop KEY NAME`: drop a database."""
    if arguments[:1] == ["--drop"]:
        drop_database(Address.parse(address(arguments[1])), arguments[2])
        return 0
    here = "--given" not in arguments
    answer: dict[str, dict[str, object]] = {}
    for key in [word for word in arguments if not word.startswith("--")] or list(SERVICES):
        found = look(key, here=here)
        answer[key] = {slot: getattr(found, slot) for slot in found.__slots__}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
