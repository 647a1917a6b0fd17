"""Checks for production only: `manage.py check --deploy`.

Each takes the server's settings and yields (message, hint); its docstring explains it in docs/checks.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from django.conf import settings

from django_wsgiperf import conf
from django_wsgiperf.checks.facts import (
    SQLITE,
    Finding,
    can_pool,
    databases,
    everyone,
    is_in_memory,
    is_local,
    is_this_machine,
    pooled_databases,
)
from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.db.settings import is_on

#: Where threads stop paying: 32 threads keep one core busy when a request spends 3 % of its time in Python.
THREADS_PER_CORE = 32
#: The time after which widespread load balancers close an idle connection to a server.
BALANCER_IDLE_S = 60
SHORTEST_TOKEN = 20
_POSTGRESQL = (
    "tcp_user_timeout",
    '"connect_timeout": 5, "tcp_user_timeout": 10_000, "keepalives_idle": 30, "keepalives_interval": 5',
)
_MYSQL = "read_timeout", '"connect_timeout": 5, "read_timeout": 60, "write_timeout": 60'
#: The option of each engine's driver that ends the wait for a server that is silent, and an example.
_ENDS_SILENCE = {"postgresql": _POSTGRESQL, "postgis": _POSTGRESQL, "mysql": _MYSQL}
_FILES_OF_CLIENTS = ("service", "read_default_file")


def threads_are_worth_their_switches(values: ServerSettings) -> Iterator[Finding]:
    """One process runs Python on one core at a time, however many threads it has.

    Threads help while a request waits for something else. Past some number they only compete for the
    interpreter and make every response slower. 32 are enough when a request spends 3 % of its time in Python;
    ordinary pages spend far more. A free-threaded interpreter uses every core, and may have 32 for each.
    """
    cores = conf.cpu_cores()
    shared_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    most = THREADS_PER_CORE if shared_lock else THREADS_PER_CORE * cores
    if values.threads > most:
        yield (
            f"{values.threads} threads share one interpreter lock in each worker; "
            f"this machine has {cores} {'core' if cores == 1 else 'cores'}.",
            f"Use at most {most} THREADS and more WORKERS, for example WORKERS = 'auto'.",
        )


def connections_are_kept(values: ServerSettings) -> Iterator[Finding]:
    """With `CONN_MAX_AGE = 0`, Django's default, every request opens and closes a database connection.

    That costs milliseconds on each request, often more than its queries. Threads of `serve` live long, so
    that a connection kept by each is used again.
    """
    for alias, database in databases():
        engine = str(database["ENGINE"])
        local = engine.rpartition(".")[2] in (*SQLITE, "dummy")
        if local or (is_on(database) and can_pool(engine)):
            continue
        if database.get("CONN_MAX_AGE") == 0 and not (database.get("OPTIONS") or {}).get("pool"):
            yield (
                f"Every request opens a new connection to database {alias!r}: CONN_MAX_AGE is 0.",
                "Set CONN_MAX_AGE = 60 and CONN_HEALTH_CHECKS = True for it, or use a connection pool.",
            )


def statistics_are_not_public(values: ServerSettings) -> Iterator[Finding]:
    """Statistics show paths, stacks and load. `STATS_ALLOW` must not list every address there is."""
    for network in everyone(values.stats_allow):
        yield (
            f"STATS_ALLOW contains {network!r}: everyone can read the metrics and statistics.",
            "List the addresses of your monitoring only, or set STATS_TOKEN.",
        )


def statistics_token_is_long(values: ServerSettings) -> Iterator[Finding]:
    """`STATS_TOKEN` is the only thing between a stranger and the statistics, so it must not be guessable."""
    if 0 < len(values.stats_token) < SHORTEST_TOKEN:
        yield (
            f"STATS_TOKEN has {len(values.stats_token)} characters, which can be guessed.",
            f"Use at least {SHORTEST_TOKEN} random characters, for example from: openssl rand -hex 24",
        )


def reload_is_off(values: ServerSettings) -> Iterator[Finding]:
    """`RELOAD` watches the source files and restarts at each change, which interrupts requests."""
    if values.reload:
        yield "RELOAD is on.", "Turn it off in production; restart, or send USR2, to take up new code."


def only_proxies_are_trusted(values: ServerSettings) -> Iterator[Finding]:
    """Whoever is in `TRUSTED_PROXIES` may say which address a request came from, and whether it came by TLS.

    When every address is in it and the server can be reached from elsewhere, every client may.
    """
    if all(is_local(address) for address in values.bind):
        return
    for network in everyone(values.trusted_proxies):
        yield (
            f"TRUSTED_PROXIES contains {network!r} and the server listens on {', '.join(values.bind)}: "
            "any client can pretend to have any address.",
            "List the addresses of your proxies, or listen on 127.0.0.1 or a unix socket.",
        )


def requests_have_a_deadline(values: ServerSettings) -> Iterator[Finding]:
    """With `REQUEST_TIMEOUT_S = 0` a view that hangs keeps its thread. Enough of them stop the site."""
    if values.request_timeout_s == 0:
        yield (
            "REQUEST_TIMEOUT_S is 0: a view that hangs keeps its thread for ever.",
            "Set it a little above your slowest page, for example to 60.",
        )


def keepalive_outlasts_the_balancer(values: ServerSettings) -> Iterator[Finding]:
    """The proxy, not the server, must be the one that closes idle connections.

    Load balancers commonly keep an idle connection for 60 seconds. A server that closes it before, or at the
    same moment, may do so while the next request is on its way, and the balancer answers 502.
    """
    if values.trusted_proxies and 0 < values.keepalive_s <= BALANCER_IDLE_S:
        yield (
            f"KEEPALIVE_S is {values.keepalive_s:g}, and the proxy in front may keep connections longer.",
            f"Set KEEPALIVE_S above the proxy's idle timeout, which is often {BALANCER_IDLE_S}; try 75.",
        )


def silence_has_an_end(values: ServerSettings) -> Iterator[Finding]:
    """A database on another machine may fall silent: no answer, and no error, for as long as 15 minutes.

    Whoever waits for it keeps a connection of the pool and a thread of the server, until none is left. No limit of
    the pool ends that, only those of the driver: `tcp_user_timeout` on PostgreSQL, `read_timeout` on MySQL and MariaDB.
    What each of them is for is told in [Connection pool](database-pool.md#when-it-is-silent).
    """
    for pooled in pooled_databases():
        database, options = pooled.database, pooled.database.get("OPTIONS") or {}
        option, example = _ENDS_SILENCE.get(str(database["ENGINE"]).rpartition(".")[2], ("", ""))
        host = str(database.get("HOST") or "")
        # A file of the client's own may say what we do not see.
        if not option or is_this_machine(host) or not options.keys().isdisjoint({option, *_FILES_OF_CLIENTS}):
            continue
        yield (
            f"Nothing ends a query on database {pooled.alias!r} when {host} falls silent: OPTIONS have no {option}.",
            f"Add {example} to its OPTIONS.",
        )


def sqlite_is_on_disk(values: ServerSettings) -> Iterator[Finding]:
    """Each connection to an in-memory SQLite database sees a database of its own, empty at first.

    Threads have a connection each, so that what one request writes the next may not find.
    """
    for alias, database in databases():
        if is_in_memory(database):
            yield (
                f"Database {alias!r} is SQLite in memory: every thread has an empty one of its own.",
                "Set NAME to a file, or use PostgreSQL or MariaDB.",
            )


def workers_share_a_cache(values: ServerSettings) -> Iterator[Finding]:
    """`LocMemCache` belongs to one process. With several workers, each has its own copy.

    A value that one worker deletes or changes stays in the others: counters, rate limits and invalidation go
    wrong.
    """
    if values.workers == 1:
        return
    for alias, cache in settings.CACHES.items():
        if str(cache.get("BACKEND", "")).endswith(".LocMemCache"):
            yield (
                f"Cache {alias!r} is in process memory: each of {values.workers} workers has its own copy.",
                "Use Redis, Memcached or the database for it, or WORKERS = 1.",
            )


def forwarding_headers_have_a_source(values: ServerSettings) -> Iterator[Finding]:
    """`SECURE_PROXY_SSL_HEADER`, `USE_X_FORWARDED_HOST` and `USE_X_FORWARDED_PORT` make Django believe a header.

    Only a proxy may set such a header. With `TRUSTED_PROXIES`, `X-Forwarded-*` and `Forwarded` are removed from
    everybody else's requests. Without it, and for headers of other names, nothing tells the proxy's from one that a
    client made up.
    """
    if not values.trusted_proxies:
        for name in ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT"):
            if getattr(settings, name):
                yield (
                    f"{name} is set, but TRUSTED_PROXIES is empty: clients can make the header up.",
                    f"List your proxies in WSGIPERF['SERVER']['TRUSTED_PROXIES'], or remove {name}.",
                )
    elif settings.SECURE_PROXY_SSL_HEADER:
        header = settings.SECURE_PROXY_SSL_HEADER[0]
        if not header.startswith("HTTP_X_FORWARDED_"):
            yield (
                f"SECURE_PROXY_SSL_HEADER names {header}, which TRUSTED_PROXIES leaves in everybody's requests.",
                "Have the proxy send X-Forwarded-Proto or Forwarded, and remove SECURE_PROXY_SSL_HEADER: the scheme "
                "of a request is then known without it.",
            )
