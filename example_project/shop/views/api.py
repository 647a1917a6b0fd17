"""The JSON API: the list of books, one book, its stock, and the numbers of the live page. Errors are JSON too."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, JsonResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_safe

from shop.browse import SORTS, FilterForm, conditions, page_of
from shop.models import Book
from shop.search import matching, words_of


def _summary(request: HttpRequest, book: Book) -> dict[str, Any]:
    return {
        "isbn": book.isbn,
        "title": book.title,
        "subtitle": book.subtitle,
        "author": {"name": book.author.name, "url": request.build_absolute_uri(book.author.get_absolute_url())},
        "category": book.category.slug,
        "format": book.format,
        "language": book.language,
        "published": book.published.isoformat(),
        "price": str(book.price),
        "stock": book.stock,
        "rating": float(book.rating),
        "rating_count": book.rating_count,
        "url": request.build_absolute_uri(book.get_absolute_url()),
        "api_url": request.build_absolute_uri(reverse("api-book", args=[book.isbn])),
    }


def _error(status: int, text: str, **more: Any) -> JsonResponse:
    return JsonResponse({"error": text, **more}, status=status)


@require_safe
def books(request: HttpRequest) -> JsonResponse:
    """Books, newest first, 24 a page; filters and orders are those of the catalogue, and `q` searches."""
    parameters = request.GET
    form = FilterForm(parameters)
    sort = parameters.get("sort", "newest")
    if not form.is_valid():
        return _error(400, "These filters cannot be used.", filters=form.errors)
    if sort not in SORTS:
        return _error(400, f"There is no order {sort!r}.", orders=list(SORTS))
    found = matching(words_of(parameters["q"])) if parameters.get("q", "").strip() else Book.objects.all()
    listed = found.filter(*conditions(form.cleaned_data).values()).for_cards().order_by(*SORTS[sort][1])
    try:
        page = page_of(listed, parameters.get("page"))
    except Http404 as error:
        return _error(404, str(error))

    def address(number: int) -> str:
        query: QueryDict = parameters.copy()
        query["page"] = str(number)
        return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")

    return JsonResponse(
        {
            "count": page.paginator.count,
            "page": page.number,
            "pages": page.paginator.num_pages,
            "next": address(page.next_page_number()) if page.has_next() else None,
            "previous": address(page.previous_page_number()) if page.has_previous() else None,
            "results": [_summary(request, book) for book in page],
        }
    )


@require_safe
def book(request: HttpRequest, isbn: int) -> JsonResponse:
    found = Book.objects.select_related("author", "publisher", "category").filter(isbn=str(isbn)).first()
    if found is None:
        return _error(404, f"There is no book with the ISBN {isbn}.")
    return JsonResponse(
        {
            **_summary(request, found),
            "publisher": {"name": found.publisher.name, "city": found.publisher.city},
            "pages": found.pages,
            "description": found.description,
            "cover_url": request.build_absolute_uri(reverse("cover", args=[found.slug])),
        }
    )


@require_safe
def stock(request: HttpRequest, isbn: int) -> JsonResponse:
    found = Book.objects.filter(isbn=str(isbn)).values("isbn", "stock", "price").first()
    if found is None:
        return _error(404, f"There is no book with the ISBN {isbn}.")
    response = JsonResponse({**found, "available": found["stock"] > 0})
    response["Cache-Control"] = "no-store"
    return response
