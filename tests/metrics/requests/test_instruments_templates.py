"""Renderings, of Django's templates and Jinja2's, without the time of what they ask for; and collections of garbage."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
from django.template import engines
from django.template.backends import django as django_backend

from django_wsgiperf.metrics import instruments
from django_wsgiperf.metrics.record import current

from .conftest import TEMPLATES, Measured, measuring
from .site import ask_database, hooks


@pytest.fixture(autouse=True)
def collector_on() -> Iterator[None]:
    """Tests may turn it off."""
    yield
    gc.enable()


class TestTemplates:
    @pytest.mark.parametrize("path", ["/rendered/", "/deferred/"])
    def test_database_time_inside_is_the_databases(self, measured: Measured, path: str) -> None:
        gc.disable()
        record = measured.record(path)
        (whole,) = [duration for kind, _, duration, _ in record.spans if kind == "template"]
        assert record.templates == 1
        assert record.db["default"].queries == 2
        assert record.template_ns == whole - record.db_ns - record.pool_wait_ns - record.gc_ns
        assert ("template", "page.html") in {(kind, text) for kind, _, _, text in record.spans}

    def test_a_rendering_in_a_rendering_is_not_counted_twice(self, measured: Measured) -> None:
        gc.disable()
        inner = engines["django"].from_string("{{ ask }}")
        outer = engines["django"].from_string("{{ render }}")
        hooks["view"] = lambda: outer.render({"render": lambda: inner.render({"ask": ask_database})})
        record = measured.record("/hooked/")
        spans = [duration for kind, _, duration, _ in record.spans if kind == "template"]
        assert record.templates == 2
        assert record.template_ns == max(spans) - record.db_ns - record.pool_wait_ns - record.gc_ns

    def test_one_that_fails_is_counted(self, measured: Measured) -> None:
        def fail() -> None:
            raise ValueError

        hooks["view"] = lambda: engines["django"].from_string("{{ fail }}").render({"fail": fail})
        record = measured.record("/hooked/")
        assert (record.templates, record.exception, record.status) == (1, "ValueError", 500)

    def test_jinja2(self, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        """Django's backend for it, with something in place of Jinja2, which need not be installed."""
        jinja2 = ModuleType("jinja2")
        jinja2.TemplateSyntaxError = SyntaxError  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "jinja2", jinja2)
        monkeypatch.delitem(sys.modules, "django.template.backends.jinja2", raising=False)
        compiled = SimpleNamespace(name="page.jinja", filename=None, render=lambda context: ask_database())
        with measuring(TEMPLATES=[{"BACKEND": "django.template.backends.jinja2.Jinja2"}]) as measured:
            backend = importlib.import_module("django.template.backends.jinja2")
            hooks["view"] = lambda: backend.Template(compiled, None).render()
            record = measured.record("/hooked/")
        monkeypatch.delitem(sys.modules, "django.template.backends.jinja2")
        assert (record.templates, record.db["default"].queries) == (1, 1)
        assert ("template", "page.jinja") in {(kind, text) for kind, _, _, text in record.spans}

    def test_not_where_it_is_turned_off(self, db: None) -> None:
        before = django_backend.Template.render
        with measuring(metrics={"TEMPLATE_TIMING": False}) as measured:
            assert measured.record("/rendered/").templates == 0
            assert django_backend.Template.render is before

    def test_taken_out_they_leave_nothing(self, db: None) -> None:
        before = django_backend.Template.render
        with measuring(TEMPLATES=TEMPLATES):
            instruments.install()
            assert django_backend.Template.render is not before
        assert django_backend.Template.render is before


class TestCollector:
    def test_collections_are_their_requests(self, measured: Measured) -> None:
        record = measured.record("/collects/")
        assert record.gc_runs >= 1
        assert record.gc_ns > 0

    def test_statements_at_the_end_of_an_object_are_the_databases(self, measured: Measured) -> None:
        class Node:
            def __init__(self) -> None:
                self.itself = self

            def __del__(self) -> None:
                if current.get() is not None:
                    ask_database()

        def leave_garbage() -> None:
            Node()
            gc.collect()

        hooks["view"] = leave_garbage
        record = measured.record("/hooked/")
        assert record.db["default"].queries == 1
        assert record.accounted_ns == record.gc_ns + record.db_ns + record.pool_wait_ns

    def test_outside_of_requests_and_when_turned_off_nothing_is_kept(self, db: None) -> None:
        callbacks = list(gc.callbacks)
        with measuring(metrics={"GC_TIMING": False}) as measured:
            assert measured.record("/collects/").gc_runs == 0
            assert gc.callbacks == callbacks
        with measuring() as measured:
            gc.collect()
            assert len(gc.callbacks) == len(callbacks) + 1
        assert gc.callbacks == callbacks
