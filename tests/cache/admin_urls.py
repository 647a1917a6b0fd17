"""A site that has the admin, and one more for its partners."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path, re_path

from .doors import dispatch

partners = admin.AdminSite(name="partners")
urlpatterns = [
    re_path(r"^(?P<path>(?:account|back-office/help|partners/help)/.*)$", dispatch),
    path("back-office/", admin.site.urls),
    path("partners/", partners.urls),
]
