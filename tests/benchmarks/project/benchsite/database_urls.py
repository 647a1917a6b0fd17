"""The pages that compare ways to get database connections."""

from __future__ import annotations

from django.urls import path

from benchsite import database_views as views

urlpatterns = [
    path("one", views.one),
    path("five", views.five),
    path("sleep", views.sleep),
    path("stream", views.stream),
    path("held", views.held),
]
