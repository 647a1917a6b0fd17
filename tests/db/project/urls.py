"""Pages that ask both databases: one made at once, one streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from tests.db.project.models import Entry, Thing


def page(request: HttpRequest) -> HttpResponse:
    Entry.objects.create(text="seen")
    return HttpResponse(",".join(Thing.objects.order_by("name").values_list("name", flat=True)))


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[Any]:
        for thing in Thing.objects.order_by("name").iterator(chunk_size=1):
            yield thing.name + "\n"
        yield str(Entry.objects.count())

    return StreamingHttpResponse(body())


urlpatterns = [path("page", page), path("streamed", streamed)]
