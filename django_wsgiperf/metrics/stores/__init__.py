"""Where sums are kept: in a database, in Redis, or in this process's memory. base.py says what a store can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Store

if TYPE_CHECKING:
    from django_wsgiperf.conf import MetricsSettings


def open_store(settings: MetricsSettings, *, own_connection: bool = True) -> Store:
    """The store that WSGIPERF["METRICS"] names; `own_connection` is DatabaseStore's. Raises StoreError without it."""
    if settings.store == "memory":
        from .memory import MemoryStore

        return MemoryStore()
    if settings.store == "redis":
        from .redis import RedisStore

        return RedisStore(settings)
    from .database import DatabaseStore

    return DatabaseStore(settings.database, own_connection=own_connection)
