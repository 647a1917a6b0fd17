"""The categories with their numbers of books, as the navigation of every page shows them.

Read from the database at most once a minute in each cache; everything else in the shop is read when it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache
from django.db.models import Count

from .models import Category

CACHE_KEY = "shop.shelves"
CACHE_S = 60


@dataclass(frozen=True, slots=True)
class Shelf:
    name: str
    slug: str
    description: str
    books: int


def shelves() -> list[Shelf]:
    """Every category that holds a book, in the shop's order."""
    found: list[Shelf] | None = cache.get(CACHE_KEY)
    if found is None:
        found = _count()
        cache.set(CACHE_KEY, found, CACHE_S)
    return found


def _count() -> list[Shelf]:
    counted = Category.objects.annotate(number=Count("books")).filter(number__gt=0)
    return [Shelf(each.name, each.slug, each.description, each.number) for each in counted.order_by("position")]
