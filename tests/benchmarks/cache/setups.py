"""The caches under comparison: which server, which settings, and how a hit shows. Starts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PAGE, PRIVATE, SLOW, RENDERS = "/page", "/private", "/slow", "/renders"

SERVE, SHARED, NGINX, LOCMEM, REDIS, ORIGIN = "serve", "serve-redis", "nginx", "locmem", "redis", "origin"
DJANGO_BEFORE = "django.middleware.cache.UpdateCacheMiddleware"
DJANGO_AFTER = "django.middleware.cache.FetchFromCacheMiddleware"
OURS = "django_wsgiperf.middleware.ResponseCacheMiddleware"
#: So little memory that no page of 10 KB is kept in it: an eighth of all is the most that one may take.
NO_MEMORY = {"MEMORY_BYTES": 65_536, "MAX_BODY_BYTES": 65_536}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One cache. `hit` is the field, and a text in its value, that only a hit has."""

    name: str
    title: str
    server: str
    hit: tuple[str, str] = ("", "")
    needs_redis: bool = False
    in_crowd: bool = False

    def settings(self, redis: str) -> dict[str, Any]:
        """What BENCHMARK_CACHE holds. `redis` is the address of an empty database."""
        is_djangos = self.name in (LOCMEM, REDIS)
        caches: dict[str, Any] = {}
        if self.name == REDIS:
            caches["pages"] = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis}
        if self.name == SHARED:
            caches["pages"] = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis}
        ours: dict[str, Any] = {"ENABLED": self.name in (SERVE, SHARED)}
        if self.name == SHARED:
            # On a machine that is kept busy, what is slow is not out of order.
            ours |= {"STORE": "pages", "STORE_TIMEOUT_S": 2.0, **NO_MEMORY}
        return {
            "caches": caches,
            "before": [DJANGO_BEFORE] if is_djangos else [],
            "after": [DJANGO_AFTER] if is_djangos else [],
            "wsgiperf": ours,
        }


SETUPS = {
    setup.name: setup
    for setup in (
        Setup(
            name=SERVE, title="serve, from memory", server="serve", hit=("cache-status", "wsgiperf; hit"), in_crowd=True
        ),
        Setup(
            name=SHARED,
            title="serve, from Redis",
            server="serve",
            hit=("cache-status", "wsgiperf; hit"),
            needs_redis=True,
        ),
        Setup(name=NGINX, title="nginx proxy_cache", server="nginx", hit=("x-cache", "HIT"), in_crowd=True),
        Setup(
            name=LOCMEM,
            title="gunicorn gthread, Django's middleware, LocMem",
            server="gthread",
            hit=("age", ""),
            in_crowd=True,
        ),
        Setup(
            name=REDIS,
            title="gunicorn gthread, Django's middleware, Redis",
            server="gthread",
            hit=("age", ""),
            needs_redis=True,
        ),
    )
}
#: What nginx asks: `serve` without a cache.
ORIGIN_SETUP = Setup(name=ORIGIN, title="serve without a cache, behind nginx", server="serve")
