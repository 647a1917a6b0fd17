"""/-/metrics and /-/stats under any WSGI server: the project's processes on this host, whichever of them is asked.

Closed unless STATS_TOKEN or STATS_ALLOW opens them, as the server's own pages are. No session, no user, no host name is
looked at, so that they work for whoever scrapes by address.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from django_wsgiperf import conf
from django_wsgiperf.metrics.exports import gather, statistics
from django_wsgiperf.server import exposition
from django_wsgiperf.server.access import Access
from django_wsgiperf.server.addresses import AddressList
from django_wsgiperf.server.proxy import PROXY_KEY
from django_wsgiperf.server.statistics import SCHEMA

logger = logging.getLogger("django_wsgiperf.metrics")

View = Callable[[HttpRequest], HttpResponse]

_has_hinted = False


def _machine_page(view: View) -> View:
    """For those who may read the numbers, by token or address; nobody else need know that the page is there."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        settings = conf.current("SERVER").values
        access = Access(settings.stats_token, settings.stats_allow)
        if access.allows(request.META.get("HTTP_AUTHORIZATION", ""), address_for_access(request.META)):
            response = view(request)
        else:
            response = HttpResponseNotFound("Not Found\n", content_type="text/plain; charset=utf-8")
        response["Cache-Control"] = "no-store"
        return response

    answer = csrf_exempt(require_safe(answer))
    # Django 5.1 and later: LoginRequiredMiddleware lets it pass.
    answer.login_required = False  # type: ignore[attr-defined]
    return answer


@_machine_page
def metrics(request: HttpRequest) -> HttpResponse:
    """In Prometheus' text format or OpenMetrics', as the Accept field has it."""
    if not exposition.is_available():
        _hint()
        return HttpResponseNotFound("Not Found\n", content_type="text/plain; charset=utf-8")
    from django_wsgiperf.metrics.exports.exposition import encoded

    content_type, text = encoded(gather.gather(), request.META.get("HTTP_ACCEPT", ""))
    return HttpResponse(text, content_type=content_type)


@_machine_page
def stats(request: HttpRequest) -> HttpResponse:
    """As JSON, by the schema in metrics/exports/stats.schema.json."""
    numbers: dict[str, Any] = {"schema": SCHEMA, "pid": os.getpid(), **statistics.sections(gather.gather())}
    return HttpResponse(json.dumps(numbers), content_type="application/json")


def address_for_access(meta: dict[str, Any]) -> str:
    """Whose address decides: the client's, or nothing where it cannot be known for sure.

    Where there are forwarding fields, a proxy has asked, or somebody who pretends to be one. Only `serve` knows whom to
    believe, and says so in the environ."""
    address = str(meta.get("REMOTE_ADDR", ""))
    proxy = meta.get(PROXY_KEY)
    if proxy is None:
        forwarded = any(name == "HTTP_FORWARDED" or name.startswith("HTTP_X_FORWARDED") for name in meta)
        return "" if forwarded or "HTTP_X_REAL_IP" in meta else address
    return "" if proxy in ("", address) or address in AddressList(conf.server_settings().trusted_proxies) else address


def _hint() -> None:
    global _has_hinted
    if not _has_hinted:
        _has_hinted = True
        logger.warning(
            "The metrics were asked for, but prometheus-client is not installed: "
            "pip install 'django-wsgiperf[prometheus]'"
        )
