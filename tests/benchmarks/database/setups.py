"""Who takes part: each way to give Django its connections, as an entry of DATABASES. Nothing of load or results."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.services import Address

CLOSE, KEEP, NATIVE, NATIVE_CHECKS, ALCHEMY, ALCHEMY_BARE = "close", "keep", "native", "native-checks", "dj", "dj-bare"
OURS, OURS_TRANSACTION = "ours", "ours-transaction"

POSTGRESQL, MYSQL = "postgresql", "mysql"
#: A request that waits longer than this has failed, in every pool alike.
ACQUIRE_S = 30.0

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One way. `entry` gives what it adds to DATABASES["default"] for a pool of so many connections."""

    name: str
    title: str
    package: str
    entry: Callable[[str, int], Entry]
    vendors: tuple[str, ...] = (POSTGRESQL, MYSQL)
    is_pool: bool = True

    def database(self, address: Address, size: int) -> Entry:
        """The whole entry, for the database at `address`."""
        place = {
            "NAME": address.database,
            "USER": address.user,
            "PASSWORD": address.password,
            "HOST": address.host,
            "PORT": str(address.port),
        }
        return {**place, **self.entry(vendor(address), size)}

    def middleware(self) -> list[str]:
        """What it adds to MIDDLEWARE."""
        return ["django_wsgiperf.middleware.ConnectionPoolMiddleware"] if self.name in (OURS, OURS_TRANSACTION) else []

    def version(self) -> str:
        """The version of its package, empty when that is not installed."""
        if self.package == "django-wsgiperf":
            return "of this tree"
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return ""


def vendor(address: Address) -> str:
    return MYSQL if address.scheme == "mysql" else POSTGRESQL


def stock(**settings: Any) -> Callable[[str, int], Entry]:
    """Django's own engine."""
    return lambda vendor, size: {"ENGINE": f"django.db.backends.{vendor}", **settings}


def native(*, checks: bool) -> Callable[[str, int], Entry]:
    """Django's psycopg pool."""

    def entry(vendor: str, size: int) -> Entry:
        pool = {"min_size": size, "max_size": size, "timeout": ACQUIRE_S}
        return {"ENGINE": f"django.db.backends.{vendor}", "OPTIONS": {"pool": pool}, "CONN_HEALTH_CHECKS": checks}

    return entry


def alchemy(*, checks: bool) -> Callable[[str, int], Entry]:
    """django-db-connection-pool, which wraps SQLAlchemy's pool."""

    def entry(vendor: str, size: int) -> Entry:
        options = {"POOL_SIZE": size, "MAX_OVERFLOW": 0, "TIMEOUT": ACQUIRE_S, "PRE_PING": checks}
        return {"ENGINE": f"dj_db_conn_pool.backends.{vendor}", "POOL_OPTIONS": options}

    return entry


def ours(**settings: Any) -> Callable[[str, int], Entry]:
    """This project's."""

    def entry(vendor: str, size: int) -> Entry:
        pool = {"MAX_SIZE": size, "ACQUIRE_TIMEOUT_S": ACQUIRE_S, **settings}
        return {"ENGINE": f"django_wsgiperf.db.backends.{vendor}", "POOL": pool}

    return entry


SETUPS: Mapping[str, Setup] = {
    setup.name: setup
    for setup in (
        Setup(name=CLOSE, title="CONN_MAX_AGE=0", package="Django", entry=stock(CONN_MAX_AGE=0), is_pool=False),
        Setup(name=KEEP, title="CONN_MAX_AGE=None", package="Django", entry=stock(CONN_MAX_AGE=None), is_pool=False),
        Setup(
            name=NATIVE, title="Django's psycopg pool", package="psycopg-pool", entry=native(checks=False),
            vendors=(POSTGRESQL,),
        ),
        Setup(
            name=NATIVE_CHECKS, title="Django's psycopg pool, health checks", package="psycopg-pool",
            entry=native(checks=True), vendors=(POSTGRESQL,),
        ),
        Setup(
            name=ALCHEMY, title="django-db-connection-pool", package="django-db-connection-pool",
            entry=alchemy(checks=True),
        ),
        Setup(
            name=ALCHEMY_BARE, title="django-db-connection-pool, no pre-ping", package="django-db-connection-pool",
            entry=alchemy(checks=False),
        ),
        Setup(name=OURS, title="django-wsgiperf", package="django-wsgiperf", entry=ours()),
        Setup(
            name=OURS_TRANSACTION, title="django-wsgiperf, RELEASE transaction", package="django-wsgiperf",
            entry=ours(RELEASE="transaction"),
        ),
    )
}  # fmt: skip
PEERS = (NATIVE, NATIVE_CHECKS, ALCHEMY, ALCHEMY_BARE)
