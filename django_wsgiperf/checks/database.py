"""Checks of the database connection pools that read settings only. Those that ask a server are in `capacity`.

Each takes the server's settings and yields (message, hint); its docstring explains it in docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.conf import settings

from django_wsgiperf.checks.facts import (
    Finding,
    can_pool,
    cannot_be_imported,
    databases,
    is_in_memory,
    pooled_databases,
)
from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.db.settings import is_on

MIDDLEWARE = "django_wsgiperf.middleware.ConnectionPoolMiddleware"
#: Those of ours that belong outside: one times what the other parts do, the other answers without a database.
OUTSIDE = ("RequestTimingMiddleware", "ResponseCacheMiddleware")
#: The engines of Django that have a counterpart with a pool.
COUNTERPARTS = ("postgresql", "postgis", "mysql", "sqlite3")
#: Keys of POOL that also mean something for Django's own pool.
ALSO_NATIVE = {"RELEASE", "EVICT_ON"}


def connections_belong_to_the_pool(values: ServerSettings) -> Iterator[Finding]:
    """`CONN_MAX_AGE` and a pool exclude each other.

    With a `CONN_MAX_AGE` that is not 0, each thread keeps its connection when a request ends, so that none ever
    comes back to the pool. Connections of a pool stay open between requests without it.
    """
    for pooled in pooled_databases():
        if pooled.database.get("CONN_MAX_AGE", 0) != 0:
            yield (
                f"Database {pooled.alias!r} has a connection pool, and CONN_MAX_AGE is "
                f"{pooled.database['CONN_MAX_AGE']!r}: its threads would keep the connections.",
                f"Remove CONN_MAX_AGE from DATABASES[{pooled.alias!r}], or set its 'POOL': False.",
            )


def one_pool_is_enough(values: ServerSettings) -> Iterator[Finding]:
    """A database has the pool of `POOL`, or Django's own in `OPTIONS["pool"]`, and not both.

    With an ENGINE of ours and `OPTIONS["pool"]`, Django's pool is in charge; of the keys of `POOL`, only `RELEASE` and
    `EVICT_ON` mean something for it.
    """
    for pooled in pooled_databases():
        given = pooled.database.get("POOL")
        beyond = sorted(given.keys() - ALSO_NATIVE) if isinstance(given, Mapping) else []
        if pooled.native and (beyond or given is True):
            what = f"POOL with {', '.join(beyond)}" if beyond else "POOL = True"
            yield (
                f"Database {pooled.alias!r} has {what}, and OPTIONS['pool']: Django's own pool is in charge.",
                f"Remove OPTIONS['pool'] from DATABASES[{pooled.alias!r}] to use POOL, or POOL to keep Django's pool.",
            )


def validators_are_found(values: ServerSettings) -> Iterator[Finding]:
    """`VALIDATE` is the dotted path of a function that decides whether a connection may be handed out.

    Its module is looked for and not imported.
    """
    for pooled in pooled_databases():
        dotted = pooled.settings.validate
        if dotted and (why := cannot_be_imported(dotted)):
            yield (
                f"VALIDATE of database {pooled.alias!r} is {dotted!r}, but {why}. "
                f"Set by: {pooled.resolved.origins['validate']}.",
                "Write the dotted path of a function, for example 'shop.db.is_primary'.",
            )


def atomic_requests_find_a_connection(values: ServerSettings) -> Iterator[Finding]:
    """With `ATOMIC_REQUESTS` a request holds a connection for as long as its view runs.

    Whatever `RELEASE` says, the transaction around the view keeps it. With fewer connections than threads, the other
    threads wait for one although they may not want to query at all, and fail after `ACQUIRE_TIMEOUT_S`.
    """
    for pooled in pooled_databases():
        size = pooled.size(values.threads)
        if pooled.database.get("ATOMIC_REQUESTS") and size is not None and size < values.threads:
            yield (
                f"The pool of database {pooled.alias!r} holds {size} connections for {values.threads} threads, and "
                "ATOMIC_REQUESTS takes one for each request, from the beginning of its view to its end.",
                "Make the pool as large as THREADS, or use transaction.atomic in the views that need it.",
            )


def middleware_is_there(values: ServerSettings) -> Iterator[Finding]:
    """`RELEASE = "response"`, the default, is the work of `ConnectionPoolMiddleware`.

    Without it a connection is held until the client has read the last byte, as with `RELEASE = "request"`.
    """
    names = [pooled.alias for pooled in pooled_databases() if pooled.settings.release == "response"]
    if names and not _positions("ConnectionPoolMiddleware"):
        aliases = ", ".join(map(repr, names))
        yield (
            f"RELEASE is 'response' for database {aliases}, but ConnectionPoolMiddleware is not in MIDDLEWARE: "
            "connections are held until the slowest client has read its response.",
            f"Put {MIDDLEWARE!r} before Django's own middleware, or set RELEASE to 'request'.",
        )


def middleware_is_outside(values: ServerSettings) -> Iterator[Finding]:
    """`ConnectionPoolMiddleware` stands before Django's own middleware, and after our other two.

    What stands before it in `MIDDLEWARE` works on the response after it has given the connection back, and takes
    one again when it queries: `SessionMiddleware` does so to save the session. `RequestTimingMiddleware` is to see
    what the pool does, and `ResponseCacheMiddleware` answers without it, so that they come first.
    """
    for position in _positions("ConnectionPoolMiddleware")[:1]:
        inside = [name for name in settings.MIDDLEWARE[:position] if name.startswith("django.")]
        outside = [
            name
            for name in settings.MIDDLEWARE[position + 1 :]
            if name.rpartition(".")[2] in OUTSIDE and _is_ours(name)
        ]
        if inside:
            yield (
                f"{MIDDLEWARE!r} comes after {', '.join(map(repr, inside))} in MIDDLEWARE.",
                f"Put it before {inside[0]!r}.",
            )
        if outside:
            yield (
                f"{MIDDLEWARE!r} comes before {', '.join(map(repr, outside))} in MIDDLEWARE.",
                f"Put it after {outside[-1]!r}.",
            )


def pools_have_an_engine(values: ServerSettings) -> Iterator[Finding]:
    """`POOL` does nothing with an ENGINE that knows no pool, such as Django's own.

    The engines are in `django_wsgiperf.db.backends`; `make_pooled` makes one of any other.
    """
    for alias, database in databases():
        engine = str(database["ENGINE"])
        if database.get("POOL") and not can_pool(engine):
            module = engine.rpartition(".")[2]
            known = engine.startswith("django.") and module in COUNTERPARTS
            ours = f"Set its ENGINE to 'django_wsgiperf.db.backends.{module}'"
            hint = ours if known else "Make an engine with django_wsgiperf.db.make_pooled"
            yield f"Database {alias!r} has a POOL, but its ENGINE {engine!r} has none.", f"{hint}, or remove POOL."


def memory_is_left_alone(values: ServerSettings) -> Iterator[Finding]:
    """An SQLite database in memory lives in its connection, so it has no pool: each thread keeps its own."""
    for alias, database in databases():
        if is_in_memory(database) and can_pool(str(database["ENGINE"])) and is_on(database):
            yield (
                f"Database {alias!r} is SQLite in memory, and has no connection pool.",
                "Nothing needs to be done; 'POOL': False says that it is meant.",
            )


def _positions(name: str) -> list[int]:
    """Where a middleware of that name is in MIDDLEWARE; a project's own subclass may be in another module."""
    return [index for index, dotted in enumerate(settings.MIDDLEWARE) if dotted.rpartition(".")[2] == name]


def _is_ours(dotted: str) -> bool:
    return dotted.startswith("django_wsgiperf.")
