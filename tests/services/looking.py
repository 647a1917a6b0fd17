"""Finds the services: from TEST_* variables, or else on this machine as it runs. Starts nothing."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.services.address import Address
from tests.services.examining import (
    cache_tests_place,
    examine_cache_tests,
    examine_database,
    examine_nginx,
    examine_postgis,
    examine_program,
    examine_redis,
    postgres_guesses,
    programs,
    users,
)

#: JSON: key -> why the runner could not get the service, so that no test looks again.
MISSING_VARIABLE = "TEST_MISSING"


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


def _shown(url: str) -> str:
    """The address without its password."""
    with contextlib.suppress(ValueError):
        parsed = Address.parse(url)
        return replace(parsed, password="...").url if parsed.password else parsed.url
    return url


SERVICES: dict[str, Service] = {
    "postgres": Service(
        "PostgreSQL",
        "TEST_POSTGRES_URL",
        postgres_guesses,
        examine_database,
    ),
    # The PostgreSQL of the other tests, when it has the extension.
    "postgis": Service(
        "PostGIS",
        "TEST_POSTGIS_URL",
        lambda: [given] if (given := os.environ.get("TEST_POSTGRES_URL")) else postgres_guesses(),
        examine_postgis,
    ),
    "mysql": Service(
        "MariaDB",
        "TEST_MYSQL_URL",
        lambda: [f"mysql://{user}@127.0.0.1:3306/mysql" for user in users("root")],
        examine_database,
    ),
    "redis": Service("Redis", "TEST_REDIS_URL", lambda: ["redis://127.0.0.1:6379/"], examine_redis),
    "chromium": Service(
        "Chromium",
        "TEST_CHROMIUM",
        lambda: programs(
            "chromium", "chromium-browser", "google-chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"
        ),
        examine_program,
    ),
    "wrk": Service("wrk", "TEST_WRK", lambda: programs("wrk"), examine_program),
    # Fetched when it is looked for; the address is its place.
    "cache_tests": Service("HTTP cache tests", "TEST_CACHE_TESTS", cache_tests_place, examine_cache_tests),
    # Debian puts it where only root's PATH leads.
    "nginx": Service("nginx", "TEST_NGINX", lambda: programs("nginx", "/usr/sbin/nginx"), examine_nginx),
}
