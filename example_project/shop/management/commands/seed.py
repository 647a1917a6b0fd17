"""`manage.py seed`: fills the shop with sample data, and in DEBUG makes the two demonstration users."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_wsgiperf.cache.purging import purge_all

from shop.models import Book
from shop.shelves import CACHE_KEY


class Command(BaseCommand):
    help = "Fill the shop with sample data. The same --books and --seed always give the same rows."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--books", type=int, default=5000, help="how many books, 1 to 200000 (default: 5000)")
        parser.add_argument("--seed", type=int, default=1, help="which sample (default: 1)")
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--replace", action="store_true", help="delete the books and orders that are there")
        group.add_argument("--if-empty", action="store_true", help="leave a shop that has books as it is")

    def handle(self, *args: Any, books: int, seed: int, replace: bool, if_empty: bool, **options: Any) -> None:
        if not 1 <= books <= 200_000:
            raise CommandError(f"--books {books} is out of range. Write a number from 1 to 200000.")
        there = Book.objects.count()
        if there and not (replace or if_empty):
            raise CommandError(
                f"The shop already has {there} books. Write --replace to delete them, or --if-empty to keep them."
            )
        if there and if_empty:
            self.stdout.write(f"The shop has {there} books already; nothing changed.")
        else:
            self._fill(books, seed)
        if settings.DEBUG:
            self._make_users()

    def _fill(self, books: int, seed: int) -> None:
        # Imported here: serving the shop needs no factory-boy.
        try:
            from shop.sample import filling
        except ImportError as error:
            raise CommandError(f"Sample data needs factory-boy ({error}). Run: pip install factory-boy") from error
        began = time.perf_counter()
        stock = filling.build(books, seed)
        filling.write(stock)
        # Not clear(): with Redis that empties what others keep there.
        cache.delete(CACHE_KEY)
        purge_all()
        self.stdout.write(
            self.style.SUCCESS(
                f"{len(stock.books)} books, {len(stock.authors)} authors, {len(stock.reviews)} reviews and "
                f"{len(stock.orders)} orders in {time.perf_counter() - began:.1f} s."
            )
        )

    def _make_users(self) -> None:
        """An administrator and a customer, with the password of the settings. Existing users stay as they are."""
        users = get_user_model().objects
        password = settings.BOOKSHOP_DEMO_PASSWORD
        if not users.filter(username="admin").exists():
            users.create_superuser("admin", "admin@example.com", password)
            self.stdout.write("Created the administrator “admin”.")
        if not users.filter(username="reader").exists():
            users.create_user("reader", "reader@example.com", password, first_name="Robin", last_name="Reader")
            self.stdout.write("Created the customer “reader”.")
