"""Methods that are asked quickly whether they may run: they refuse, and are replaced, as Django's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3 import base as sqlite3_base

from django_wsgiperf.db import make_pooled
from tests.db.databases import Database, value


def test_on_an_event_loop_the_wrapper_refuses_as_djangos_does(sqlite: Database) -> None:
    wrapper = sqlite.wrapper()
    value(wrapper, "SELECT 1")

    async def use(method: str) -> None:
        getattr(wrapper, method)()

    for method in ("ensure_connection", "cursor", "close", "connect"):
        with pytest.raises(SynchronousOnlyOperation):
            asyncio.run(use(method))
    wrapper.close()


def test_what_a_tool_puts_in_place_of_djangos_methods_is_called(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = set()

    def trace(name: str) -> Any:
        djangos = getattr(BaseDatabaseWrapper, name)

        def traced(self: Any) -> Any:
            called.add(name)
            return djangos(self)

        return traced

    names = {"ensure_connection", "cursor", "close"}
    for name in names:
        monkeypatch.setattr(BaseDatabaseWrapper, name, trace(name))
    wrapper = sqlite.wrapper()
    value(wrapper, "SELECT 1")
    wrapper.close()
    assert called == names


def test_method_of_the_engine_beneath_is_not_passed_over() -> None:
    class Own(sqlite3_base.DatabaseWrapper):
        def cursor(self) -> Any:
            return "its own"

    assert "cursor" in vars(make_pooled(sqlite3_base.DatabaseWrapper))
    assert "cursor" not in vars(make_pooled(Own))
