"""Numbers and tables as text, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.common.stats import Spread


def number(value: float) -> str:
    """Write `value` with about three significant digits: 14,432, 188, 26.7, 4.21, 0.85, 0.048."""
    size = abs(value)
    if not size:
        return "0"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if size < 0.1 else f"{value:.2f}"


def spread(value: Spread) -> str:
    """Write a median with its range: `4.21 (4.15 - 4.30)`. A range of nothing is left out."""
    if value.low == value.high:
        return number(value.median)
    return f"{number(value.median)} ({number(value.low)} - {number(value.high)})"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table: the first column to the left, the others to the right."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, marks, *rows))


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give the same table for a terminal."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    )
