"""The shop's tables: what is for sale (catalogue) and what was sold (orders)."""

from __future__ import annotations

from .catalogue import Author, Book, Category, Publisher, Review
from .orders import Order, OrderLine

__all__ = ["Author", "Book", "Category", "Order", "OrderLine", "Publisher", "Review"]
