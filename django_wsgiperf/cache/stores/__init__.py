"""The shared stores, and which of them an alias of CACHES gets: Redis directly where that is possible.

Everything that depends on which backend is behind an alias is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches

if TYPE_CHECKING:
    from django_wsgiperf.cache.store import Store

#: Backends (module and class) that are of no use beside the process's own memory, and why.
UNSUITABLE: Final = {
    "django.core.cache.backends.locmem.LocMemCache": "is memory of this process alone, where pages are kept anyhow",
    "django.core.cache.backends.dummy.DummyCache": "keeps nothing",
    "django.core.cache.backends.filebased.FileBasedCache": "cannot add a key in one step, which purges depend on",
}

# What connections of redis-py are not to take over from their pool: it has ways of its own with time-outs and repeats,
# and these here are for its own bookkeeping.
_NOT_TAKEN: Final = {
    "cache",
    "cache_config",
    "decode_responses",
    "event_dispatcher",
    "health_check_interval",
    "himport_registry",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "orig_host_address",
    "orig_socket_connect_timeout",
    "orig_socket_timeout",
    "oss_cluster_maint_notifications_handler",
    "protocol",
    "retry",
    "retry_on_error",
    "retry_on_timeout",
    "socket_connect_timeout",
    "socket_timeout",
}


class UnsuitableStore(Exception):
    """The alias cannot serve as shared store. The message says why, and what to write instead."""


def open_store(alias: str, *, timeout_s: float = 0.1, max_tags: int = 20_000, site: str = "") -> Store:
    """The store for `CACHES[alias]`. Nothing is connected yet. Raises UnsuitableStore.

    `site` is in all keys, so that what one site purges another keeps.
    `timeout_s` bounds each wait for Redis, to connect, to send and to receive; for others those in CACHES hold."""
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        known = ", ".join(map(repr, settings.CACHES))
        raise UnsuitableStore(f"CACHES[{alias!r}] cannot be used: {error}. There are: {known}") from error
    for kind in type(cache).__mro__:
        why = UNSUITABLE.get(f"{kind.__module__}.{kind.__qualname__}")
        if why is not None:
            raise UnsuitableStore(
                f"CACHES[{alias!r}] is a {type(cache).__name__}: it {why}. "
                "Name an alias in Redis, Memcached or the database, or none"
            )
    # Memcached takes no blanks in keys.
    own = f"{quote(site, safe='')}:" if site else ""
    pool = _redis_pool(cache)
    if pool is None:
        from .alias import AliasStore

        return AliasStore(alias, f"wsgiperf:{own}")
    from .redis import RedisStore

    kwargs = {name: value for name, value in pool.connection_kwargs.items() if name not in _NOT_TAKEN}
    kwargs |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "protocol": 2}
    try:
        pool.connection_class(**kwargs)
    except TypeError:  # Connections by Unix socket do not know it in older versions.
        del kwargs["socket_connect_timeout"]
    # As the alias writes its own keys, so that two sites in one Redis stay apart.
    prefix = f"{cache.make_key('wsgiperf')}:{own}"
    title = f"CACHES[{alias!r}]"
    return RedisStore(title, lambda: pool.connection_class(**kwargs), prefix, max_tags=max_tags)


def _redis_pool(cache: Any) -> Any:
    """The pool of redis-py behind a Django cache, of the server that is written to; None for other caches."""
    try:
        from redis import ConnectionPool
    except ImportError:
        return None
    client: Any = None
    if type(cache).__module__.startswith("django_redis.") or hasattr(cache, "client"):
        # django-redis; None for its clients that spread keys over several servers.
        getter = getattr(getattr(cache, "client", None), "get_client", None)
        client = _or_none(lambda: getter(write=True)) if callable(getter) else None
    elif hasattr(getattr(cache, "_cache", None), "get_client"):
        client = _or_none(lambda: cache._cache.get_client(write=True))
    pool = getattr(client, "connection_pool", None)
    return pool if isinstance(pool, ConnectionPool) else None


def _or_none(call: Any) -> Any:
    try:
        return call()
    except (NotImplementedError, TypeError):
        return None
