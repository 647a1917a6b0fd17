"""`manage.py fill_benchmark`: make the tables and the rows of the database page, the same on every run."""

from __future__ import annotations

import datetime
import random
from decimal import Decimal
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection, transaction

from benchsite.models import Author, Book, Shelf, Subject

BOOKS, AUTHORS, SUBJECTS_A_BOOK = 400, 60, 3
TEXT = (
    "harbour winter letters garden machine river silver atlas quiet engine north orchard "
    "glass signal mountain paper island copper evening bridge lantern salt meadow clock"
)
WORDS = TEXT.split()


class Command(BaseCommand):
    help = "Make the tables and rows of the benchmark's database page."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", run_syncdb=True, verbosity=0)
        with transaction.atomic():
            self.fill(random.Random(20_240))
        with connection.cursor() as cursor:
            tables = ", ".join(model._meta.db_table for model in (Shelf, Subject, Author, Book))
            cursor.execute(f"ANALYZE TABLE {tables}" if connection.vendor == "mysql" else "ANALYZE")

    def fill(self, chance: random.Random) -> None:
        def phrase(words: int) -> str:
            return " ".join(chance.choice(WORDS) for _ in range(words)).capitalize()

        def day(first: int, last: int) -> datetime.date:
            return datetime.date(chance.randint(first, last), chance.randint(1, 12), chance.randint(1, 28))

        shelves = Shelf.objects.bulk_create([Shelf(name=word.capitalize()) for word in WORDS[:8]])
        subjects = Subject.objects.bulk_create([Subject(name=word) for word in WORDS])
        authors = Author.objects.bulk_create(
            [Author(name=phrase(2).title(), born=day(1900, 1990)) for _ in range(AUTHORS)]
        )
        books = Book.objects.bulk_create(
            [
                Book(
                    title=phrase(4),
                    author=chance.choice(authors),
                    shelf=chance.choice(shelves),
                    published=day(1950, 2024),
                    price=Decimal(chance.randint(300, 9000)) / 100,
                    stars=chance.randint(10, 50) / 10,
                    reviews_count=chance.randint(0, 40),
                    description=f"{phrase(40)} & <more>.",
                )
                for _ in range(BOOKS)
            ]
        )
        link = Book.subjects.through
        link.objects.bulk_create(
            [
                link(book_id=book.pk, subject_id=subject.pk)
                for book in books
                for subject in chance.sample(subjects, SUBJECTS_A_BOOK)
            ]
        )
