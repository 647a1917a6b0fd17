"""The JSON API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from shop.models import Book
from shop.sample.factories import BookFactory

from .conftest import BOOKS

pytestmark = pytest.mark.django_db


def test_books_come_in_pages_that_link_to_each_other(client: Client) -> None:
    address, isbns, pages = "http://testserver/api/books/?sort=title", [], 0
    while address:
        page = client.get(address.removeprefix("http://testserver")).json()
        isbns += [book["isbn"] for book in page["results"]]
        address, pages = page["next"], pages + 1
    assert (pages, page["pages"], page["count"]) == (5, 5, BOOKS)
    assert len(set(isbns)) == BOOKS
    assert "page=4" in page["previous"]


def test_list_filters_and_searches(client: Client) -> None:
    BookFactory.create_batch(2, title="Zyx", format="ebook")
    BookFactory(title="Zyx", format="hardback")
    assert client.get("/api/books/?q=zyx&format=ebook").json()["count"] == 2
    assert all(book["stock"] for book in client.get("/api/books/?in_stock=1").json()["results"])


def test_list_makes_two_queries(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        client.get("/api/books/")


@pytest.mark.parametrize(
    ("query", "status"),
    [("format=scroll", 400), ("sort=best", 400), ("page=99", 404), ("page=x", 404), ("rating=0", 400)],
)
def test_what_cannot_be_asked_is_an_error_in_json(client: Client, query: str, status: int) -> None:
    response = client.get(f"/api/books/?{query}")
    assert response.status_code == status
    assert response.json()["error"]


def test_one_book_has_everything_and_leads_to_its_page_and_cover(client: Client, book: Book) -> None:
    found = client.get(f"/api/books/{book.isbn}/").json()
    assert found["title"] == book.title
    assert found["price"] == str(book.price)
    assert found["description"] == book.description
    assert client.get(found["url"]).status_code == 200
    assert client.get(found["cover_url"]).status_code == 200


def test_stock_is_never_kept(client: Client, book: Book, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        response = client.get(f"/api/books/{book.isbn}/stock/")
    assert response.json() == {"isbn": book.isbn, "stock": book.stock, "price": str(book.price), "available": True}
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/books/9780000000000/", "/api/books/9780000000000/stock/"])
def test_unknown_isbn_is_404_in_json(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "9780000000000" in response.json()["error"]


def test_api_only_reads(client: Client) -> None:
    assert client.post("/api/books/", {}).status_code == 405
