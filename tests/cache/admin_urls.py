"""A site that has the admin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path, re_path

from .doors import dispatch

urlpatterns = [
    re_path(r"^(?P<path>(?:account|back-office/help)/.*)$", dispatch),
    path("back-office/", admin.site.urls),
]
