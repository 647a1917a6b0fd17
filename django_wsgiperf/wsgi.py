"""The project's WSGI application with the response cache before it. In wsgi.py, in place of Django's own:

    from django_wsgiperf.wsgi import get_wsgi_application
    application = get_wsgi_application()

`manage.py serve` does the same by itself. What the cache may answer is in cache/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import django.core.wsgi

__all__ = ["get_wsgi_application", "is_wrapped", "wrap"]

WSGIApplication = Callable[[Any, Any], Iterable[bytes]]


def get_wsgi_application() -> WSGIApplication:
    """Django's application behind the response cache, or as it is where `WSGIPERF["CACHE"]["ENABLED"]` is false.

    Raises ConfigurationError for wrong settings, ImproperlyConfigured for a store that cannot be used."""
    return wrap(django.core.wsgi.get_wsgi_application())


def wrap(application: WSGIApplication) -> WSGIApplication:
    """The application behind the response cache. Django must be set up. One that is there already stays as it is."""
    from django_wsgiperf.cache import runtime
    from django_wsgiperf.cache.wsgi import CachedApplication

    engine = runtime.engine()
    if engine is None or is_wrapped(application):
        return application
    return CachedApplication(application, engine)


def is_wrapped(application: object) -> bool:
    """Whether the application is behind the response cache already, as far as one can see from outside."""
    from django_wsgiperf.cache.wsgi import CachedApplication

    return isinstance(application, CachedApplication)
