"""Times the rendering of templates: of Django's backend, and of the one for Jinja2 where the project uses it.

One rendering is one call of a backend's render(); what is included and extended belongs to it. Renderings inside of
one, such as those of form fields, are counted too, and their time is not counted twice.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from django.conf import settings
from django.template.backends import django as django_backend

from .record import Record, current


def install() -> Callable[[], None]:
    """Time every rendering from now on; the function that ends it."""
    classes: list[Any] = [django_backend.Template]
    if any("jinja2" in str(engine.get("BACKEND", "")).lower() for engine in settings.TEMPLATES):
        # Imported by the first rendering anyway; Jinja2 itself need not be installed elsewhere.
        from django.template.backends import jinja2 as jinja2_backend

        classes.append(jinja2_backend.Template)
    ends = [_patch(template_class) for template_class in classes]

    def uninstall() -> None:
        for end in ends:
            end()

    return uninstall


def _patch(template_class: Any) -> Callable[[], None]:
    original = template_class.render

    def render(self: Any, context: Any = None, request: Any = None) -> Any:
        record = current.get()
        if record is None:
            return original(self, context, request)
        return _time(record, original, self, context, request)

    template_class.render = render

    def unpatch() -> None:
        if template_class.render is render:
            template_class.render = original

    return unpatch


def _time(record: Record, render: Callable[..., Any], template: Any, context: Any, request: Any) -> Any:
    if not record.enter():
        try:
            return render(template, context, request)
        finally:
            record.add_beside(lambda: _count(record))
    accounted_ns = record.accounted_ns
    began_ns = perf_counter_ns()
    try:
        return render(template, context, request)
    finally:
        whole_ns = perf_counter_ns() - began_ns
        own_ns = whole_ns - (record.accounted_ns - accounted_ns)
        record.accounted_ns += own_ns
        record.template_ns += own_ns
        record.templates += 1
        record.add_span("template", began_ns, whole_ns, str(getattr(template.template, "name", None) or "(inline)"))
        record.leave()


def _count(record: Record) -> None:
    record.templates += 1
