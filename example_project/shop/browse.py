"""Which books a list shows, and in which order: the filters, the sorting and the pages.

A list's query string comes in, a `Listing` goes out; templates and responses are elsewhere, and the counts
beside the filters are in `facets.py`. Every query runs alike on SQLite, PostgreSQL and MariaDB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.paginator import EmptyPage, Page, Paginator
from django.db.models import Q
from django.http import Http404, QueryDict

from .facets import PRICE_BANDS, Choice, Facet, count_facets, query_with
from .models import Book
from .models.catalogue import BookQuerySet

PER_PAGE = 24
BEST_MATCH = "relevance"
SORTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "newest": ("Newest first", ("-published", "-pk")),
    "rating": ("Best rated", ("-rating", "-rating_count", "-pk")),
    "price": ("Price, low to high", ("price", "pk")),
    "price-down": ("Price, high to low", ("-price", "-pk")),
    "title": ("Title, A to Z", ("title", "pk")),
}


class FilterForm(forms.Form):
    """The parameters of a list. What is wrong is named on the page and left out of the query."""

    category = forms.SlugField(required=False)
    format = forms.ChoiceField(required=False, choices=Book.Format.choices)
    language = forms.ChoiceField(required=False, choices=Book.Language.choices)
    price = forms.ChoiceField(required=False, choices=[(band.key, band.label) for band in PRICE_BANDS])
    rating = forms.IntegerField(required=False, min_value=1, max_value=5, label="Readers’ rating")
    in_stock = forms.BooleanField(required=False)

    def problems(self) -> list[str]:
        return [f"{self[name].label}: {' '.join(map(str, texts))}" for name, texts in self.errors.items()]


@dataclass(slots=True)
class Listing:
    """One page of books, with all that the page around it shows."""

    page: Page[Book]
    facets: list[Facet]
    orders: list[Choice]
    in_stock: Choice
    problems: list[str]

    @property
    def pages(self) -> Iterable[int | str]:
        return self.page.paginator.get_elided_page_range(self.page.number, on_each_side=1, on_ends=1)


def conditions(chosen: Mapping[str, Any]) -> dict[str, Q]:
    """The chosen filters as conditions, by the name of their parameter."""
    found: dict[str, Q] = {}
    if chosen.get("category"):
        found["category"] = Q(category__slug=chosen["category"])
    if chosen.get("format"):
        found["format"] = Q(format=chosen["format"])
    if chosen.get("language"):
        found["language"] = Q(language=chosen["language"])
    if chosen.get("rating"):
        found["rating"] = Q(rating__gte=chosen["rating"])
    if chosen.get("in_stock"):
        found["in_stock"] = Q(stock__gt=0)
    for band in PRICE_BANDS:
        if band.key == chosen.get("price"):
            found["price"] = band.condition
    return found


def page_of(books: BookQuerySet, number: str | None) -> Page[Book]:
    """That page of the books. What is not the number of a page is a 404: no page has two addresses."""
    paginator = Paginator(books, PER_PAGE)
    if number is None:
        return paginator.page(1)
    if not (number.isascii() and number.isdigit() and len(number) <= 6):
        raise Http404("That is not the number of a page.")
    try:
        return paginator.page(int(number))
    except EmptyPage as error:
        raise Http404(f"There are {paginator.num_pages} pages; {number} is not one of them.") from error


def build_listing(
    books: BookQuerySet,
    parameters: QueryDict,
    *,
    without_facet: str = "",
    best_match: tuple[Any, ...] = (),
) -> Listing:
    """Filter and order `books`, and cut them into pages, as `parameters` say.

    `without_facet` names the filter that the address has already chosen. `best_match` is the order by relevance;
    given, it is the first choice. Raises Http404 for a page that does not exist.
    """
    form = FilterForm(parameters)
    form.is_valid()
    chosen = {name: value for name, value in form.cleaned_data.items() if name != without_facet}
    found = conditions(chosen)

    sorts = {BEST_MATCH: ("Best match", best_match), **SORTS} if best_match else SORTS
    sort = parameters.get("sort", "")
    if sort not in sorts:
        sort = next(iter(sorts))
    listed = books.filter(*found.values()).for_cards().order_by(*sorts[sort][1])
    return Listing(
        page=page_of(listed, parameters.get("page")),
        facets=[facet for facet in count_facets(books, found, chosen, parameters) if facet.name != without_facet],
        orders=[Choice(label, query_with(parameters, "sort", key), key == sort) for key, (label, _) in sorts.items()],
        in_stock=Choice(
            "In stock only",
            query_with(parameters, "in_stock", None if "in_stock" in found else "1"),
            "in_stock" in found,
        ),
        problems=form.problems(),
    )
