"""Checks of the response cache: its store, its place among the middleware, and who else compresses or caches.

Each takes the server's settings and yields (message, hint); its docstring explains it in docs/checks.md. Settings are
read only: no store is connected to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from django_wsgiperf import conf
from django_wsgiperf.cache.stores import UNSUITABLE
from django_wsgiperf.checks.facts import Finding
from django_wsgiperf.conf import CacheSettings, ServerSettings

MIDDLEWARE = "django_wsgiperf.middleware.ResponseCacheMiddleware"
TIMING = "django_wsgiperf.middleware.RequestTimingMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
DJANGOS = ("django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware")
#: Serializers that unpickle what they find, by backend; django-redis and Django's own name them differently.
_PICKLING = {
    "django_redis.cache.RedisCache": ("SERIALIZER", "django_redis.serializers.pickle.PickleSerializer"),
    "django.core.cache.backends.redis.RedisCache": ("serializer", "django.core.cache.backends.redis.RedisSerializer"),
}
RAW = "django_wsgiperf.cache.serializers.RawBytes"


def store_can_be_shared(values: ServerSettings) -> Iterator[Finding]:
    """`STORE` of the response cache is an alias in `CACHES` that processes share: Redis, Memcached or the database.

    `LocMemCache` is memory of one process, where pages are kept anyhow; files cannot add a key in one step, which
    purges depend on.
    """
    alias = _values().store
    if not alias:
        return
    if alias not in settings.CACHES:
        known = ", ".join(map(repr, settings.CACHES))
        yield (
            f"WSGIPERF['CACHE']['STORE'] is {alias!r}, and CACHES has no such alias.",
            f"Write one of {known}, or add {alias!r} to CACHES.",
        )
        return
    backend = str(settings.CACHES[alias].get("BACKEND", ""))
    for name in _kinds(backend):
        if name in UNSUITABLE:
            yield (
                f"WSGIPERF['CACHE']['STORE'] is {alias!r}, a {name.rpartition('.')[2]}: it {UNSUITABLE[name]}.",
                "Name an alias in Redis, Memcached or the database, or none.",
            )
            return


def middleware_is_outermost(values: ServerSettings) -> Iterator[Finding]:
    """`ResponseCacheMiddleware` stands first in `MIDDLEWARE`, but for `RequestTimingMiddleware`.

    What stands before it works on responses that it has already kept: a cookie, a `Vary` or a nonce that is added
    there is not seen, and what is answered from the cache misses it. Django's `UpdateCacheMiddleware` has its place
    below, too.
    """
    for position in _positions(MIDDLEWARE)[:1]:
        before = [name for name in settings.MIDDLEWARE[:position] if name != TIMING]
        if before:
            yield (
                f"{MIDDLEWARE!r} comes after {', '.join(map(repr, before))} in MIDDLEWARE.",
                f"Put it before {before[0]!r}.",
            )
        if TIMING in settings.MIDDLEWARE[position + 1 :]:
            yield (
                f"{MIDDLEWARE!r} comes before {TIMING!r} in MIDDLEWARE: answers from the cache are not measured.",
                f"Put it after {TIMING!r}.",
            )


def bodies_are_compressed_once(values: ServerSettings) -> Iterator[Finding]:
    """Pages are compressed by the response cache, once each; `GZipMiddleware` does it at each rendering.

    What it makes is kept as it is: one page for each group of browsers that accept the same codings, and never in
    brotli or zstd. Without it, responses that are not kept go out uncompressed, which the proxy in front can do.
    """
    cache = _values()
    if cache.enabled and cache.compress and GZIP in settings.MIDDLEWARE:
        yield (
            f"{GZIP!r} compresses pages inside the response cache, which then keeps one for each set of codings.",
            "Remove it from MIDDLEWARE and have the proxy compress what is not kept, or set "
            "WSGIPERF['CACHE']['COMPRESS'] = [].",
        )


def one_cache_is_enough(values: ServerSettings) -> Iterator[Finding]:
    """Django's `UpdateCacheMiddleware` and `FetchFromCacheMiddleware` keep whole pages, too.

    They keep responses that say nothing of caching, and give them a lifetime that this cache then takes for the
    project's word. What this one has purged, they still have.
    """
    found = [name for name in DJANGOS if name in settings.MIDDLEWARE]
    if _values().enabled and found:
        yield (
            f"{' and '.join(map(repr, found))} in MIDDLEWARE keep pages inside the response cache: two caches, of "
            "which purges reach one.",
            "Remove them, or set WSGIPERF['CACHE']['ENABLED'] = False.",
        )


def store_is_not_unpickled(values: ServerSettings) -> Iterator[Finding]:
    """An alias of its own for pages needs no pickle: whoever can write to the store could run code by it.

    The response cache itself unpickles nothing. Django's and django-redis' default serializers do so with whatever
    is read by `cache.get()`. Sessions and other values need them; an alias that is for pages alone does not.
    """
    alias = _values().store
    cache: dict[str, Any] = settings.CACHES.get(alias, {})
    backend = str(cache.get("BACKEND", ""))
    if alias in ("", "default") or backend not in _PICKLING:
        return
    option, pickling = _PICKLING[backend]
    if (cache.get("OPTIONS") or {}).get(option, pickling) == pickling:
        yield (
            f"CACHES[{alias!r}], the response cache's store, unpickles what is read from it.",
            f"Set OPTIONS[{option!r}] = {RAW!r} in it; sessions and other values belong into another alias.",
        )


def workers_share_pages(values: ServerSettings) -> Iterator[Finding]:
    """Without `STORE`, each worker keeps pages of its own, and makes each of them once.

    `purge()` tells the other workers of the same host, one by one. That an unsafe request, such as a form that was
    sent, has changed a page, the others do not hear of; nor does another host hear of anything.
    """
    cache = _values()
    if cache.enabled and not cache.store and values.workers > 1:
        yield (
            f"Each of {values.workers} workers keeps pages of its own: WSGIPERF['CACHE']['STORE'] names no store.",
            "Set STORE to an alias of CACHES in Redis, or WORKERS = 1.",
        )


def _values() -> CacheSettings:
    return conf.current("CACHE").values


def _positions(dotted: str) -> list[int]:
    return [index for index, name in enumerate(settings.MIDDLEWARE) if name == dotted]


def _kinds(backend: str) -> Iterator[str]:
    """The backend and what it is derived from; Django's own are not imported."""
    yield backend
    if backend.startswith("django."):
        return
    try:
        found = import_string(backend)
    except ImportError:  # Django says so itself, as soon as the cache is used.
        return
    for kind in getattr(found, "__mro__", ()):
        yield f"{kind.__module__}.{kind.__qualname__}"
