"""Fills an empty shop: authors, publishers, books, reviews and past orders, the same for the same seed.

The factories build the rows in memory, and one bulk insert a table writes them. Keys are given here, from 1 on,
so that rows are identical down to their keys; the sequences of the database are moved past them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import factory.random
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.utils.text import slugify

from shop.models import Author, Book, Category, Order, OrderLine, Publisher, Review

from .factories import (
    AuthorFactory,
    BookFactory,
    CategoryFactory,
    OrderFactory,
    OrderLineFactory,
    PublisherFactory,
    ReviewFactory,
    compose,
    pick,
    random,
)
from .genres import GENRES

ORDERS = 40
BATCH = 1000
# In the sequence in which they may be deleted.
TABLES: tuple[type[models.Model], ...] = (OrderLine, Order, Review, Book, Author, Publisher, Category)


@dataclass(slots=True)
class Stock:
    """All rows of a shop, before they are written."""

    categories: list[Category] = field(default_factory=list)
    publishers: list[Publisher] = field(default_factory=list)
    authors: list[Author] = field(default_factory=list)
    books: list[Book] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    order_lines: list[OrderLine] = field(default_factory=list)


def build(books: int, seed: int) -> Stock:
    """Make all rows of a shop with that many books. The same numbers give the same rows."""
    factory.random.reseed_random(f"bookshop-{seed}")
    for each in (CategoryFactory, PublisherFactory, AuthorFactory, BookFactory, ReviewFactory, OrderFactory):
        each.reset_sequence(1, force=True)

    stock = Stock()
    stock.categories = [CategoryFactory.build(id=n, genre=genre) for n, genre in enumerate(GENRES, 1)]
    stock.publishers = _distinct(PublisherFactory.build, "name", min(120, 4 + books // 40))
    stock.authors = _distinct(AuthorFactory.build, "slug", min(4000, 5 + books // 6))
    # A few authors write much, most write little.
    weights = [1 / (rank + 3) ** 0.7 for rank in range(len(stock.authors))]
    writers = random.choices(stock.authors, weights=weights, k=books)
    titles: set[str] = set()
    for number, author in enumerate(writers, 1):
        # Authors keep to one or two kinds of books.
        kind = (author.pk * 5 + (random.random() < 0.2)) % len(GENRES)
        genre = GENRES[kind]
        stock.books.append(
            BookFactory.build(
                id=number,
                genre=genre,
                title=_new_title(genre, titles),
                author=author,
                publisher=pick(tuple(stock.publishers)),
                category=stock.categories[kind],
            )
        )
        _review(stock, stock.books[-1])
    _order(stock)
    return stock


def _distinct(make: Callable[..., Any], name: str, number: int) -> list[Any]:
    """That many rows, no two with the same `name`."""
    rows: dict[str, Any] = {}
    while len(rows) < number:
        row = make(id=len(rows) + 1)
        rows.setdefault(getattr(row, name), row)
    return list(rows.values())


def _new_title(genre: Any, taken: set[str]) -> str:
    title = ""
    for _ in range(20):
        title = compose(pick(genre.titles), genre)
        if slugify(title) not in taken:
            break
    taken.add(slugify(title))
    return title


def _review(stock: Stock, book: Book) -> None:
    """Give the book some reviews, and the rating that they make."""
    quality = random.gauss(3.9, 0.5)
    number = min(30, int(random.expovariate(1 / 3.5)))
    reviews = [ReviewFactory.build(id=len(stock.reviews) + n, book=book, quality=quality) for n in range(1, number + 1)]
    stock.reviews += reviews
    if reviews:
        mean = Decimal(sum(review.rating for review in reviews)) / len(reviews)
        book.rating, book.rating_count = round(mean, 2), len(reviews)


def _order(stock: Stock) -> None:
    orders = sorted((OrderFactory.build() for _ in range(ORDERS)), key=lambda order: order.placed)
    for number, order in enumerate(orders, 1):
        order.pk = number
        bought: Sequence[Book] = random.sample(stock.books, min(len(stock.books), random.randint(1, 3)))
        lines = [
            OrderLineFactory.build(id=len(stock.order_lines) + n, order=order, book=book)
            for n, book in enumerate(bought, 1)
        ]
        order.total = sum((line.total for line in lines), Decimal(0))
        stock.orders.append(order)
        stock.order_lines += lines


def write(stock: Stock) -> None:
    """Replace what is in the shop's tables by these rows, in one transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        for model in TABLES:
            # Without loading a row: reviews and lines go before what they belong to.
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}")
        tables: tuple[tuple[type[models.Model], list[Any]], ...] = (
            (Category, stock.categories),
            (Publisher, stock.publishers),
            (Author, stock.authors),
            (Book, stock.books),
            (Review, stock.reviews),
            (Order, stock.orders),
            (OrderLine, stock.order_lines),
        )
        for model, rows in tables:
            model._default_manager.bulk_create(rows, batch_size=BATCH)
        for statement in connection.ops.sequence_reset_sql(no_style(), list(TABLES)):
            cursor.execute(statement)
