"""Keeps a book's rating in step with its reviews, whoever writes them: the site or the admin."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from .models import Review


@receiver([post_save, post_delete], sender=Review)
def refresh_book_rating(sender: type[Review], instance: Review, raw: bool = False, **kwargs: Any) -> None:
    # A fixture brings the books' own numbers along.
    if not raw:
        instance.book.refresh_rating()
