"""The hooks that fill a request's record, all of them, and when they are in place.

install() is called by the app when it is ready, and by the middleware; it does nothing the second time. Without a
request the hooks cost a look at a context variable. uninstall() takes them out again, for tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.conf import settings

from django_wsgiperf import conf

from . import instruments_cache, instruments_database, instruments_gc, instruments_templates, instruments_views

MIDDLEWARE = (
    "django_wsgiperf.middleware.RequestTimingMiddleware",
    "django_wsgiperf.metrics.middleware.RequestTimingMiddleware",
)

_lock = threading.Lock()
"""Guards _ends: middleware is loaded by several threads when several handlers are made."""
_ends: list[Callable[[], None]] = []


def install() -> None:
    """Have every request measured that has a record."""
    values = conf.current("METRICS").values
    with _lock:
        if _ends or not values.enabled:
            return
        _ends.append(instruments_database.install())
        _ends.append(instruments_views.install())
        if values.cache_timing:
            _ends.append(instruments_cache.install())
        if values.template_timing:
            _ends.append(instruments_templates.install())
        if values.gc_timing:
            _ends.append(instruments_gc.install())


def install_if_wanted() -> None:
    """When the project has the middleware. A setting that is wrong is for the system checks to tell."""
    if any(name in settings.MIDDLEWARE for name in MIDDLEWARE):
        try:
            install()
        except conf.ConfigurationError:
            return


def uninstall() -> None:
    """Take out what install() has put in, in the opposite order."""
    with _lock:
        _take_out()


def _take_out() -> None:
    while _ends:
        _ends.pop()()


def is_installed() -> bool:
    """Whether they are in place."""
    return bool(_ends)
