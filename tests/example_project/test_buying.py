"""The basket, the checkout and the account: from a stranger's first book to an order, and what can go wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.urls import reverse
from shop.basket import MAX_LINES, MAX_QUANTITY, Basket, BasketFullError, Line
from shop.models import Book, Order
from shop.ordering import OutOfStockError, new_number, place_order
from shop.sample.factories import BookFactory, OrderFactory, OrderLineFactory

from .markup import Page

pytestmark = pytest.mark.django_db

ADDRESS = {
    "name": "Robin Reader",
    "email": "robin@example.com",
    "street": "12 Thread Street",
    "city": "Leeds",
    "postcode": "LS1 2TT",
}


def add(client: Client, book: Book, quantity: int = 1, **more: Any) -> Any:
    return client.post(reverse("basket-add", args=[book.slug]), {"quantity": quantity}, **more)


def test_book_goes_from_the_page_into_the_basket(client: Client, book: Book) -> None:
    response = add(client, book, 2, follow=True)
    assert response.redirect_chain == [("/basket/", 302)]
    assert "is in your basket" in response.text
    assert f"£{book.price * 2:,.2f}" in response.text
    assert Page(response.text).problems == []


def test_same_book_again_raises_the_number_up_to_a_limit(client: Client, book: Book) -> None:
    for _ in range(3):
        add(client, book, 9)
    [line] = client.get("/basket/").context["lines"]
    assert line.quantity == MAX_QUANTITY


def test_script_gets_json_and_the_number_of_copies(client: Client, book: Book) -> None:
    response = add(client, book, 3, headers={"accept": "application/json"})
    assert response.json()["basket"] == 3
    assert client.get("/me/").json() == {"name": "", "basket": 3}


@pytest.mark.parametrize("quantity", ["0", "-1", "21", "x", ""])
def test_quantity_that_cannot_be_is_refused(client: Client, book: Book, quantity: str) -> None:
    address = reverse("basket-add", args=[book.slug])
    as_json = client.post(address, {"quantity": quantity}, headers={"accept": "application/json"})
    assert as_json.status_code == 400
    assert as_json.json()["error"]
    as_page = client.post(address, {"quantity": quantity})
    assert as_page.status_code == 400
    assert Page(as_page.text).problems == []
    assert client.get("/me/").json()["basket"] == 0


def test_without_scripts_a_public_page_leads_to_a_form_that_adds(client: Client, book: Book) -> None:
    response = client.get(reverse("basket-add", args=[book.slug]), {"quantity": "2"})
    assert response.status_code == 200
    assert "csrfmiddlewaretoken" in response.text
    assert 'value="2"' in response.text
    assert client.get("/me/").json()["basket"] == 0


def test_forms_need_a_token(book: Book) -> None:
    client = Client(enforce_csrf_checks=True)
    assert add(client, book).status_code == 403
    token = client.get("/me/token/").json()["token"]
    assert add(client, book, headers={"x-csrftoken": token}).status_code == 302


def test_basket_can_be_changed_and_emptied(client: Client, book: Book) -> None:
    add(client, book, 2)
    client.post("/basket/change/", {"book": book.pk, "quantity": 5})
    assert client.get("/me/").json()["basket"] == 5
    client.post("/basket/change/", {"book": book.pk, "quantity": 0})
    assert client.get("/me/").json()["basket"] == 0
    assert "It is empty" in client.get("/basket/").text


@pytest.mark.parametrize("data", [{}, {"book": "x", "quantity": 1}, {"book": 1, "quantity": 99}])
def test_change_that_makes_no_sense_is_told(client: Client, data: dict[str, Any]) -> None:
    response = client.post("/basket/change/", data, follow=True)
    assert response.status_code == 200
    assert 'class="message error"' in response.text


def test_reading_makes_no_session(client: Client) -> None:
    for address in ("/", "/books/", "/basket/", "/me/"):
        client.get(address)
    assert "sessionid" not in client.cookies


def test_basket_holds_so_many_titles_and_no_more(db: None) -> None:
    basket = Basket(SessionStore())
    books = list(Book.objects.order_by("pk")[: MAX_LINES + 1])
    for book in books[:-1]:
        basket.add(book, 1)
    with pytest.raises(BasketFullError, match=str(MAX_LINES)):
        basket.add(books[-1], 1)
    basket.add(books[0], 1)


def test_basket_page_asks_no_more_for_more_books(client: Client, django_assert_max_num_queries: Any) -> None:
    for book in Book.objects.order_by("pk")[:12]:
        add(client, book)
    assert "is in your basket" in client.get("/basket/").text
    with django_assert_max_num_queries(3):
        client.get("/basket/")


def test_book_that_left_the_shop_leaves_the_basket(client: Client) -> None:
    book = BookFactory()
    add(client, book)
    book.delete()
    assert client.get("/basket/").context["lines"] == []


def test_checkout_asks_for_a_login_and_the_basket_survives_it(client: Client, book: Book, reader: User) -> None:
    add(client, book)
    response = client.get("/checkout/")
    assert response.headers["Location"] == "/account/login/?next=/checkout/"
    reader.set_password("a long password")
    reader.save()
    login = {"username": "robin", "password": "a long password", "next": "/checkout/"}
    response = client.post("/account/login/", login, follow=True)
    assert response.redirect_chain == [("/checkout/", 302)]
    assert book.title in response.context["lines"][0].book.title
    assert Page(response.text).problems == []


def test_order_is_written_and_its_books_leave_the_stock(visitor: Client, book: Book, reader: User) -> None:
    stock = book.stock
    add(visitor, book, 2)
    response = visitor.post("/checkout/", ADDRESS, follow=True)
    order = Order.objects.get(user=reader)
    assert response.redirect_chain == [(order.get_absolute_url(), 302)]
    assert order.total == book.price * 2
    assert [(line.title, line.quantity, line.unit_price) for line in order.lines.all()] == [(book.title, 2, book.price)]
    book.refresh_from_db()
    assert book.stock == stock - 2
    assert visitor.get("/me/").json() == {"name": "Robin", "basket": 0}
    assert Page(response.text).problems == []


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("email", "nobody"), ("street", ""), ("city", "x" * 81), ("postcode", "x" * 13)]
)
def test_address_that_cannot_be_is_refused(visitor: Client, book: Book, field: str, value: str) -> None:
    add(visitor, book)
    response = visitor.post("/checkout/", {**ADDRESS, field: value})
    assert response.status_code == 400
    assert field in response.context["form"].errors
    assert Page(response.text).problems == []
    assert visitor.get("/me/").json()["basket"] == 1


def test_checkout_of_nothing_leads_to_the_basket(visitor: Client) -> None:
    assert visitor.get("/checkout/").headers["Location"] == "/basket/"
    assert visitor.post("/checkout/", ADDRESS).headers["Location"] == "/basket/"


def test_order_for_more_than_there_is_changes_nothing(visitor: Client, book: Book, reader: User) -> None:
    rare = BookFactory(stock=1)
    add(visitor, book)
    add(visitor, rare, 2)
    stock = book.stock
    response = visitor.post("/checkout/", ADDRESS, follow=True)
    assert "only 1 left" in response.text
    assert "Only 1 left" in response.text
    book.refresh_from_db()
    assert book.stock == stock
    assert not Order.objects.filter(user=reader).exists()
    assert visitor.get("/me/").json()["basket"] == 3


def test_form_that_is_sent_twice_orders_once(book: Book, reader: User) -> None:
    number, lines, stock = new_number(), [Line(book, 1)], book.stock
    first, second = (place_order(number, reader, lines, ADDRESS) for _ in range(2))
    assert first == second
    book.refresh_from_db()
    assert book.stock == stock - 1


def test_place_order_says_which_book_is_missing(reader: User) -> None:
    book = BookFactory(stock=0, title="Rare")
    with pytest.raises(OutOfStockError, match="“Rare”: none left"):
        place_order(new_number(), reader, [Line(book, 1)], ADDRESS)
    assert Order.objects.filter(user=reader).count() == 0


def test_old_order_keeps_its_prices(visitor: Client, book: Book, reader: User) -> None:
    order = OrderFactory(user=reader, total=Decimal("5.00"))
    OrderLineFactory(order=order, book=book, unit_price=Decimal("5.00"), quantity=1)
    Book.objects.filter(pk=book.pk).update(price=Decimal("9.99"), title="Renamed")
    text = visitor.get(order.get_absolute_url()).text
    assert "£5.00" in text
    assert f"{book.title}</a></h3>" in text


def test_account_shows_own_orders_alone(visitor: Client, reader: User, django_assert_max_num_queries: Any) -> None:
    own = [OrderFactory(user=reader) for _ in range(5)]
    for order in own:
        OrderLineFactory(order=order)
    other = OrderFactory()
    with django_assert_max_num_queries(7):
        text = visitor.get("/account/").text
    assert all(order.number in text for order in own)
    assert other.number not in text
    assert visitor.get(other.get_absolute_url()).status_code == 404
    assert Page(text).problems == []


def test_private_pages_may_not_be_kept_by_anybody(visitor: Client, book: Book) -> None:
    add(visitor, book)
    for address in ("/me/", "/me/token/", "/basket/", "/checkout/", "/account/"):
        assert "no-store" in visitor.get(address).headers["Cache-Control"], address


def test_registering_logs_in(client: Client) -> None:
    form = {"username": "wren", "email": "wren@example.com", "password1": "q8#mountain", "password2": "q8#mountain"}
    response = client.post("/account/register/", form, follow=True)
    assert response.redirect_chain == [("/account/", 302)]
    assert "Welcome" in response.text
    assert client.get("/account/register/").status_code == 302


@pytest.mark.parametrize(
    ("field", "value"),
    [("username", "robin"), ("username", ""), ("email", "x"), ("password2", "other"), ("password1", "1234")],
)
def test_registration_that_cannot_be_is_refused(client: Client, reader: User, field: str, value: str) -> None:
    form = {"username": "wren", "email": "wren@example.com", "password1": "q8#mountain", "password2": "q8#mountain"}
    response = client.post("/account/register/", {**form, field: value})
    assert response.status_code == 400
    assert "errorlist" in response.text
    assert Page(response.text).problems == []


def test_wrong_password_is_told_and_does_not_log_in(client: Client, reader: User) -> None:
    response = client.post("/account/login/", {"username": "robin", "password": "wrong"})
    assert "Please enter a correct username" in response.text
    assert client.get("/me/").json()["name"] == ""


def test_logout_needs_a_post(visitor: Client) -> None:
    assert visitor.get("/account/logout/").status_code == 405
    assert visitor.post("/account/logout/").headers["Location"] == "/"
    assert visitor.get("/me/").json()["name"] == ""


def test_reader_reviews_a_book_once_and_may_change_the_review(visitor: Client, book: Book, reader: User) -> None:
    address, count = reverse("review", args=[book.slug]), book.rating_count
    for rating, title in ((2, "Hm"), (5, "Better on a second reading")):
        response = visitor.post(address, {"rating": rating, "title": title, "text": "It grows."})
        assert response.headers["Location"] == book.get_absolute_url()
    [review] = book.reviews.filter(user=reader)
    assert (review.rating, review.title, review.name) == (5, "Better on a second reading", "Robin")
    book.refresh_from_db()
    assert book.rating_count == count + 1
    assert Page(visitor.get(address).text).problems == []


@pytest.mark.parametrize(("field", "value"), [("rating", "6"), ("rating", ""), ("title", ""), ("text", "x" * 4001)])
def test_review_that_cannot_be_is_refused(visitor: Client, book: Book, field: str, value: str) -> None:
    form = {"rating": "4", "title": "Good", "text": "Yes."}
    response = visitor.post(reverse("review", args=[book.slug]), {**form, field: value})
    assert response.status_code == 400
    assert Page(response.text).problems == []


def test_review_asks_for_a_login(client: Client, book: Book) -> None:
    assert client.get(reverse("review", args=[book.slug])).status_code == 302
