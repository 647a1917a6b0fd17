"""Stores on real servers, each empty: `store` is all of them in turn, `open_store` opens another to the same data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dj_database_url
import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_wsgiperf.conf import MetricsSettings
from django_wsgiperf.metrics.stores import open_store as open_by_settings
from django_wsgiperf.metrics.stores.base import Store
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.models import Bucket, Lease, Process

STORES = ("memory", "sqlite", "postgres", "mysql", "redis", "django-redis")
SERVICES = {"postgres": "postgres_url", "mysql": "mysql_url", "redis": "redis_url", "django-redis": "redis_url"}
CACHES = {
    "redis": "django.core.cache.backends.redis.RedisCache",
    "django-redis": "django_redis.cache.RedisCache",
}
ALIAS = "measured"

Open = Callable[[], Store]


@contextlib.contextmanager
def database(entry: dict[str, Any]) -> Iterator[None]:
    """The tables of the metrics in a database that the alias ALIAS stands for, and in no other."""
    complete = {**connections.configure_settings({"default": {}})["default"], **entry}
    connections.settings[ALIAS] = complete
    try:
        call_command("migrate", "django_wsgiperf", database=ALIAS, verbosity=0, skip_checks=True)
        for model in (Bucket, Process, Lease):
            model.objects.using(ALIAS).all().delete()
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.settings[ALIAS]


def entry_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """The database's entry in DATABASES."""
    if kind == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "metrics.sqlite3")}
    return dict(dj_database_url.parse(request.getfixturevalue(SERVICES[kind])))


@contextlib.contextmanager
def opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Open]:
    """What opens stores to the same, empty data."""
    if kind == "memory":
        memory = MemoryStore()
        yield lambda: memory
    elif kind in CACHES:
        settings = {ALIAS: {"BACKEND": CACHES[kind], "LOCATION": request.getfixturevalue("redis_url")}}
        with override_settings(CACHES={"default": settings[ALIAS], **settings}):
            caches[ALIAS].clear()
            yield lambda: open_by_settings(MetricsSettings(store="redis", cache=ALIAS))
            caches[ALIAS].clear()
            caches.close_all()
    else:
        blocker = request.getfixturevalue("django_db_blocker")
        with blocker.unblock(), database(entry_of(kind, request, folder)):
            yield lambda: open_by_settings(MetricsSettings(database=ALIAS))


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens stores, all to the same data."""
    with opened(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture
def store(open_store: Open) -> Store:
    """One store."""
    return open_store()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a parameter needs is not among a test's fixtures: name it, so that it is known where it is missing."""
    for item in items:
        kind = getattr(item, "callspec", None) and item.callspec.params.get("open_store")  # type: ignore[attr-defined]
        service = SERVICES.get(kind or "")
        if service and service not in item.fixturenames:  # type: ignore[attr-defined]
            item.fixturenames.append(service)  # type: ignore[attr-defined]
