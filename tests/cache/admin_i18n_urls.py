"""A site whose admin has an address for each language."""

from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import path, re_path

from .doors import dispatch

urlpatterns = i18n_patterns(
    re_path(r"^verwaltung-ö/(?P<path>help/)$", dispatch),
    path("verwaltung-ö/", admin.site.urls),
)
