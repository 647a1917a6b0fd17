"""The public pages: what they show, how often they ask the database, and that a cache could keep them."""

from __future__ import annotations

import html
from typing import Any
from urllib.parse import urldefrag, urlsplit

import pytest
from django.test import Client
from django.urls import resolve, reverse
from shop.models import Author, Book, Category, Review
from shop.sample.factories import BookFactory, ReviewFactory

from .conftest import BOOKS
from .markup import Page

pytestmark = pytest.mark.django_db

# The address of every public page, and the most queries that it may make when the cache is empty.
PUBLIC = {
    "home": 5,
    "catalogue": 8,
    "category": 9,
    "author": 3,
    "book": 6,
    "search": 8,
}


def address_of(name: str) -> str:
    book = Book.objects.select_related("author", "category").filter(rating_count__gte=3).order_by("pk")[0]
    argument = {"category": book.category.slug, "author": book.author.slug, "book": book.slug}.get(name)
    return reverse(name, args=[argument] if argument else None) + ("?q=the" if name == "search" else "")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_page_is_sound_html(client: Client, name: str) -> None:
    response = client.get(address_of(name))
    assert response.status_code == 200
    assert Page(response.text).problems == []


@pytest.mark.parametrize("name", PUBLIC)
def test_public_page_makes_few_queries(client: Client, name: str, django_assert_max_num_queries: Any) -> None:
    address = address_of(name)
    with django_assert_max_num_queries(PUBLIC[name]):
        client.get(address)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_page_is_the_same_for_everybody(client: Client, visitor: Client, name: str) -> None:
    address = address_of(name)
    for_reader, for_stranger = visitor.get(address), Client().get(address)
    assert for_reader.content == for_stranger.content
    for response in (for_reader, for_stranger):
        assert not response.cookies
        assert "Cookie" not in response.headers.get("Vary", "")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_page_refuses_to_be_posted_to(client: Client, name: str) -> None:
    assert client.post(address_of(name)).status_code == 405


def test_every_link_of_the_shop_leads_somewhere(client: Client) -> None:
    waiting, seen, routes = ["/"], {"/"}, dict[str, int]()
    while waiting:
        address = waiting.pop()
        response = client.get(address)
        assert response.status_code in (200, 302), address
        if response.streaming:
            # Read to its end, which closes it as a server would.
            assert b"".join(response.streaming_content)
        if not response.headers.get("Content-Type", "").startswith("text/html") or address.startswith("/admin/"):
            continue
        for link in Page(response.text).links:
            target = urldefrag(link if not link.startswith("?") else urlsplit(address).path + link).url
            route = resolve(urlsplit(target).path).route if target else ""
            # Many pages have one route; a few of each show what is wrong with it.
            if target and target not in seen and routes.get(route, 0) < 6:
                routes[route] = routes.get(route, 0) + 1
                seen.add(target)
                waiting.append(target)
    assert len(routes) > 12


def test_home_shows_the_newest_books_and_every_shelf(client: Client) -> None:
    text = client.get("/").text
    for book in Book.objects.newest()[:9]:
        assert book.get_absolute_url() in text
    for category in Category.objects.filter(books__isnull=False).distinct():
        assert category.get_absolute_url() in text


def test_catalogue_has_pages_and_no_page_has_two_addresses(client: Client) -> None:
    first = client.get("/books/")
    assert f"<strong>{BOOKS}</strong>" in first.text
    assert first.text.count('class="card"') == 24
    assert 'rel="next"' in first.text
    assert client.get("/books/?page=5").status_code == 200
    for page in ("6", "0", "-1", "x", "", "1.5", "٣", "99999999999999999999"):
        assert client.get("/books/", {"page": page}).status_code == 404, page


def test_pages_together_show_every_book_once(client: Client) -> None:
    found = [
        card
        for page in range(1, 6)
        for card in client.get(f"/books/?page={page}&sort=price").text.split('class="card-link" href="')[1:]
    ]
    assert len({card.partition('"')[0] for card in found}) == BOOKS


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("newest", lambda book: -book.published.toordinal()),
        ("price", lambda book: book.price),
        ("price-down", lambda book: -book.price),
        ("rating", lambda book: -book.rating),
    ],
)
def test_catalogue_is_ordered_as_asked(client: Client, sort: str, key: Any) -> None:
    books = list(client.get("/books/", {"sort": sort}).context["listing"].page)
    assert books == sorted(books, key=key)


def test_filters_are_joined_and_kept_in_links(client: Client) -> None:
    response = client.get("/books/?format=hardback&in_stock=1&sort=title")
    books = list(response.context["listing"].page)
    assert books
    assert {book.format for book in books} == {"hardback"}
    assert all(book.stock for book in books)
    assert "format=hardback&amp;in_stock=1&amp;sort=price" in response.text


def test_facet_says_how_many_books_its_link_leads_to(client: Client) -> None:
    listing = client.get("/books/?in_stock=1").context["listing"]
    for facet in listing.facets:
        for choice in facet.choices:
            assert client.get(f"/books/{choice.query}").context["listing"].page.paginator.count == choice.count


def test_chosen_facet_links_back_to_the_list_without_it(client: Client) -> None:
    listing = client.get("/books/?format=ebook&sort=title&page=1").context["listing"]
    [chosen] = [choice for facet in listing.facets for choice in facet.choices if choice.selected]
    assert (chosen.label, chosen.query) == ("E-book", "?sort=title")


@pytest.mark.parametrize("query", ["format=scroll", "rating=9", "price=free", "category=a b", "language=xx"])
def test_filter_that_cannot_be_used_is_named_and_left_out(client: Client, query: str) -> None:
    response = client.get(f"/books/?{query}")
    assert response.status_code == 200
    assert "Some filters could not be used" in response.text
    assert response.context["listing"].page.paginator.count == BOOKS
    assert Page(response.text).problems == []


def test_category_page_holds_its_books_alone_and_offers_no_other_category(client: Client) -> None:
    category = Category.objects.filter(books__isnull=False)[0]
    listing = client.get(category.get_absolute_url(), {"category": "elsewhere"}).context["listing"]
    assert {book.category_id for book in listing.page} == {category.pk}
    assert "Category" not in [facet.title for facet in listing.facets]


def test_book_page_shows_the_book_its_reviews_and_its_neighbours(client: Client, book: Book) -> None:
    response = client.get(book.get_absolute_url())
    assert book.isbn in response.text
    assert f"£{book.price}" in response.text
    assert response.text.count('class="review"') == book.reviews.count()
    assert book not in response.context["related"]
    assert sum(count for _, count in response.context["ratings"]) == book.rating_count


def test_book_page_makes_no_more_queries_for_more_reviews(
    client: Client, book: Book, django_assert_max_num_queries: Any
) -> None:
    ReviewFactory.create_batch(20, book=book)
    with django_assert_max_num_queries(PUBLIC["book"]):
        client.get(book.get_absolute_url())


def test_sold_out_and_last_copies_are_told(client: Client) -> None:
    gone, last = BookFactory(stock=0), BookFactory(stock=2)
    assert "Sold out" in client.get(gone.get_absolute_url()).text
    assert "Only 2 left" in client.get(last.get_absolute_url()).text


def test_titles_are_escaped_everywhere(client: Client) -> None:
    book = BookFactory(title='<script>alert("x")</script>', description="<b>bold</b>", author__name="<i>A</i>")
    for address in (book.get_absolute_url(), f"{book.get_absolute_url()}cover.svg", book.author.get_absolute_url()):
        text = client.get(address).text
        assert "<script>alert" not in text
        assert "<b>bold" not in text
        assert "<i>A" not in text


def test_author_page_lists_the_author_s_books(client: Client) -> None:
    author = Author.objects.filter(books__isnull=False)[0]
    text = client.get(author.get_absolute_url()).text
    assert author.biography in html.unescape(text)
    for book in author.books.all():
        assert book.get_absolute_url() in text


@pytest.mark.parametrize(
    "address", ["/books/none/", "/authors/none/", "/categories/none/", "/nothing/", "/books/none/supplier/"]
)
def test_what_is_not_there_is_404_with_a_page(client: Client, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 404
    assert Page(response.text).problems == []


def test_cover_is_a_file_that_may_be_kept(client: Client, book: Book) -> None:
    response = client.get(reverse("cover", args=[book.slug]))
    assert response.headers["Content-Type"] == "image/svg+xml"
    assert response.text.startswith("<svg xmlns=")
    assert "max-age" in response.headers["Cache-Control"]


def test_supplier_answers_the_same_for_the_same_book(client: Client, book: Book) -> None:
    address = reverse("supplier", args=[book.slug])
    first = client.get(address).json()
    assert first == client.get(address).json()
    assert first["isbn"] == book.isbn


def test_robots_and_favicon(client: Client) -> None:
    robots = client.get("/robots.txt")
    assert robots.headers["Content-Type"].startswith("text/plain")
    assert "Disallow: /basket/" in robots.text
    assert client.get("/favicon.ico").headers["Location"] == "/static/shop/favicon.svg"


def test_rating_of_a_book_follows_its_reviews(book: Book) -> None:
    count = book.rating_count
    review = ReviewFactory(book=book, rating=1)
    book.refresh_from_db()
    assert book.rating_count == count + 1
    review.delete()
    book.refresh_from_db()
    assert book.rating_count == count
    book.reviews.all().delete()
    book.refresh_from_db()
    assert (book.rating, book.rating_count) == (0, 0)


def test_deleting_a_book_takes_its_reviews_along(book: Book) -> None:
    book.order_lines.all().delete()
    book.delete()
    assert not Review.objects.filter(book_id=book.pk).exists()
