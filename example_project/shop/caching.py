"""What the response cache keeps of the shop: for how long, by which tags, and what purges it.

The public pages are decorated with `kept` and name what they show by `shows`. Whoever changes a book, an author or a
category by `save()` or `delete()` purges the pages with it, as `watch` has it; whoever changes many rows at once says
so by `changed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.http import HttpRequest
from django_wsgiperf.cache.decorators import cache_response
from django_wsgiperf.cache.purging import purge, purge_on_save

from .models import Author, Book, Category
from .shelves import CACHE_KEY

#: On every page that is kept.
SHOP = "shop"
#: On pages with lists, in which any book can come up, or move.
LISTS = "lists"

#: For five minutes; a little longer while a new one is made, and for an hour when the database is down.
kept = cache_response(ttl=300, swr=30, sie=3600, tags=[SHOP])


def book_tag(pk: int) -> str:
    return f"book:{pk}"


def author_tag(pk: int) -> str:
    return f"author:{pk}"


def shows(request: HttpRequest, books: Iterable[Book], *, is_list: bool = False) -> None:
    """Tag the page with the books that it shows, and their authors; `is_list` where others could be among them."""
    notes: Any = request.wsgiperf.cache  # type: ignore[attr-defined]
    notes.tag(*([LISTS] if is_list else []))
    for book in books:
        notes.tag(book_tag(book.pk), author_tag(book.author_id))


def changed(books: Iterable[int]) -> None:
    """Purge the pages that show these books, by their primary keys: at the commit, when in a transaction."""
    purge(tags=[book_tag(pk) for pk in books])


def watch() -> None:
    """Purge pages whenever what they show is saved or deleted. Called once, when Django is ready."""
    purge_on_save(Book, tags=lambda book: [book_tag(book.pk), LISTS])
    purge_on_save(Author, tags=lambda author: [author_tag(author.pk)])
    purge_on_save(Category, tags=_tags_of_category)


def _tags_of_category(category: Category) -> list[str]:
    """Every page has the categories in its navigation, which reads them from Django's cache."""
    transaction.on_commit(lambda: cache.delete(CACHE_KEY))
    return [SHOP]
