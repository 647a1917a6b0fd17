"""How each service is tried, and where it may be: its version, or an exception that says what is wrong with it."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.services.address import Address
from tests.services.statements import CONNECT_LIMIT_S, drop_database, execute


def examine_database(url: str) -> str:
    server = Address.parse(url)
    version = execute(server, "SELECT VERSION()" if server.scheme == "mysql" else "SHOW server_version")
    # Tests make databases of their own, so the login must be allowed to.
    name = f"wsgiperf_{os.getpid()}_{secrets.token_hex(4)}"
    execute(server, f"CREATE DATABASE {name}")
    drop_database(server, name)
    return version.split()[0].split("-")[0]


def examine_postgis(url: str) -> str:
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


def postgres_guesses() -> list[str]:
    return [f"postgres://{user}@127.0.0.1:5432/postgres" for user in users("postgres")]


def examine_redis(url: str) -> str:
    from redis import Redis

    Address.parse(url)
    with contextlib.closing(
        Redis.from_url(url, socket_connect_timeout=CONNECT_LIMIT_S, socket_timeout=CONNECT_LIMIT_S)
    ) as client:
        return str(client.info("server")["redis_version"])


def examine_program(path: str) -> str:
    # wrk ends with 1 after printing its version; a program that is none does not start at all.
    said = subprocess.run([path, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    number = re.search(r"\d+(\.\d+)+", (said.stdout + said.stderr).decode("utf-8", "replace"))
    return number[0] if number else "unknown version"


def examine_cache_tests(place: str) -> str:
    from tests.conformance import suite

    suite.get(Path(place))
    return suite.VERSION


def cache_tests_place() -> list[str]:
    from tests.conformance import suite

    return [str(suite.RUN_FOLDER)]


def examine_nginx(path: str) -> str:
    # It has no long options, and speaks to the error stream.
    said = subprocess.run([path, "-v"], capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=True)
    number = re.search(r"nginx/([\d.]+)", said.stderr.decode("utf-8", "replace"))
    if number is None:
        raise ValueError("it does not say that it is nginx")
    return number[1]


def programs(*names: str) -> list[str]:
    return [path for name in names if (path := shutil.which(name))]


def users(*names: str) -> list[str]:
    users = list(names)
    with contextlib.suppress(OSError, KeyError):  # A user id without a name.
        users.append(getpass.getuser())
    return list(dict.fromkeys(users))
