"""The catalogue as CSV: row by row for a stream, and as a file on disk that is made anew when it is old."""

from __future__ import annotations

import csv
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .models import Book

COLUMNS = (
    "isbn",
    "title",
    "author__name",
    "publisher__name",
    "category__name",
    "format",
    "language",
    "published",
    "price",
    "stock",
)
HEADINGS = tuple(column.partition("__")[0] for column in COLUMNS)
FRESH_S = 600


class _Line:
    """The file that csv.writer writes to: it gives the line back."""

    def write(self, line: str) -> str:
        return line


def rows() -> Iterator[Any]:
    """The headings, then every book; a thousand books are in memory at a time."""
    yield HEADINGS
    yield from Book.objects.order_by("pk").values_list(*COLUMNS).iterator(chunk_size=1000)


def lines() -> Iterator[str]:
    """The catalogue's lines, a hundred to a piece: small pieces cost a server more than they are worth."""
    writer = csv.writer(_Line())
    piece: list[str] = []
    for row in rows():
        # What csv.writer returns is what its file's write() returned.
        piece.append(str(writer.writerow(row)))
        if len(piece) == 100:
            yield "".join(piece)
            piece = []
    if piece:
        yield "".join(piece)


def fresh_file(folder: Path) -> Path:
    """The catalogue's file, at most FRESH_S seconds old. It is replaced in one step, so nobody reads half of it."""
    path = folder / "catalogue.csv"
    try:
        if time.time() - path.stat().st_mtime < FRESH_S:
            return path
    except FileNotFoundError:
        pass
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, prefix=".catalogue-", newline="", encoding="utf-8", delete=False
    ) as draft:
        draft.writelines(lines())
    os.replace(draft.name, path)
    return path
