"""Finds the client of redis-py behind an alias in CACHES: of django-redis, or of Django's own backend."""

from __future__ import annotations

from typing import Any

from redis import RedisError

from .base import StoreError


def client_of(alias: str) -> tuple[Any, str]:
    """A client of redis-py for an alias in CACHES, and the prefix of its keys. Raises StoreError."""
    from django.core.cache import caches
    from django.core.cache.backends.base import InvalidCacheBackendError
    from django.core.cache.backends.redis import RedisCache

    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        raise StoreError(f"there is no cache {alias!r} for the metrics: {error}") from error
    prefix = f"{cache.key_prefix}:" if cache.key_prefix else ""
    try:
        if isinstance(cache, RedisCache):
            return cache._cache.get_client(None, write=True), prefix
        if type(cache).__module__.startswith("django_redis."):
            client: Any = cache
            return client.client.get_client(write=True), prefix
    except (RedisError, OSError, ValueError) as error:
        raise StoreError(f"Redis of the cache {alias!r}: {error or type(error).__name__}") from error
    raise StoreError(
        f"the cache {alias!r} is no Redis ({type(cache).__module__}.{type(cache).__qualname__}); "
        "set METRICS[CACHE] to one that is, or METRICS[STORE] to 'database'"
    )
