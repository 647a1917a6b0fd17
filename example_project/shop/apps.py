"""The shop's Django application; it joins ratings to reviews, and kept pages to books, when Django is ready."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
    verbose_name = "Bookshop"

    def ready(self) -> None:
        from . import caching, signals  # noqa: F401

        caching.watch()
