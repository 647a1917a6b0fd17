"""The pages that are asked for: one without a query, one with QUERIES of a cursor, one with as many of the ORM.

The connection stays open. Some ways look at cursors, others at the ORM alone."""

from __future__ import annotations

import importlib.util

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path

from tests.benchmarks.metrics.setups import QUERIES


def plain(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(b"x" * 200, content_type="text/plain")


def queries(request: HttpRequest, number: int) -> HttpResponse:
    with connection.cursor() as cursor:
        for _ in range(QUERIES):
            cursor.execute("SELECT 1")
    return HttpResponse(b"x" * 200, content_type="text/plain")


def orm(request: HttpRequest, number: int) -> HttpResponse:
    for _ in range(QUERIES):
        list(ContentType.objects.filter(pk=number).values_list("pk"))
    return HttpResponse(b"x" * 200, content_type="text/plain")


urlpatterns: list[URLPattern | URLResolver] = [
    path("plain/<int:number>/", plain, name="plain"),
    path("queries/<int:number>/", queries, name="queries"),
    path("orm/<int:number>/", orm, name="orm"),
]
if "silk" in settings.INSTALLED_APPS and importlib.util.find_spec("silk"):
    # Its middleware looks up where its own pages are, not to record them.
    urlpatterns.append(path("silk/", include("silk.urls", namespace="silk")))
