"""The bookshop's addresses, and one that takes long: until it is interrupted."""

from __future__ import annotations

import time

from bookshop.urls import urlpatterns as shop
from django.http import HttpRequest, HttpResponse
from django.urls import path

LONGEST_S = 60


def take_long(request: HttpRequest) -> HttpResponse:
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        time.sleep(0.02)
    return HttpResponse("at last")


urlpatterns = [path("long/", take_long), *shop]
