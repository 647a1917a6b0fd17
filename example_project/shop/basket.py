"""The basket: which books, and how many of each, kept in the visitor's session.

The session holds numbers only; titles, prices and stock are read from the database whenever they are shown.
Writing an order from a basket is in `ordering.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.contrib.sessions.backends.base import SessionBase

from .models import Book

SESSION_KEY = "basket"
MAX_LINES = 50
MAX_QUANTITY = 20


class BasketFullError(Exception):
    """There is no room for another title."""

    def __init__(self) -> None:
        super().__init__(f"A basket holds {MAX_LINES} different books. Take one out, or order these first.")


@dataclass(frozen=True, slots=True)
class Line:
    book: Book
    quantity: int

    @property
    def total(self) -> Decimal:
        return self.book.price * self.quantity

    @property
    def missing(self) -> int:
        """How many more are wanted than there are."""
        return max(0, self.quantity - self.book.stock)


class Basket:
    """The basket in a session. Reading an empty one writes nothing, so a visitor who only reads gets no cookie."""

    def __init__(self, session: SessionBase) -> None:
        self._session = session
        self._quantities: dict[str, int] = dict(session.get(SESSION_KEY, {}))

    def __len__(self) -> int:
        """How many copies lie in it."""
        return sum(self._quantities.values())

    def add(self, book: Book, quantity: int) -> int:
        """Put that many more in, up to MAX_QUANTITY of a title; give how many there are now.

        Raises BasketFullError.
        """
        return self.set(book, self._quantities.get(str(book.pk), 0) + quantity)

    def set(self, book: Book, quantity: int) -> int:
        """Make it that many, up to MAX_QUANTITY; none takes the title out. Raises BasketFullError."""
        key = str(book.pk)
        if quantity < 1:
            self._quantities.pop(key, None)
        elif key not in self._quantities and len(self._quantities) >= MAX_LINES:
            raise BasketFullError
        else:
            self._quantities[key] = min(quantity, MAX_QUANTITY)
        self._session[SESSION_KEY] = self._quantities
        return self._quantities.get(key, 0)

    def clear(self) -> None:
        self._quantities = {}
        self._session.pop(SESSION_KEY, None)

    def lines(self) -> list[Line]:
        """The books with their numbers, in the order they were put in; without books that are gone from the shop."""
        books = Book.objects.for_cards().in_bulk([int(key) for key in self._quantities])
        return [Line(books[int(key)], number) for key, number in self._quantities.items() if int(key) in books]


def total_of(lines: list[Line]) -> Decimal:
    return sum((line.total for line in lines), Decimal(0))
