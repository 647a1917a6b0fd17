"""Checks of the request timing: that it stands where it sees everything, and tells nobody what they need not know.

Each takes the server's settings and yields (message, hint); its docstring explains it in docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.conf import settings

from django_wsgiperf import conf
from django_wsgiperf.checks.facts import Finding, cannot_be_imported, databases
from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.metrics.instruments import MIDDLEWARE
from django_wsgiperf.metrics.modes import has_threads

_DJANGOS_REDIS: Final = "django.core.cache.backends.redis.RedisCache"


def _is_used() -> bool:
    return any(name in settings.MIDDLEWARE for name in MIDDLEWARE)


def middleware_is_first(values: ServerSettings) -> Iterator[Finding]:
    """`RequestTimingMiddleware` measures what comes after it in `MIDDLEWARE`.

    What stands before it takes time that nobody sees, and requests that are answered there are not counted.
    """
    for name in MIDDLEWARE:
        if name in settings.MIDDLEWARE and settings.MIDDLEWARE[0] not in MIDDLEWARE:
            yield (
                f"{name!r} comes after {settings.MIDDLEWARE[0]!r} in MIDDLEWARE, and does not measure it.",
                "Put it first.",
            )
            return


def route_namer_is_found(values: ServerSettings) -> Iterator[Finding]:
    """`METRICS["ROUTE_NAMER"]` is imported when the first request comes, which then fails."""
    dotted = conf.current("METRICS").values.route_namer
    if dotted and _is_used() and (why := cannot_be_imported(dotted)):
        yield (
            f"METRICS['ROUTE_NAMER'] is {dotted!r}, but {why}.",
            "Write the dotted name of a function, for example 'shop.metrics.name_of'.",
        )


def store_is_there(values: ServerSettings) -> Iterator[Finding]:
    """`METRICS["DATABASE"]` is an alias in `DATABASES`, and with `STORE = "redis"` `METRICS["CACHE"]` one of Redis.

    Without it nothing can be written: numbers wait for a quarter of an hour, and are lost then.
    """
    metrics = conf.current("METRICS").values
    if not _is_used() or not metrics.enabled or metrics.store == "memory":
        return
    if metrics.store == "database":
        aliases = [alias for alias, _ in databases()]
        if metrics.database not in aliases:
            yield _no_such_alias("DATABASE", metrics.database, "DATABASES", aliases)
        return
    if metrics.cache not in settings.CACHES:
        yield _no_such_alias("CACHE", metrics.cache, "CACHES", list(settings.CACHES))
        return
    backend = str(settings.CACHES[metrics.cache].get("BACKEND", ""))
    # Backends of others may be derived from one for Redis; Django's own are known.
    if backend.startswith("django.core.") and backend != _DJANGOS_REDIS:
        yield (
            f"METRICS['STORE'] is 'redis', and its CACHE {metrics.cache!r} a {backend.rpartition('.')[2]}.",
            "Set METRICS['CACHE'] to an alias of CACHES in Redis, or METRICS['STORE'] to 'database'.",
        )


def _no_such_alias(key: str, alias: str, setting: str, known: list[str]) -> Finding:
    return (
        f"METRICS[{key!r}] is {alias!r}, and {setting} has no such alias.",
        f"Write one of {', '.join(map(repr, known))}, or add {alias!r} to {setting}.",
    )


def timing_is_not_for_everybody(values: ServerSettings) -> Iterator[Finding]:
    """`METRICS["SERVER_TIMING"] = "all"` tells every client how long the database and the cache took.

    How long things take tells a stranger what exists: whether a user does, whether a page is cached.
    """
    if conf.current("METRICS").values.server_timing == "all" and _is_used():
        yield (
            "METRICS['SERVER_TIMING'] is 'all': every client is told what its request spent time on.",
            "Set it to 'staff', which is the default, or to 'off'.",
        )


def threads_may_run(values: ServerSettings) -> Iterator[Finding]:
    """uWSGI lets no thread run beside its requests unless it is told to.

    Requests then sum and write the measurements themselves, after their response; a process that has none writes
    nothing; and what needs a thread is missing: what runs in other processes, stacks of slow requests, OTLP. Only a
    process of uWSGI knows how it was started, so that this is seen on the admin page and not by `manage.py check`.
    """
    if not has_threads() and _is_used():
        yield (
            "This process runs under uWSGI without threads: requests write the measurements themselves, and what runs "
            "in other processes cannot be seen.",
            "Start uWSGI with --enable-threads, or with --threads for more than one request at a time.",
        )
