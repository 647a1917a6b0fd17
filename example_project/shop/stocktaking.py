"""Reads an uploaded CSV of stock and writes it to the books: every line of it, or none.

Bytes come in; a `StockList` or a list of what is wrong, with line numbers, goes out.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from django.db import transaction
from django_wsgiperf.cache.purging import purge

from .caching import SHOP
from .models import Book

MAX_BYTES = 1_048_576
MAX_LINES = 20_000
MAX_STOCK = 100_000
MAX_PROBLEMS = 20


class BadStockListError(Exception):
    """The file cannot be used; `problems` says why, line by line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems[0])
        self.problems = problems


@dataclass(frozen=True, slots=True)
class StockList:
    """The new stock by ISBN."""

    stock: dict[str, int]


def parse(content: bytes) -> StockList:
    """Read a CSV with the columns isbn and stock. Raises BadStockListError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadStockListError(["The file is not UTF-8 text. Save it as “CSV UTF-8”."]) from None
    if "\0" in text:
        raise BadStockListError(["The file holds binary data. Upload a CSV file."])
    reader = csv.DictReader(io.StringIO(text))
    headings = [heading.strip().lower() for heading in reader.fieldnames or ()]
    reader.fieldnames = headings
    missing = [name for name in ("isbn", "stock") if name not in headings]
    if missing:
        found = ", ".join(headings) or "nothing"
        raise BadStockListError([f"The first line names no column “{missing[0]}” (found: {found}). Write: isbn,stock"])
    stock: dict[str, int] = {}
    problems: list[str] = []
    try:
        for row in reader:
            if reader.line_num > MAX_LINES:
                problems.append(f"The file has more than {MAX_LINES} lines. Upload it in parts.")
                break
            problem = _read(row, stock)
            if problem:
                problems.append(f"Line {reader.line_num}: {problem}")
            if len(problems) == MAX_PROBLEMS:
                problems.append("There may be more; these are the first.")
                break
    except csv.Error as error:
        problems.append(f"Line {reader.line_num}: this is not CSV ({error}).")
    if not stock and not problems:
        problems.append("The file holds no books below its headings.")
    if problems:
        raise BadStockListError(problems)
    return StockList(stock)


def _read(row: dict[str, str | None], stock: dict[str, int]) -> str:
    """Take one line into `stock`; give what is wrong with it, or nothing."""
    isbn = (row["isbn"] or "").strip().replace("-", "")
    number = (row["stock"] or "").strip()
    if not (len(isbn) == 13 and isbn.isascii() and isbn.isdigit()):
        return f"“{isbn[:20]}” is not an ISBN of 13 digits."
    if not (number.isascii() and number.isdigit() and len(number) <= 6 and int(number) <= MAX_STOCK):
        return f"“{number[:20]}” is not a number of copies from 0 to {MAX_STOCK}."
    if isbn in stock:
        return f"{isbn} stands in the file twice."
    stock[isbn] = int(number)
    return ""


def apply(stock_list: StockList) -> int:
    """Write the stock; give how many books changed. Raises BadStockListError for ISBNs that the shop does not sell."""
    wanted = stock_list.stock
    isbns = list(wanted)
    with transaction.atomic():
        books: dict[str, Book] = {}
        for start in range(0, len(isbns), 500):
            found = Book.objects.only("pk", "isbn", "stock").filter(isbn__in=isbns[start : start + 500])
            books |= {book.isbn: book for book in found}
        unknown = [isbn for isbn in isbns if isbn not in books]
        if unknown:
            raise BadStockListError([f"{isbn} is not a book of this shop." for isbn in unknown[:MAX_PROBLEMS]])
        changed = [book for isbn, book in books.items() if book.stock != wanted[isbn]]
        for book in changed:
            book.stock = wanted[book.isbn]
        Book.objects.bulk_update(changed, ["stock"], batch_size=500)
        # There may be thousands: every page is made anew instead.
        purge(tags=[SHOP])
    return len(changed)
