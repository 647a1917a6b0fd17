"""Search over titles, subtitles, authors and descriptions: which books match, and which of them match best.

Substring search with the database's own comparison, on purpose: it asks the same of SQLite, PostgreSQL and
MariaDB, needs no index of its own, and is the shop's heaviest page for a database.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Case, IntegerField, Q, Value, When

from .models import Book
from .models.catalogue import BookQuerySet

MAX_LENGTH = 100
MAX_WORDS = 8


def words_of(text: str) -> list[str]:
    """The words to look for: at most MAX_WORDS of the first MAX_LENGTH characters. NUL is no text to a database."""
    return text.replace("\0", " ")[:MAX_LENGTH].split()[:MAX_WORDS]


def matching(words: list[str]) -> BookQuerySet:
    """The books in which every word occurs somewhere; none without a word."""
    if not words:
        return Book.objects.none()
    books = Book.objects.all()
    for word in words:
        books = books.filter(
            Q(title__icontains=word)
            | Q(subtitle__icontains=word)
            | Q(author__name__icontains=word)
            | Q(description__icontains=word)
            | Q(isbn=word)
        )
    return books


def by_relevance(words: list[str]) -> tuple[Any, ...]:
    """The order that puts a match in the title before one in the author's name, and both before the rest."""
    phrase = " ".join(words)
    score = Case(
        When(title__iexact=phrase, then=Value(6)),
        When(title__istartswith=phrase, then=Value(5)),
        When(title__icontains=phrase, then=Value(4)),
        When(author__name__icontains=phrase, then=Value(3)),
        When(Q(*(Q(title__icontains=word) for word in words)), then=Value(2)),
        default=Value(1),
        output_field=IntegerField(),
    )
    return (score.desc(), "-rating_count", "-pk")
