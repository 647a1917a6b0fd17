"""What else is at work beside the threads, for the start-up summary: connection pools, response cache, request timing.

Reads settings only; a part that is not in use has no line.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings as django_settings

from django_wsgiperf import conf
from django_wsgiperf.conf import ServerSettings

_TIMING = "RequestTimingMiddleware"


def parts(settings: ServerSettings) -> list[tuple[str, str]]:
    """A label and a text for each line. Raises ConfigurationError for wrong settings."""
    return [*_pools(settings), *_cache(), *_timing()]


def _pools(settings: ServerSettings) -> Iterator[tuple[str, str]]:
    from django_wsgiperf.checks.facts import pooled_databases

    sizes = {pooled.alias: pooled.size(settings.threads) for pooled in pooled_databases()}
    known = [(alias, size) for alias, size in sizes.items() if size is not None]
    for number, (alias, size) in enumerate(known):
        most = "1 connection" if size == 1 else f"{size} connections"
        all_of_them = f", {size * settings.workers} in all" if settings.workers > 1 else ""
        yield "" if number else "database", f"{alias}: at most {most} in each process{all_of_them}"


def _cache() -> Iterator[tuple[str, str]]:
    values = conf.current("CACHE").values
    if values.enabled:
        shared = f", shared by CACHES[{values.store!r}]" if values.store else ""
        yield "cache", f"public pages, {values.memory_bytes / 2**20:.4g} MiB in each process{shared}"


def _timing() -> Iterator[tuple[str, str]]:
    values = conf.current("METRICS").values
    if values.enabled and any(name.rpartition(".")[2] == _TIMING for name in django_settings.MIDDLEWARE):
        where = {
            "database": f"DATABASES[{values.database!r}]",
            "redis": f"CACHES[{values.cache!r}]",
            "memory": "memory, until the process ends",
        }
        yield "timing", f"every request, kept in {where[values.store]}"
