"""A database router that keeps the tables of the metrics in the database that WSGIPERF["METRICS"] names.

Needed when that is another than the default one. All other models are left to other routers.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from django_wsgiperf import conf

_APP = "django_wsgiperf"
_WITHOUT_TABLE = "dashboard"
"""It has permissions, which belong where the users are."""


class MetricsRouter:
    """For DATABASE_ROUTERS."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """The metrics' database for their models, None for others."""
        return _alias() if _is_kept(model._meta.app_label, model._meta.model_name) else None

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        """The same."""
        return self.db_for_read(model)

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        """Tables of the metrics are made in their database alone."""
        return db == _alias() if _is_kept(app_label, model_name) else None


def _is_kept(app_label: str, model_name: str | None) -> bool:
    return app_label == _APP and model_name not in (None, _WITHOUT_TABLE)


def _alias() -> str:
    return conf.current("METRICS").values.database
