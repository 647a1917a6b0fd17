"""The asynchronous page and the stream of orders."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.test import Client
from shop.feed import FIRST, EventStreamResponse, event, events
from shop.models import Book, Order
from shop.sample.factories import OrderFactory, OrderLineFactory
from shop.suppliers import WHOLESALERS, quotes

from .markup import Page

pytestmark = pytest.mark.django_db


def parse(stream: bytes) -> list[dict[str, str]]:
    """The events of a stream, as a browser reads them."""
    found = []
    for block in stream.decode().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append(fields)
    return found


def read_all(response: Any) -> bytes:
    async def read() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return async_to_sync(read)()


def test_live_page_shows_the_numbers_of_the_shop(client: Client, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(5):
        response = client.get("/live/")
    assert Page(response.text).problems == []
    assert response.context["totals"]["books"] == Book.objects.count()
    assert response.context["totals"]["orders"] == Order.objects.count()
    assert sum(shelf["copies"] for shelf in response.context["stock_by_shelf"]) == response.context["totals"]["copies"]


def test_summary_is_the_same_as_json(client: Client) -> None:
    found = client.get("/api/summary/").json()
    assert found["totals"]["books"] == Book.objects.count()
    assert [offer["wholesaler"] for offer in found["offers"]] == [name for name, _ in WHOLESALERS]


def test_wholesalers_are_asked_at_the_same_time() -> None:
    waits: list[str] = []

    async def ask() -> None:
        offers = await quotes()
        # Each waits for its own time, and the whole for the longest of them: they overlap.
        waits.extend(offer.wholesaler for offer in sorted(offers, key=lambda offer: offer.answered_s))

    async_to_sync(ask)()
    assert waits == [name for name, _ in sorted(WHOLESALERS, key=lambda each: each[1])]


def test_stream_begins_with_the_last_orders_and_ends_by_itself(client: Client) -> None:
    response = client.get("/live/events/")
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    stream = read_all(response)
    assert stream.startswith(b"retry: ")
    orders = [each for each in parse(stream) if each["event"] == "order"]
    newest = list(Order.objects.order_by("-pk").values_list("pk", flat=True)[:FIRST])
    assert [int(order["id"]) for order in orders] == newest[::-1]


def test_stream_tells_the_stock_that_an_order_left(client: Client, book: Book) -> None:
    order = OrderFactory(city="Leeds")
    OrderLineFactory(order=order, book=book, quantity=2)
    *_, told, stock = parse(read_all(client.get("/live/events/")))
    assert json.loads(told["data"])["city"] == "Leeds"
    assert json.loads(told["data"])["books"] == [{"title": book.title, "url": book.get_absolute_url(), "quantity": 2}]
    assert json.loads(stock["data"]) == {"isbn": book.isbn, "stock": book.stock}


def test_stream_tells_nobody_s_name_or_number(client: Client) -> None:
    order = OrderFactory(name="Secret Person", email="secret@example.com")
    text = read_all(client.get("/live/events/")).decode()
    for secret in (order.name, order.email, order.number, order.street):
        assert secret not in text


def test_reconnecting_browser_gets_what_it_missed(client: Client) -> None:
    seen = Order.objects.order_by("-pk")[0].pk
    missed = [OrderFactory().pk for _ in range(7)]
    stream = read_all(client.get("/live/events/", headers={"last-event-id": str(seen)}))
    assert [int(each["id"]) for each in parse(stream)] == missed


@pytest.mark.parametrize("seen", ["", "x", "-1", "1.5", "9" * 40, "٣"])
def test_strange_last_event_id_is_as_none(client: Client, seen: str) -> None:
    # Headers are Latin-1; a browser sends others encoded.
    stream = read_all(client.get("/live/events/", headers={"last-event-id": seen.encode().decode("latin-1")}))
    assert len([each for each in parse(stream) if each["event"] == "order"]) == FIRST


def test_new_order_arrives_on_an_open_stream() -> None:
    async def watch() -> bytes:
        stream = events(None, max_s=3600, poll_s=0)
        while not (await anext(stream)).startswith(b"id: "):
            pass
        order = await sync_to_async(OrderFactory)(city="Ullapool")
        async for piece in stream:
            if piece.startswith(f"id: {order.pk}\n".encode()):
                await stream.aclose()  # type: ignore[attr-defined]
                return piece
        return b""

    assert b"Ullapool" in async_to_sync(watch)()


def test_event_is_one_block_whatever_the_data() -> None:
    block = event("order", {"title": "two\nlines\r\nand more"}, 7)
    assert block.count(b"\n") == 4
    assert block.endswith(b"\n\n")


class Source:
    """An asynchronous stream that knows how far it was read and whether it was closed."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.given == 3:
            raise StopAsyncIteration
        self.given += 1
        return b"%d" % self.given

    async def aclose(self) -> None:
        self.closed = True


def test_server_without_an_event_loop_gets_the_stream_piece_by_piece() -> None:
    source = Source()
    pieces = iter(EventStreamResponse(source))
    assert next(pieces) == b"1"
    assert source.given == 1
    assert list(pieces) == [b"2", b"3"]
    assert source.closed


def test_stream_that_is_given_up_is_closed() -> None:
    source = Source()
    pieces: Any = iter(EventStreamResponse(source))
    next(pieces)
    pieces.close()
    assert source.closed


def test_server_with_an_event_loop_finds_an_asynchronous_body() -> None:
    response = EventStreamResponse(Source())
    assert response.is_async
    assert read_all(response) == b"123"
