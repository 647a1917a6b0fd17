"""Writes an order and takes its books out of stock: all of it in one transaction, or none of it.

A basket's lines and the customer's details come in, an `Order` goes out. Nothing else in the shop sells a book.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from .basket import Line, total_of
from .caching import changed
from .models import Book, Order, OrderLine

# No 0, 1, I or O: people read these numbers to each other.
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class OutOfStockError(Exception):
    """Another customer was faster. `book` says which, and how many are left."""

    def __init__(self, book: Book) -> None:
        self.book = book
        left = f"only {book.stock} left" if book.stock else "none left"
        super().__init__(f"“{book.title}”: {left}.")


def new_number() -> str:
    """A number for an order that nobody can guess."""
    return "TT-" + "".join(secrets.choice(ALPHABET) for _ in range(10))


def place_order(number: str, user: User | None, lines: Sequence[Line], details: Mapping[str, Any]) -> Order:
    """Write the order and take its books out of stock; the same number again gives the order that exists.

    `details` holds name, email, street, city and postcode. Raises OutOfStockError, and then nothing has changed.
    """
    # Always in the same sequence: two orders of the same books then wait for each other instead of for ever.
    ordered = sorted(lines, key=lambda line: line.book.pk)
    with transaction.atomic():
        order, created = Order.objects.get_or_create(
            number=number, defaults={**details, "user": user, "total": total_of(list(lines))}
        )
        if not created:
            return order
        for line in ordered:
            enough = Book.objects.filter(pk=line.book.pk, stock__gte=line.quantity)
            if not enough.update(stock=F("stock") - line.quantity):
                line.book.refresh_from_db(fields=["stock"])
                raise OutOfStockError(line.book)
        OrderLine.objects.bulk_create(
            OrderLine(
                order=order,
                book=line.book,
                title=line.book.title,
                unit_price=line.book.price,
                quantity=line.quantity,
            )
            for line in lines
        )
        changed(line.book.pk for line in ordered)
    return order
