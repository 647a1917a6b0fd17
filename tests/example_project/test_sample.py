"""The sample data: repeatable, plausible and quickly made; and the covers that are drawn from it."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError, call_command
from django.db import models
from shop.covers import PALETTES, PATTERNS, cover, cover_file, wrap
from shop.models import Author, Book, Category, Order, OrderLine, Publisher, Review
from shop.sample import filling
from shop.sample.factories import NOON, TODAY, isbn_of, plural, with_articles

from .conftest import BOOKS

# As many books as the other tests have or more: a rollback takes rows back, but not a sequence of PostgreSQL's.
MORE = f"--books={BOOKS + 30}"
TABLES: tuple[type[models.Model], ...] = (Category, Publisher, Author, Book, Review, Order, OrderLine)


def rows() -> dict[str, list[Any]]:
    return {model.__name__: list(model._default_manager.order_by("pk").values_list()) for model in TABLES}


def seed(*arguments: str) -> str:
    out = io.StringIO()
    call_command("seed", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_same_seed_gives_identical_rows() -> None:
    seed(MORE, "--seed=3", "--replace")
    first = rows()
    seed(MORE, "--seed=3", "--replace")
    assert rows() == first
    seed(MORE, "--seed=4", "--replace")
    assert rows()["Book"] != first["Book"]


@pytest.mark.django_db
def test_rows_can_be_added_after_seeding() -> None:
    seed(MORE, "--replace")
    category = Category.objects.create(name="Maps", slug="maps", description="Maps.")
    assert category.pk > 0


@pytest.mark.django_db
def test_full_shop_is_left_alone_unless_told_otherwise() -> None:
    before = rows()
    with pytest.raises(CommandError, match="--replace"):
        seed(MORE)
    assert "nothing changed" in seed(MORE, "--if-empty")
    assert rows() == before


@pytest.mark.django_db
@pytest.mark.parametrize("number", ["0", "-3", "200001"])
def test_impossible_number_of_books_is_refused(number: str) -> None:
    with pytest.raises(CommandError, match=f"--books {number} is out of range"):
        seed(f"--books={number}")


@pytest.mark.django_db
def test_demonstration_users_exist_in_debug_alone(settings: Any) -> None:
    settings.DEBUG = False
    seed(MORE, "--replace")
    assert not get_user_model().objects.exists()
    settings.DEBUG = True
    seed("--if-empty")
    admin = authenticate(username="admin", password=settings.BOOKSHOP_DEMO_PASSWORD)
    assert admin is not None
    assert admin.is_superuser
    reader = authenticate(username="reader", password=settings.BOOKSHOP_DEMO_PASSWORD)
    assert reader is not None
    assert not reader.is_staff


def test_sample_is_plausible() -> None:
    stock = filling.build(800, seed=1)
    books = stock.books
    for book in books:
        book.clean_fields(exclude=["author", "publisher", "category"])
    assert len({book.slug for book in books}) == len({book.isbn for book in books}) == 800
    assert len({book.title for book in books}) > 780
    assert all(book.published <= TODAY for book in books)
    assert all(review.written <= NOON for review in stock.reviews)
    assert all(len(set(map(id, stock.books))) for book in books)
    assert {book.category.slug for book in books} == {category.slug for category in stock.categories}
    assert 0 < sum(book.stock == 0 for book in books) < 80
    assert "{" not in "".join(book.title + book.subtitle + book.description for book in books)
    by_author = Counter(book.author.pk for book in books)
    assert max(by_author.values()) > 8
    for book in books[:100]:
        ratings = [review.rating for review in stock.reviews if review.book is book]
        assert book.rating_count == len(ratings)
        assert not ratings or abs(float(book.rating) - sum(ratings) / len(ratings)) < 0.006


def test_order_totals_are_the_sums_of_their_lines() -> None:
    stock = filling.build(50, seed=2)
    for order in stock.orders:
        assert order.total == sum(line.total for line in stock.order_lines if line.order is order)


@pytest.mark.parametrize("number", [1, 2, 4999])
def test_isbn_has_a_right_check_digit(number: int) -> None:
    digits = [int(digit) for digit in isbn_of(number)]
    assert sum(digit * (3 if index % 2 else 1) for index, digit in enumerate(digits)) % 10 == 0


def test_words_are_put_into_english() -> None:
    assert [plural(noun) for noun in ("Moth", "Index", "Query", "Boy", "Goose", "Bus")] == [
        "Moths",
        "Indexes",
        "Queries",
        "Boys",
        "Geese",
        "Buses",
    ]
    assert with_articles("A owl, a useful a apple") == "An owl, a useful an apple"


def test_cover_is_the_same_for_the_same_book_and_differs_from_others() -> None:
    assert cover("River Songs", "Ada Alder") == cover("River Songs", "Ada Alder")
    covers = {cover(f"Book {number}", "Ada Alder") for number in range(200)}
    assert len(covers) == 200


def test_every_pattern_and_palette_is_used() -> None:
    text = "".join(cover(f"Book {number}", "Ada") for number in range(300))
    assert all(palette.first in text for palette in PALETTES)
    assert len(PATTERNS) == 8


@pytest.mark.parametrize("title", ["A", "x" * 160, "long " * 32, "<script>", "&amp;", "Ünïcödé 漢字", ""])
def test_any_title_makes_a_cover_that_is_xml(title: str) -> None:
    from xml.etree import ElementTree

    drawing = ElementTree.fromstring(cover_file(title, "A & B"))
    assert drawing.tag.endswith("svg")
    assert "style" not in "".join(name for element in drawing.iter() for name in element.attrib)


def test_title_is_broken_between_words() -> None:
    assert wrap("The Salt Road to Cork", 21, 168) == ["The Salt", "Road to Cork"]
