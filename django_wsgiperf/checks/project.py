"""Checks that hold in every environment, on a developer's machine as in production.

Each takes the server's settings and yields (message, hint); its docstring explains it in docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from django_wsgiperf.checks.facts import Finding, can_pool, cannot_be_imported, databases, native_size
from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.db.settings import is_on


def wsgi_application_is_found(values: ServerSettings) -> Iterator[Finding]:
    """`serve` runs the application that `WSGI_APPLICATION` names, as `runserver` does.

    The module is looked for and not imported: importing it loads every middleware, which is too much for a
    check that also runs before `migrate`. Once something else has imported it, its names are looked at too.
    """
    dotted = settings.WSGI_APPLICATION
    if not dotted:
        return
    if why := cannot_be_imported(str(dotted)):
        hint = "Write the dotted name of the application, for example 'project.wsgi.application'."
        yield f"WSGI_APPLICATION is {dotted!r}, but {why}.", hint


def wsgi_application_is_named(values: ServerSettings) -> Iterator[Finding]:
    """Without `WSGI_APPLICATION`, Django's plain handler is what can be served.

    What the project's `wsgi.py` wraps around it is then left out.
    """
    if not settings.WSGI_APPLICATION:
        yield (
            "WSGI_APPLICATION is not set, so what wsgi.py adds to Django's handler would not be served.",
            "Set WSGI_APPLICATION, for example to 'project.wsgi.application'.",
        )


def native_pool_is_large_enough(values: ServerSettings) -> Iterator[Finding]:
    """Django's PostgreSQL pool, `OPTIONS["pool"]`, must hold a connection for each thread.

    A thread keeps its connection from its first query until the response is closed, with `ATOMIC_REQUESTS`
    from the very start. With fewer connections than threads, requests wait for one and fail after the pool's
    timeout of 30 seconds. `"pool": True` means four connections. An ENGINE of `django_wsgiperf.db.backends` gives
    the connection back earlier, so that fewer are enough.
    """
    for alias, database in databases():
        engine = str(database["ENGINE"])
        if not (database.get("OPTIONS") or {}).get("pool") or (is_on(database) and can_pool(engine)):
            continue
        size = native_size(database)
        if size is not None and size < values.threads and ("postgresql" in engine or "postgis" in engine):
            yield (
                f"The pool of database {alias!r} holds {size} connections for {values.threads} threads, "
                "so that requests wait for one and may fail.",
                f"Set OPTIONS['pool'] = {{'max_size': {values.threads}}}, or WSGIPERF['SERVER']['THREADS'] = {size}.",
            )


def jitter_has_something_to_vary(values: ServerSettings) -> Iterator[Finding]:
    """`MAX_REQUESTS_JITTER` is added to `MAX_REQUESTS`, and does nothing while that is 0."""
    if values.max_requests_jitter and not values.max_requests:
        yield (
            f"MAX_REQUESTS_JITTER is {values.max_requests_jitter}, but MAX_REQUESTS is 0: workers are never replaced.",
            "Set MAX_REQUESTS too, or remove MAX_REQUESTS_JITTER.",
        )
