"""Databases that are new and empty, for one run, and gone after it."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.services.address import Address
from tests.services.looking import ServiceMissing, address, redis
from tests.services.statements import drop_database, execute

if TYPE_CHECKING:
    from redis import Redis

REDIS_DATABASES = 16


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
