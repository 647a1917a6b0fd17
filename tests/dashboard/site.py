"""The project that the performance pages are tested in: Django's admin, and a second admin site of one's own."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_wsgiperf.admin import DashboardAdmin
from django_wsgiperf.models import Dashboard


class OfficeSite(AdminSite):
    site_header = "The office"


office = OfficeSite(name="office")
office.register(Dashboard, DashboardAdmin)


def works(request: HttpRequest) -> HttpResponse:
    return HttpResponse("works")


urlpatterns = [path("admin/", admin.site.urls), path("office/", office.urls), path("works/", works)]
