"""Checks that ask the database server, with a query: `manage.py check --database default`, and `migrate`.

Each takes the server's settings and the aliases to ask, and yields (message, hint); its docstring explains it in
docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from django.db import Error, connections

from django_wsgiperf.checks.facts import Finding, PooledDatabase, pooled_databases
from django_wsgiperf.conf import ServerSettings

POSTGRESQL = """
SELECT current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
           + coalesce(current_setting('reserved_connections', true), '0')::int,
       (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = session_user),
       (SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database())
"""
MYSQL = "SELECT @@global.max_connections, @@session.max_user_connections"


@dataclass(frozen=True, slots=True)
class Limit:
    """How many connections a server allows, and how it says so. `own` holds for the one database and its user."""

    connections: int
    words: str
    own: bool


def server_allows_all_connections(values: ServerSettings, aliases: Collection[str]) -> Iterator[Finding]:
    """All workers together may open more connections than the database server allows.

    Each worker process has a pool of its own, so the server sees `WORKERS` times `MAX_SIZE`, for each database that
    it holds. Past its limit it refuses connections, to other programs and to `psql` as well. What it keeps for
    superusers is not counted, and a limit of the role or of the database counts as much as the server's.

    While a deploy replaces the workers, old and new ones run side by side: leave room for it, and for other
    programs and hosts, which this check does not see. Behind PgBouncer the pooler's own limits hold; silence the
    check there.
    """
    pools = [pooled for pooled in pooled_databases() if pooled.size(values.threads) is not None]
    for pooled in pools:
        if pooled.alias not in aliases:
            continue
        try:
            limits = _limits(pooled.alias)
        except Error as error:
            yield (
                f"The server of database {pooled.alias!r} could not be asked for its limits: {str(error).strip()}",
                "Run the check again when it can be reached.",
            )
            continue
        beside = [other for other in pools if _server(other) == _server(pooled)]
        for limit in limits:
            own = [other for other in beside if _database(other) == _database(pooled)]
            yield from _exceeded(values, limit, own if limit.own else beside)


def _limits(alias: str) -> list[Limit]:
    """What the server says. Raises `django.db.Error`."""
    connection = connections[alias]
    if connection.vendor not in ("postgresql", "mysql"):
        return []
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL if connection.vendor == "postgresql" else MYSQL)
        row = cursor.fetchone()
    if connection.vendor == "mysql":
        most, for_user = row
        return [
            Limit(most, f"max_connections is {most}", own=False),
            *([Limit(for_user, f"max_user_connections is {for_user}", own=True)] if for_user else []),
        ]
    most, reserved, for_role, for_database = row
    # -1 is no limit, and so is NULL, for a role that is no longer there.
    own = (("role", for_role), ("database", for_database))
    return [
        Limit(most - reserved, f"max_connections is {most}, of which {reserved} are reserved", own=False),
        *(
            Limit(number, f"the CONNECTION LIMIT of the {what} is {number}", own=True)
            for what, number in own
            if number is not None and number >= 0
        ),
    ]


def _exceeded(values: ServerSettings, limit: Limit, pools: list[PooledDatabase]) -> Iterator[Finding]:
    sizes = {pooled.alias: pooled.size(values.threads) or 0 for pooled in pools}
    each = sum(sizes.values())
    if each * values.workers <= limit.connections:
        return
    workers = "1 worker" if values.workers == 1 else f"{values.workers} workers"
    listed = " + ".join(f"{size} of database {alias!r}" for alias, size in sizes.items())
    yield (
        f"{workers} with up to {listed} may open {each * values.workers} connections, and the server allows "
        f"{limit.connections}: {limit.words}.",
        f"Let the pools of a worker have at most {max(1, limit.connections // values.workers)} connections together "
        "by MAX_SIZE, use fewer WORKERS, or raise the server's limit.",
    )


def _server(pooled: PooledDatabase) -> tuple[str, str, str]:
    database = pooled.database
    kind = str(database["ENGINE"]).rpartition(".")[2].replace("postgis", "postgresql")
    return kind, str(database.get("HOST", "")), str(database.get("PORT", ""))


def _database(pooled: PooledDatabase) -> tuple[str, str]:
    return str(pooled.database.get("NAME", "")), str(pooled.database.get("USER", ""))
