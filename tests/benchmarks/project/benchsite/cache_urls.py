"""The pages that compare caches of whole pages."""

from __future__ import annotations

from django.urls import path

from benchsite import cache_views as views

urlpatterns = [
    path("page", views.page),
    path("private", views.private),
    path("slow", views.slow),
    path("renders", views.renders),
]
