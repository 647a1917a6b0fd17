"""The test project's address list: one page that says that it works."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path


def works(request: HttpRequest) -> HttpResponse:
    return HttpResponse("works", content_type="text/plain")


urlpatterns = [path("", works, name="works")]
