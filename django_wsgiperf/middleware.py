"""The middleware that users name in MIDDLEWARE. Each lives with the part that it belongs to; here is only its name."""

from __future__ import annotations

from django_wsgiperf.cache.middleware import ResponseCacheMiddleware
from django_wsgiperf.db.middleware import ConnectionPoolMiddleware
from django_wsgiperf.metrics.middleware import RequestTimingMiddleware

__all__ = ["ConnectionPoolMiddleware", "RequestTimingMiddleware", "ResponseCacheMiddleware"]
