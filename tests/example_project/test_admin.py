"""The shop in Django's admin: every list, form and search opens, with few queries."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from shop.models import Book, Order

pytestmark = pytest.mark.django_db

MODELS = ("author", "book", "category", "order", "publisher", "review")


@pytest.mark.parametrize("model", MODELS)
def test_list_opens_with_few_queries(admin_client: Client, model: str, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(20):
        response = admin_client.get(f"/admin/shop/{model}/")
    assert response.status_code == 200


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"order"}))
def test_form_for_a_new_row_opens(admin_client: Client, model: str) -> None:
    assert admin_client.get(f"/admin/shop/{model}/add/").status_code == 200


def test_book_can_be_looked_at_and_found(admin_client: Client, book: Book) -> None:
    form = admin_client.get(f"/admin/shop/book/{book.pk}/change/").text
    assert "<svg" in form
    assert book.title in admin_client.get("/admin/shop/book/", {"q": book.isbn}).text


@pytest.mark.parametrize("stock", ["none", "low", "some"])
def test_stock_filter(admin_client: Client, stock: str) -> None:
    found = admin_client.get("/admin/shop/book/", {"stock": stock}).context["cl"].queryset
    limits = {"none": (0, 0), "low": (1, 3), "some": (4, 10**6)}[stock]
    assert all(limits[0] <= book.stock <= limits[1] for book in found)


def test_books_can_be_marked_as_sold_out(admin_client: Client, book: Book) -> None:
    admin_client.post("/admin/shop/book/", {"action": "mark_sold_out", "_selected_action": [book.pk]})
    book.refresh_from_db()
    assert book.stock == 0


def test_orders_are_read_and_their_status_changed_but_never_added(admin_client: Client) -> None:
    order = Order.objects.all()[0]
    assert admin_client.get(f"/admin/shop/order/{order.pk}/change/").status_code == 200
    assert admin_client.get("/admin/shop/order/add/").status_code == 403
