"""Entries live on the database `other` alone, everything else on `default`, and both read where they write."""

from __future__ import annotations

from typing import Any


class Router:
    """As the documentation of Django describes them."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self._home(model._meta.app_label, model._meta.model_name)

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        home = self._home(app_label, model_name)
        return None if home is None else db == home

    def _home(self, app_label: str, model_name: str | None) -> str | None:
        if app_label != "project" or model_name is None:
            return None
        return "other" if model_name == "entry" else "default"
