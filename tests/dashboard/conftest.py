"""Clients of the performance pages with and without permissions, over a store that made-up traffic was written to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import translation

from django_wsgiperf import conf
from django_wsgiperf.metrics import pipeline, query
from django_wsgiperf.metrics.stores.base import Store
from django_wsgiperf.metrics.stores.memory import MemoryStore
from tests.dashboard.project import SETTINGS
from tests.dashboard.traffic import Traffic


@pytest.fixture(scope="session")
def admin_tables(django_db_setup: None, django_db_blocker: Any) -> None:
    """The tables of the apps that only this project has."""
    with override_settings(**SETTINGS), django_db_blocker.unblock():
        call_command("migrate", verbosity=0)


@pytest.fixture(scope="session")
def filled_store() -> Store:
    """Two hours of traffic of two processes."""
    store = MemoryStore()
    Traffic(time.time(), minutes=125, processes=2, per_minute=20).fill(store, conf.MetricsSettings())
    return store


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, admin_tables: None) -> Iterator[MemoryStore]:
    """The project with an empty store, which is given."""
    store = MemoryStore()
    monkeypatch.setattr(pipeline, "open_store", lambda *_, **__: store)
    # LocaleMiddleware leaves its thread with the language of the last request.
    with override_settings(**SETTINGS), translation.override("en-us"):
        yield store


@pytest.fixture
def busy(project: Store, filled_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The project with traffic in its store. What is asked twice is of the same minutes both times."""
    monkeypatch.setattr(pipeline, "open_store", lambda *_, **__: filled_store)
    now_s = time.time()
    monkeypatch.setattr(query, "time", SimpleNamespace(time=lambda: now_s))
    return filled_store


def make_user(name: str, *permissions: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def client_of(user: User, **more: Any) -> Client:
    client = Client(**more)
    client.force_login(user)
    return client


@pytest.fixture
def viewer(db: None, project: Store) -> Client:
    """Somebody who may see the pages."""
    return client_of(make_user("viewer", "view_dashboard"))


@pytest.fixture
def manager(db: None, project: Store) -> Client:
    """Somebody who may also interrupt and purge."""
    return client_of(make_user("manager", "view_dashboard", "manage_dashboard"))


@pytest.fixture
def clerk(db: None, project: Store) -> Client:
    """Somebody of the staff who may do neither."""
    return client_of(make_user("clerk"))
