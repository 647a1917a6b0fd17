"""The public pages: home, catalogue, category, author, book and search; the same for every visitor.

None of them looks at the session, the user or a cookie, and all but the search are kept by the response cache, as
`shop.caching` has it. What is a visitor's own (name, basket) is added in the browser from `basket.me`.
"""

from __future__ import annotations

from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from shop.browse import build_listing
from shop.caching import author_tag, kept, shows
from shop.covers import cover_file
from shop.forms import QuantityForm
from shop.models import Author, Book, Category
from shop.search import by_relevance, matching, words_of
from shop.suppliers import copies_at_supplier

REVIEWS_SHOWN = 30
AUTHOR_BOOKS_SHOWN = 60


@kept
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    books = Book.objects.for_cards()
    new = list(books.newest()[:9])
    best = list(books.best_rated()[:6])
    bargains = list(books.available().filter(price__lt=6, rating__gte=4).order_by("-rating_count", "-pk")[:6])
    shows(request, [*new, *best, *bargains], is_list=True)
    return render(request, "shop/home.html", {"featured": new[:3], "new": new[3:], "best": best, "bargains": bargains})


@kept
@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    listing = build_listing(Book.objects.all(), request.GET)
    shows(request, listing.page, is_list=True)
    return render(request, "shop/catalogue.html", {"listing": listing})


@kept
@require_safe
def category(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Category, slug=slug)
    listing = build_listing(Book.objects.filter(category=found), request.GET, without_facet="category")
    shows(request, listing.page, is_list=True)
    return render(request, "shop/category.html", {"category": found, "listing": listing})


@kept
@require_safe
def author(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Author, slug=slug)
    books = list(Book.objects.filter(author=found).for_cards().newest()[:AUTHOR_BOOKS_SHOWN])
    shows(request, books, is_list=True)
    request.wsgiperf.cache.tag(author_tag(found.pk))  # type: ignore[attr-defined]
    return render(request, "shop/author.html", {"author": found, "books": books})


@kept
@require_safe
def book(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Book.objects.select_related("author", "publisher", "category"), slug=slug)
    by_rating = dict(found.reviews.order_by().values_list("rating").annotate(Count("pk")))
    cards = Book.objects.for_cards().exclude(pk=found.pk)
    same_author = list(cards.filter(author=found.author).newest()[:6])
    related = list(cards.filter(category=found.category, published__lte=found.published).newest()[:6])
    shows(request, [found, *same_author, *related])
    return render(
        request,
        "shop/book.html",
        {
            "book": found,
            "form": QuantityForm(),
            "reviews": found.reviews.all()[:REVIEWS_SHOWN],
            "ratings": [(number, by_rating.get(number, 0)) for number in range(5, 0, -1)],
            "same_author": same_author,
            "related": related,
        },
    )


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip()
    words = words_of(query)
    listing = build_listing(matching(words), request.GET, best_match=by_relevance(words)) if words else None
    return render(request, "shop/search.html", {"query": " ".join(words), "listing": listing})


@require_safe
def cover(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Book.objects.select_related("author").only("title", "author__name"), slug=slug)
    shows(request, [found])
    response = HttpResponse(cover_file(found.title, found.author.name), content_type="image/svg+xml")
    response["Cache-Control"] = "public, max-age=86400"
    return response


@require_safe
def supplier(request: HttpRequest, slug: str) -> JsonResponse:
    """How many copies the supplier could send: the shop's one deliberately slow call."""
    found = get_object_or_404(Book.objects.only("isbn"), slug=slug)
    copies = copies_at_supplier(found.isbn)
    text = f"{copies} copies, here within four days." if copies else "None at the moment."
    return JsonResponse({"isbn": found.isbn, "copies": copies, "text": text})


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    lines = ("User-agent: *", "Disallow: /account/", "Disallow: /basket/", "Disallow: /checkout/", "Disallow: /live/")
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")
