"""The bookshop's fixtures: a shop of 120 books that every test starts from, and visitors to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client
    from shop.models import Book

BOOKS = 120


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """These tests run with the bookshop's settings, in a run of their own."""
    return True if os.environ.get("DJANGO_SETTINGS_MODULE") != "bookshop.settings" else None


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    from shop.sample import filling

    with django_db_blocker.unblock():
        filling.write(filling.build(BOOKS, seed=1))


@pytest.fixture(autouse=True)
def own_surroundings(settings: Any, tmp_path: Path) -> Iterator[None]:
    """No waiting for suppliers or slow passwords, an empty cache, and a folder for what the shop writes."""
    import factory.random
    from django.core.cache import cache
    from shop.sample.factories import BookFactory
    from shop.shelves import CACHE_KEY

    # Books of a test get other numbers than those of the shop, and the same ones in every run.
    factory.random.reseed_random("tests")
    BookFactory.reset_sequence(10 * BOOKS, force=True)
    settings.BOOKSHOP_SUPPLIER_DELAY_S = 0.0
    settings.BOOKSHOP_STREAM_MAX_S = 0.0
    settings.BOOKSHOP_STREAM_POLL_S = 0.0
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.DATA_DIR = tmp_path
    cache.delete(CACHE_KEY)
    yield
    cache.delete(CACHE_KEY)


@pytest.fixture
def book(db: None) -> Book:
    """A book with reviews, and with copies to sell."""
    from shop.models import Book

    return Book.objects.select_related("author").filter(stock__gte=10, rating_count__gte=3).order_by("pk")[0]


@pytest.fixture
def reader(db: None) -> User:
    from shop.sample.factories import UserFactory

    user: User = UserFactory(username="robin", first_name="Robin", email="robin@example.com")
    return user


@pytest.fixture
def visitor(client: Client, reader: User) -> Client:
    """A browser that is logged in as the reader."""
    client.force_login(reader)
    return client
