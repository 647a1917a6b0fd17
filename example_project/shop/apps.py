"""The shop's Django application; it joins the rating of a book to its reviews when Django is ready."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
    verbose_name = "Bookshop"

    def ready(self) -> None:
        from . import signals  # noqa: F401
