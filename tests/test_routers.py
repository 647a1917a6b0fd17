"""The tables of the metrics are made in their own database, and everything else where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_wsgiperf.models import Bucket, Dashboard
from django_wsgiperf.routers import MetricsRouter

ALIAS = "numbers"


@pytest.fixture
def two_databases(tmp_path: Path, django_db_blocker: Any) -> Iterator[None]:
    """A database for the project, under another name than the suite's, and one for the metrics."""
    made = {}
    for alias in ("project", ALIAS):
        complete = {**connections.configure_settings({"default": {}})["default"]}
        made[alias] = {**complete, "ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / alias)}
    connections.settings.update(made)
    metrics = {"METRICS": {"STORE": "database", "DATABASE": ALIAS}}
    try:
        with (
            django_db_blocker.unblock(),
            override_settings(WSGIPERF=metrics, DATABASE_ROUTERS=["django_wsgiperf.routers.MetricsRouter"]),
        ):
            yield
    finally:
        for alias in made:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


def tables(alias: str) -> set[str]:
    return set(connections[alias].introspection.table_names())


def test_tables_are_made_in_their_own_database_alone(two_databases: None) -> None:
    call_command("migrate", database="project", verbosity=0, skip_checks=True)
    call_command("migrate", "django_wsgiperf", database=ALIAS, verbosity=0, skip_checks=True)
    kept = {"wsgiperf_bucket", "wsgiperf_process", "wsgiperf_lease"}
    assert kept <= tables(ALIAS)
    assert "auth_user" not in tables(ALIAS)
    assert not kept & tables("project")
    assert "auth_user" in tables("project")


def test_permissions_are_where_the_users_are(two_databases: None) -> None:
    from django.contrib.auth.models import Permission

    call_command("migrate", database="project", verbosity=0, skip_checks=True)
    found = Permission.objects.using("project").filter(content_type__app_label="django_wsgiperf")
    assert sorted(found.values_list("codename", flat=True)) == ["manage_dashboard", "view_dashboard"]


def test_other_models_are_left_to_others(two_databases: None) -> None:
    router = MetricsRouter()
    assert router.db_for_read(Bucket) == router.db_for_write(Bucket) == ALIAS
    for model in (User, Dashboard):
        assert router.db_for_read(model) is None
        assert router.db_for_write(model) is None
    assert router.allow_migrate(ALIAS, "auth", "user") is None
    assert router.allow_migrate("project", "django_wsgiperf", "dashboard") is None
    assert router.allow_migrate("project", "django_wsgiperf", "bucket") is False
    assert router.allow_migrate(ALIAS, "django_wsgiperf", "bucket") is True
