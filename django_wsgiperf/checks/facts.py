"""What several checks want to know: the databases and their pools, what can be imported, who can reach an address.

Reads settings only; no connection is opened.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.utils import load_backend

from django_wsgiperf.conf import PoolSettings, Resolved
from django_wsgiperf.db import settings as pool_settings

#: What a check says: the message and the hint.
Finding = tuple[str, str]
SQLITE = ("sqlite3", "spatialite")
#: What psycopg_pool opens when it is told no size.
PSYCOPG_POOL_SIZE = 4


def databases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each database's alias and settings, defaults filled in."""
    yield from connections.settings.items()


@dataclass(frozen=True, slots=True)
class PooledDatabase:
    """A database whose ENGINE can pool, what its pool was told, and where.

    `native` is Django's own pool in `OPTIONS["pool"]`, which then takes the place of ours.
    """

    alias: str
    database: Mapping[str, Any]
    resolved: Resolved[PoolSettings]
    native: bool

    @property
    def settings(self) -> PoolSettings:
        return self.resolved.values

    def size(self, threads: int) -> int | None:
        """The connections that its pool may hold in a process of `serve` with so many threads, if that is known."""
        return native_size(self.database) if self.native else pool_settings.max_size(self.settings, threads)


def pooled_databases() -> Iterator[PooledDatabase]:
    """The databases that have a pool, ours or, with an ENGINE of ours, Django's. Raises `ConfigurationError`."""
    for alias, database in databases():
        native = bool((database.get("OPTIONS") or {}).get("pool"))
        if pool_settings.is_on(database) and not is_in_memory(database) and can_pool(str(database["ENGINE"])):
            yield PooledDatabase(alias, database, pool_settings.resolve(alias, database), native)


def native_size(database: Mapping[str, Any]) -> int | None:
    """The connections that Django's own pool holds at most; None when its settings do not say so."""
    pool = (database.get("OPTIONS") or {}).get("pool")
    size: object = PSYCOPG_POOL_SIZE
    if isinstance(pool, Mapping):
        size = pool.get("max_size") or pool.get("min_size") or PSYCOPG_POOL_SIZE
    return size if isinstance(size, int) else None


def can_pool(engine: str) -> bool:
    """Whether the ENGINE is one of ours, or was made by `make_pooled`. An ENGINE of Django's is not imported."""
    if engine.startswith(("django_wsgiperf.db.backends.", "django.")):
        return engine.startswith("django_wsgiperf.")
    from django_wsgiperf.db.mixin import PooledMixin

    try:
        backend = load_backend(engine)
    except ImproperlyConfigured:  # Django says so itself, as soon as the database is used
        return False
    return issubclass(backend.DatabaseWrapper, PooledMixin)


def is_in_memory(database: Mapping[str, Any]) -> bool:
    """Whether it is an SQLite database without a file."""
    name = str(database.get("NAME") or "")
    memory = name in ("", ":memory:") or "mode=memory" in name
    return memory and str(database["ENGINE"]).rpartition(".")[2] in SQLITE


def cannot_be_imported(dotted: str) -> str:
    """Why a dotted name cannot be imported, or nothing. Its module is looked for and not imported.

    Once something else has imported it, its names are looked at too.
    """
    module, _, name = dotted.rpartition(".")
    if not module:
        return "that names no module"
    try:
        found = find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        return f"there is no module {module!r}"
    if module in sys.modules and not hasattr(sys.modules[module], name):
        return f"the module {module!r} has no {name!r}"
    return ""


def everyone(networks: Iterable[str]) -> Iterator[str]:
    """Those of the networks that are the whole internet."""
    for network in networks:
        if network != "unix" and ipaddress.ip_network(network).prefixlen == 0:
            yield network


def is_this_machine(host: str) -> bool:
    """Whether a database's HOST needs no network: nothing, the folder of a socket, or this machine by name."""
    return host.startswith(("/", "@")) or host in ("", "localhost") or is_local(f"[{host}]:0")


def is_local(address: str) -> bool:
    """Whether only this machine can connect to a listening address. An open file number may be anything."""
    if address.startswith(("unix:", "fd:")):
        return address.startswith("unix:")
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
