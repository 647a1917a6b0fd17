"""The table of routes: its columns, each with what it is sorted by and how it is shown; sorting, filtering, exporting.

The same columns make the page, CSV and JSON. Exports hold plain numbers, in the units that their names say.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_wsgiperf.metrics.results import RouteRow

from . import formats
from .tiles import cached_share, per_request

Value = float | int | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """`name` is its name in addresses and exports."""

    name: str
    label: str | Promise
    hint: str | Promise
    value: Callable[[RouteRow], Value]
    show: Callable[[Any], str]
    is_minor: bool = False
    """Left out where the window is narrow."""


def _errors(row: RouteRow) -> Value:
    return per_request(row.totals.errors_5xx, row.totals)


def _database_s(row: RouteRow) -> Value:
    return per_request(row.totals.parts_s.get("db", 0.0), row.totals)


def _cpu_share(row: RouteRow) -> Value:
    return row.totals.cpu_s / row.totals.wall_s if row.totals.wall_s > 0 else None


def _count(value: float | None) -> str:
    return formats.number(value) if value else "0"


COLUMNS: Final = (
    Column("route", _("Route"), _("The pattern of the URL"), lambda row: row.route, str),
    Column("share", _("Share"), _("Of the time of all routes"), lambda row: row.share, formats.share),
    Column("total_s", _("Total"), _("Time of all its requests"), lambda row: row.totals.wall_s, formats.duration),
    Column("requests", _("Requests"), _("In the period"), lambda row: row.totals.requests, formats.short),
    Column("mean_s", _("Mean"), _("Response time"), lambda row: row.totals.quantiles.mean, formats.duration, True),
    Column("p50_s", "p50", _("Half were faster"), lambda row: row.totals.quantiles.p50, formats.duration, True),
    Column("p95_s", "p95", _("19 of 20 were faster"), lambda row: row.totals.quantiles.p95, formats.duration),
    Column("p99_s", "p99", _("99 of 100 were faster"), lambda row: row.totals.quantiles.p99, formats.duration),
    Column("max_s", _("Max"), _("The slowest"), lambda row: row.totals.quantiles.max, formats.duration, True),
    Column("errors", _("Errors"), _("Share that ended in 5xx"), _errors, formats.share),
    Column(
        "queries", _("Queries"), _("For each request"), lambda r: per_request(r.totals.queries, r.totals), formats.short
    ),
    Column("database_s", _("Database"), _("Time for each request"), _database_s, formats.duration),
    Column("cpu", _("CPU"), _("Share of its time"), _cpu_share, formats.share, True),
    Column("cached", _("Cached"), _("From the response cache"), lambda r: cached_share(r.totals), formats.share, True),
    Column("repeating", "N+1", _("Requests that repeat a query"), lambda row: row.n_plus_one, _count),
)
BY_NAME: Final = {column.name: column for column in COLUMNS}
DEFAULT_SORT: Final = "-share"


def cells(row: RouteRow, names: Sequence[str] = tuple(BY_NAME)[1:]) -> list[tuple[Column, str]]:
    """The columns of a row with their values in words; all but the route unless they are named."""
    return [(BY_NAME[name], BY_NAME[name].show(BY_NAME[name].value(row))) for name in names]


@dataclass(frozen=True, slots=True)
class Heading:
    """A column as the page's head shows it. `sort` is what a click on it asks for; empty puts back the default."""

    column: Column
    sort: str
    direction: str
    """"ascending", "descending", or empty where the table is not sorted by it: values of aria-sort."""


def headings(sort: str) -> list[Heading]:
    """The head of the table: numbers are sorted from the largest first, names from A."""
    name, is_descending = _read(sort)
    found = []
    for column in COLUMNS:
        first = column.name if column.name == "route" else f"-{column.name}"
        if column.name != name:
            found.append(Heading(column, first, ""))
            continue
        other = column.name if is_descending else f"-{column.name}"
        found.append(Heading(column, other, "descending" if is_descending else "ascending"))
    return found


def _read(sort: str) -> tuple[str, bool]:
    name = sort.removeprefix("-")
    if name not in BY_NAME:
        name, sort = DEFAULT_SORT.removeprefix("-"), DEFAULT_SORT
    return name, sort.startswith("-")


def arranged(rows: Iterable[RouteRow], sort: str, search: str) -> list[RouteRow]:
    """The rows whose route has `search` in it, sorted. What is not known comes last, whichever the direction."""
    name, is_descending = _read(sort)
    value = BY_NAME[name].value
    wanted = search.casefold().strip()
    found = [row for row in rows if wanted in row.route.casefold()]
    known = [row for row in found if value(row) is not None]
    known.sort(key=lambda row: row.route)
    known.sort(key=value, reverse=is_descending)  # type: ignore[arg-type]  # values of one column compare
    return known + [row for row in found if value(row) is None]


def as_csv(rows: Sequence[RouteRow]) -> str:
    """With a head. A text that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([column.name for column in COLUMNS])
    writer.writerows([_cell(column.value(row)) for column in COLUMNS] for row in rows)
    return out.getvalue()


def _cell(value: Value) -> Value:
    if isinstance(value, str):
        return f"'{value}" if value.lstrip().startswith(("=", "+", "-", "@")) or value[:1] in "\t\r\n" else value
    return "" if value is None else value


def as_json(rows: Sequence[RouteRow], **about: object) -> dict[str, Any]:
    """Ready for JSON, with what the numbers are about."""
    return {
        "schema": 1,
        **about,
        "routes": [
            {
                **{column.name: column.value(row) for column in COLUMNS},
                "statuses": {str(status): count for status, count in row.totals.statuses.items()},
                "parts_s": dict(row.totals.parts_s),
            }
            for row in rows
        ],
    }
