"""The numbers for machines as pages of the project: `path("-/", include("django_wsgiperf.urls"))`.

Needed under other servers than `serve`, which answers /-/metrics and /-/stats itself, before Django.
"""

from __future__ import annotations

from django.urls import path

from django_wsgiperf import views

app_name = "django_wsgiperf"
urlpatterns = [
    path("metrics", views.metrics, name="metrics"),
    path("stats", views.stats, name="stats"),
]
