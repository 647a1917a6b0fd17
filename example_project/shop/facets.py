"""The counts beside a list's filters: how many books each value of each filter would leave.

A facet is counted under all filters but its own, so that its other values show what choosing them would give.
One query a facet, in plain SQL aggregates that every supported database has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Count, Expression, F, Q, Value, When
from django.http import QueryDict

from .models import Book
from .models.catalogue import BookQuerySet
from .shelves import shelves


@dataclass(frozen=True, slots=True)
class PriceBand:
    """A range of prices in pounds: `low` is in it, `high` is not."""

    key: str
    label: str
    low: int
    high: int

    @property
    def condition(self) -> Q:
        return Q(price__gte=self.low, price__lt=self.high)


PRICE_BANDS = (
    PriceBand("under-8", "Under £8", 0, 8),
    PriceBand("8-15", "£8 to £15", 8, 15),
    PriceBand("15-25", "£15 to £25", 15, 25),
    PriceBand("over-25", "£25 and more", 25, 10_000),
)
STARS = (4, 3)


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a filter or one order: a link that chooses it, or that takes it back when it is chosen."""

    label: str
    query: str
    selected: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class Facet:
    """One group of filter links: its title, and its values that leave a book or are chosen."""

    name: str
    title: str
    choices: list[Choice]


def query_with(parameters: QueryDict, name: str, value: str | None) -> str:
    """The query string with that parameter changed, or without it; always for the first page."""
    changed = parameters.copy()
    changed.pop("page", None)
    if value is None:
        changed.pop(name, None)
    else:
        changed[name] = value
    return f"?{changed.urlencode()}"


def count_facets(
    books: BookQuerySet, conditions: Mapping[str, Q], chosen: Mapping[str, Any], parameters: QueryDict
) -> list[Facet]:
    """Count `books` for every facet, each under the `conditions` of the others.

    `chosen` are the filters in force, `parameters` the query string that the links start from.
    """

    def counts(name: str, column: Expression | F) -> dict[Any, int]:
        others = [condition for key, condition in conditions.items() if key != name]
        grouped = books.filter(*others).order_by().values(facet=column)
        return dict(grouped.annotate(number=Count("pk")).values_list("facet", "number"))

    def facet(name: str, title: str, labels: Iterable[tuple[str, str]], column: Expression | F) -> Facet:
        counted = counts(name, column)
        if name == "rating":
            counted = {str(least): sum(n for floor, n in counted.items() if floor >= least) for least in STARS}
        picked = str(chosen.get(name) or "")
        choices = [
            Choice(
                label, query_with(parameters, name, None if key == picked else key), key == picked, counted.get(key, 0)
            )
            for key, label in labels
        ]
        return Facet(name, title, [choice for choice in choices if choice.count or choice.selected])

    def step(pairs: Iterable[tuple[Q, Any]], otherwise: Any) -> Case:
        cases = [When(condition, then=Value(result)) for condition, result in pairs]
        return Case(*cases, default=Value(otherwise))

    stars = step([(Q(rating__gte=least), least) for least in STARS], 0)
    prices = step([(band.condition, band.key) for band in PRICE_BANDS], "")
    facets = (
        ("category", "Category", [(shelf.slug, shelf.name) for shelf in shelves()], F("category__slug")),
        ("format", "Format", Book.Format.choices, F("format")),
        ("price", "Price", [(band.key, band.label) for band in PRICE_BANDS], prices),
        ("rating", "Readers’ rating", [(str(least), f"{least} stars and up") for least in STARS], stars),
        ("language", "Language", Book.Language.choices, F("language")),
    )
    return [facet(*each) for each in facets]
