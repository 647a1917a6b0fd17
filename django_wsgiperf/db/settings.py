"""How the pool of one database is to behave: `DATABASES[alias]["POOL"]` over `WSGIPERF["POOL"]` over the defaults.

Reads settings and gives plain data with the origin of each value; it makes no pool and imports no driver. The options
themselves are in _conf_pool.py, reading and checking them in conf.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django_wsgiperf import conf
from django_wsgiperf.conf import Origin, PoolSettings, Resolved
from django_wsgiperf.db.config import PoolConfig

#: The size of a pool that was given none, in a process that is no server of ours.
SIZE_ELSEWHERE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasPool:
    """What one database's pool was told, for the pool itself in `config` and for whoever uses it.

    `validate` is a dotted path or empty, `evict_on` holds SQLSTATEs and MySQL's error numbers as texts, `prewarm` is
    the number of connections to open before a worker accepts, and `origins` says by field name of `PoolSettings`
    where each value was set.
    """

    config: PoolConfig
    validate: str
    reset: str
    release: str
    evict_on: frozenset[str]
    prewarm: int
    origins: Mapping[str, Origin]


def is_on(settings_dict: Mapping[str, Any]) -> bool:
    """Whether a database of a pooled ENGINE is to have a pool: unless POOL is False or None."""
    return settings_dict.get("POOL", True) not in (False, None)


def resolve(alias: str, settings_dict: Mapping[str, Any]) -> Resolved[PoolSettings]:
    """The options of one database's pool as they are written, with origins. Raises `ConfigurationError`."""
    given = settings_dict.get("POOL", True)
    base = conf.current("POOL")
    if given is True or not is_on(settings_dict):
        return base
    return conf.overlay(base, f"DATABASES[{alias!r}]['POOL']", given)


def max_size(values: PoolSettings, threads: int | None) -> int:
    """The connections that a pool may hold in a process with so many server threads; None is no server."""
    return values.max_size or threads or SIZE_ELSEWHERE


def pool_settings(alias: str, settings_dict: Mapping[str, Any]) -> AliasPool | None:
    """How the pool of a database behaves in this process, or None when its POOL is False or None.

    `settings_dict` is the database's entry in DATABASES. Raises `ConfigurationError`, an `ImproperlyConfigured`.
    """
    if not is_on(settings_dict):
        return None
    resolved = resolve(alias, settings_dict)
    values = resolved.values
    size = max_size(values, conf.serving_threads())
    # A size that follows the threads may be smaller in another process than what it is asked to keep ready.
    min_idle = min(values.min_idle, size)
    return AliasPool(
        config=PoolConfig(
            max_size=size,
            min_idle=min_idle,
            acquire_timeout_s=values.acquire_timeout_s,
            max_waiters=values.max_waiters or None,
            max_lifetime_s=values.max_lifetime_s,
            lifetime_jitter=values.lifetime_jitter,
            idle_timeout_s=values.idle_timeout_s,
            keepalive_s=values.keepalive_s,
            bypass_window_s=values.bypass_window_s,
            leak_threshold_s=values.leak_threshold_s,
        ),
        validate=values.validate,
        reset=values.reset,
        release=values.release,
        evict_on=frozenset(values.evict_on),
        prewarm=max(min(values.prewarm, size), min_idle),
        origins=resolved.origins,
    )
