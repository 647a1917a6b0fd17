"""Database connections: a pool for each database of a process, and the engines that take their connections from it.

Importing this loads neither Django's database code nor a driver; each name is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Pool": "pool",
    "PoolConfig": "config",
    "PoolClosed": "errors",
    "PoolError": "errors",
    "PoolOverloaded": "errors",
    "PoolTimeout": "errors",
    "PoolUnavailable": "errors",
    "PooledMixin": "mixin",
    "hold_connection": "release",
    "make_pooled": "engine",
    "pin": "release",
    "pools": "registry",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
