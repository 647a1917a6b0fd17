"""factory-boy factories for every table of the shop, drawing from `genres.py` and `words.py`.

All chance comes from factory-boy's own generator, so `factory.random.reseed_random` makes everything repeatable.
`filling.py` builds whole shops with them; tests build single rows.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import factory
import factory.random
from django.contrib.auth import get_user_model
from django.utils.text import slugify

from shop.models import Author, Book, Category, Order, OrderLine, Publisher, Review
from shop.ordering import ALPHABET

from . import words
from .genres import GENRES, Genre

# "Now" for the sample data: the same on every day it is made.
TODAY = date(2026, 11, 1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

random = factory.random.randgen


def pick(options: tuple[Any, ...]) -> Any:
    return random.choice(options)


def person() -> str:
    return f"{pick(words.GIVEN)} {pick(words.FAMILY)}"


def plural(noun: str) -> str:
    if noun in words.PLURALS:
        return words.PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def compose(template: str, genre: Genre) -> str:
    """Fill a title's or a sentence's blanks with words of its genre."""
    noun, other = random.sample(genre.nouns, 2)
    trade, adjective = pick(words.TRADES), pick(genre.adjectives)
    text = template.format(
        noun=noun,
        noun_l=noun.lower(),
        nouns=plural(noun),
        nouns_l=plural(noun).lower(),
        other=other,
        others=plural(other),
        adjective=adjective,
        adjective_l=adjective.lower(),
        trade=trade,
        trade_l=trade.lower(),
        place=pick(words.PLACES),
        name=pick(words.GIVEN),
    )
    return with_articles(text)


def with_articles(text: str) -> str:
    """“A” before a vowel is “an”, but not where the vowel is spoken as in “use”."""
    return re.sub(r"\b([Aa]) (?=(?!use|uni|eu)[aeiou])", r"\1n ", text, flags=re.IGNORECASE)


def describe(genre: Genre) -> str:
    """Two paragraphs in the manner of a back cover."""
    first, second, third = random.sample(words.MIDDLES, 3)
    return f"{compose(pick(genre.openings), genre)} {first}\n\n{second} {third} {pick(words.ENDINGS)}"


def isbn_of(number: int) -> str:
    """The ISBN-13 with that number and a right check digit."""
    digits = f"978{1_000_000 + number * 61:09d}"
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


class CategoryFactory(factory.django.DjangoModelFactory[Category]):
    class Meta:
        model = Category
        django_get_or_create = ("slug",)

    class Params:
        genre = factory.Sequence(lambda n: GENRES[n % len(GENRES)])

    name = factory.LazyAttribute(lambda o: o.genre.name)
    slug = factory.LazyAttribute(lambda o: o.genre.slug)
    description = factory.LazyAttribute(lambda o: o.genre.blurb)
    position = factory.LazyAttribute(lambda o: GENRES.index(o.genre))


class PublisherFactory(factory.django.DjangoModelFactory[Publisher]):
    class Meta:
        model = Publisher
        django_get_or_create = ("name",)

    name = factory.LazyFunction(lambda: f"{pick(words.PUBLISHER_NAMES)} {pick(words.PUBLISHER_ENDINGS)}")
    city = factory.LazyFunction(lambda: pick(words.CITIES))


class AuthorFactory(factory.django.DjangoModelFactory[Author]):
    class Meta:
        model = Author
        django_get_or_create = ("slug",)

    name = factory.LazyFunction(person)
    slug = factory.LazyAttribute(lambda o: slugify(o.name))
    born = factory.LazyFunction(lambda: random.randint(1931, 1999))
    home = factory.LazyFunction(lambda: pick(words.PLACES))
    biography = factory.LazyAttribute(
        lambda o: with_articles(
            f"{pick(words.BIOGRAPHIES)} {pick(words.BIOGRAPHY_ENDINGS)}".format(
                name=o.name, place=o.home, trade=pick(words.TRADES).lower()
            )
        )
    )


class BookFactory(factory.django.DjangoModelFactory[Book]):
    class Meta:
        model = Book

    class Params:
        genre = factory.LazyFunction(lambda: pick(GENRES))

    isbn = factory.Sequence(isbn_of)
    title = factory.LazyAttribute(lambda o: compose(pick(o.genre.titles), o.genre))
    subtitle = factory.LazyAttribute(
        lambda o: compose(pick(o.genre.subtitles), o.genre) if o.genre.subtitles and random.random() < 0.6 else ""
    )
    slug = factory.LazyAttribute(lambda o: f"{slugify(o.title)}-{o.isbn[-5:]}")
    author = factory.SubFactory(AuthorFactory)
    publisher = factory.SubFactory(PublisherFactory)
    category = factory.SubFactory(CategoryFactory, genre=factory.SelfAttribute("..genre"))
    format = factory.LazyFunction(
        lambda: random.choices(list(Book.Format), weights=(56, 24, 12, 8))[0].value,
    )
    language = factory.LazyFunction(lambda: random.choices(list(Book.Language), weights=(84, 5, 4, 4, 3))[0].value)
    pages = factory.LazyAttribute(lambda o: random.randint(*o.genre.pages))
    # New books are commoner than old ones: the shop sells what comes out.
    published = factory.LazyFunction(lambda: TODAY - timedelta(days=int(9000 * random.random() ** 2.2)))
    price = factory.LazyAttribute(lambda o: _price(o.genre, o.format))
    stock = factory.LazyFunction(lambda: pick((0, 1, 2, 3)) if random.random() < 0.15 else random.randint(4, 60))
    description = factory.LazyAttribute(lambda o: describe(o.genre))


def _price(genre: Genre, format: str) -> Decimal:
    low, high = genre.price
    pounds = random.randint(low, high)
    factor = {"hardback": 1.7, "audiobook": 1.3, "ebook": 0.6}.get(format, 1.0)
    return Decimal(max(2, round(pounds * factor))) + Decimal(pick(("0.99", "0.99", "0.50", "0.00")))


class ReviewFactory(factory.django.DjangoModelFactory[Review]):
    class Meta:
        model = Review

    class Params:
        quality = factory.LazyFunction(lambda: random.gauss(3.9, 0.5))

    book = factory.SubFactory(BookFactory)
    name = factory.LazyFunction(lambda: f"{pick(words.GIVEN)} {pick(words.FAMILY)[0]}.")
    rating = factory.LazyAttribute(lambda o: min(5, max(1, round(random.gauss(o.quality, 0.9)))))
    title = factory.LazyAttribute(lambda o: pick(words.REVIEW_TITLES[o.rating]))
    text = factory.LazyAttribute(lambda o: f"{pick(words.REVIEW_TEXTS[o.rating])} {pick(words.REVIEW_ENDINGS)}")
    written = factory.LazyFunction(lambda: NOON - timedelta(minutes=random.randint(0, 1_000_000)))


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = get_user_model()
        django_get_or_create = ("username",)

    username = factory.Sequence(lambda n: f"reader{n}")
    email = factory.LazyAttribute(lambda o: f"{o.username}@example.com")
    password = factory.django.Password("twelve-threads")


class OrderFactory(factory.django.DjangoModelFactory[Order]):
    class Meta:
        model = Order

    number = factory.LazyFunction(lambda: "TT-" + "".join(random.choices(ALPHABET, k=10)))
    status = Order.Status.SENT.value
    name = factory.LazyFunction(person)
    email = factory.Sequence(lambda n: f"customer{n}@example.com")
    street = factory.LazyFunction(lambda: f"{random.randint(1, 120)} {pick(words.PUBLISHER_NAMES)} Street")
    city = factory.LazyFunction(lambda: pick(words.CITIES))
    postcode = factory.LazyFunction(lambda: f"BS{random.randint(1, 16)} {random.randint(1, 9)}TT")
    total = Decimal(0)
    placed = factory.LazyFunction(lambda: NOON - timedelta(minutes=random.randint(1, 20_000)))


class OrderLineFactory(factory.django.DjangoModelFactory[OrderLine]):
    class Meta:
        model = OrderLine

    order = factory.SubFactory(OrderFactory)
    book = factory.SubFactory(BookFactory)
    title = factory.LazyAttribute(lambda o: o.book.title)
    unit_price = factory.LazyAttribute(lambda o: o.book.price)
    quantity = factory.LazyFunction(lambda: random.choices((1, 2, 3), weights=(8, 2, 1))[0])
