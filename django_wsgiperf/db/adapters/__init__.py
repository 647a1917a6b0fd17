"""What a pool must know of each database: how to connect, what a session may leave behind, and how to undo it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .base import Adapter

_BY_VENDOR = {
    "postgresql": "django_wsgiperf.db.adapters.postgresql.PostgreSQLAdapter",
    "mysql": "django_wsgiperf.db.adapters.mysql.MySQLAdapter",
    "sqlite": "django_wsgiperf.db.adapters.sqlite.SQLiteAdapter",
}


def adapter_for(base: type[BaseDatabaseWrapper]) -> type[Adapter]:
    """The adapter for a DatabaseWrapper class, by its vendor. Raises ImproperlyConfigured."""
    path = _BY_VENDOR.get(base.vendor)
    if path is None:
        raise ImproperlyConfigured(
            f"There is no connection pool for {base.__module__}, vendor {base.vendor!r}. Give make_pooled() an adapter "
            f"of your own, or use an engine of {', '.join(sorted(_BY_VENDOR))}."
        )
    adapter: type[Adapter] = import_string(path)
    return adapter
