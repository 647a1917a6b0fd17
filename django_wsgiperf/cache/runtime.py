"""The cache of this process: made from the settings when it is first asked for, and anew when a test changes them.

Nothing is started here: the first request does that, in whatever process it comes to.
"""

from __future__ import annotations

import atexit
import threading
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from django_wsgiperf import conf
from django_wsgiperf.metrics import providers

from . import forking
from .capacity import waiters_in
from .engine import Engine
from .site import Site

_SETTINGS = frozenset(
    {
        *("WSGIPERF", "CACHES", "ALLOWED_HOSTS", "DEBUG", "MIDDLEWARE", "ROOT_URLCONF", "FORCE_SCRIPT_NAME"),
        *("USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT", "SECURE_PROXY_SSL_HEADER"),
        *("USE_I18N", "LANGUAGES", "LANGUAGE_CODE", "LANGUAGE_COOKIE_NAME", "USE_TZ", "TIME_ZONE"),
        *("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME"),
    }
)


class _Runtime:
    """`lock` is held while the engine is made, so that there is one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.engine: Engine | None = None
        self.is_made = False
        forking.watch(self)

    def after_fork_in_child(self) -> None:
        self.lock = threading.Lock()


_runtime = _Runtime()


def engine() -> Engine | None:
    """The response cache of this process; None where it is turned off.

    Raises ConfigurationError for wrong settings, ImproperlyConfigured for a store that cannot be used."""
    if _runtime.is_made:
        return _runtime.engine
    with _runtime.lock:
        if not _runtime.is_made:
            _runtime.engine = _make()
            _runtime.is_made = True
    return _runtime.engine


def _make() -> Engine | None:
    values = conf.current("CACHE").values
    if not values.enabled:
        return None
    store = None
    if values.store:
        from .stores import UnsuitableStore, open_store

        try:
            store = open_store(
                values.store, timeout_s=values.store_timeout_s, max_tags=values.max_tags, site=values.prefix
            )
        except UnsuitableStore as error:
            raise ImproperlyConfigured(f"WSGIPERF['CACHE']['STORE'] is {values.store!r}: {error}") from None
    from . import answering

    answering.register()
    providers.provide(providers.PAGE_CACHE, numbers)
    return Engine(
        values,
        Site(values),
        store,
        waiters=waiters_in,
        on_start=answering.start,
        on_thread_end=_close_connections,
        step_aside=lambda: bool(providers.ask(providers.ASIDE)),
    )


def _close_connections() -> None:
    """A thread that ends closes its database connections."""
    from django.db import connections

    connections.close_all()


def numbers() -> dict[str, Any]:
    """What the cache of this process has done and holds; empty where it is turned off."""
    made = engine()
    return {} if made is None else made.numbers()


def reset() -> None:
    """End the engine, and have engine() make another."""
    with _runtime.lock:
        made, _runtime.engine, _runtime.is_made = _runtime.engine, None, False
    if made is not None:
        made.stop()


@receiver(setting_changed, dispatch_uid="django_wsgiperf.cache.runtime")
def _on_setting_changed(*, setting: str, **_: object) -> None:
    if setting in _SETTINGS:
        reset()


@atexit.register
def _on_exit() -> None:
    made = _runtime.engine
    if made is not None:
        made.stop(0.5)
