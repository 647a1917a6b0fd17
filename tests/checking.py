"""A sound project for the tests of the system checks, which break one thing in it and ask what the checks say."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
from django.core import checks
from django.db import connections
from django.test import override_settings

from django_wsgiperf import conf

POSTGRES = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "CONN_MAX_AGE": 60, "OPTIONS": {}}


def sound_project(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing to complain about, for as long as the generator stands still."""
    for name in os.environ:
        if name.startswith("WSGIPERF_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(connections, "settings", {"default": dict(POSTGRES)})
    application = ModuleType("shop_wsgi")
    application.__spec__ = ModuleSpec("shop_wsgi", None)
    application.application = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_wsgi", application)
    conf.forget()
    with override_settings(WSGI_APPLICATION="shop_wsgi.application"):
        yield
    conf.forget()


def run(
    *, deploy: bool = True, pool: Mapping[str, Any] | None = None, databases: list[str] | None = None, **server: Any
) -> dict[str, checks.CheckMessage]:
    """What the checks say with this WSGIPERF["SERVER"] and WSGIPERF["POOL"], by number."""
    with override_settings(WSGIPERF={"SERVER": server, "POOL": pool or {}}):
        found = checks.run_checks(
            tags=["wsgiperf", *(["database"] if databases else [])],
            include_deployment_checks=deploy,
            databases=databases,
        )
    return {str(message.id): message for message in found}


def numbers(**given: Any) -> set[str]:
    """The numbers of what `run` gives, without their prefix."""
    return {number.removeprefix("wsgiperf.") for number in run(**given)}


def database(alias: str = "default", **settings: object) -> None:
    """Change one database's settings; a new alias gets a database like the first."""
    connections.settings.setdefault(alias, dict(POSTGRES)).update(settings)
