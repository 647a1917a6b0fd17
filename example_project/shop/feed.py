"""The live feed: orders as server-sent events, from an async generator, for a bounded time.

`events` knows the shop; `EventStreamResponse` knows how to be sent, also by a server that cannot pump an
asynchronous body. The format is that of the HTML standard, section 9.2.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse

from .models import Order

FIRST = 5
MOST = 50
HEARTBEAT_S = 15.0
RETRY_MS = 3000


def event(kind: str, data: dict[str, Any], number: int | None = None) -> bytes:
    """One server-sent event."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def release_connections() -> None:
    """Close the connections that a request would close at its end: a stream outlives many requests."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def orders_since(last: int | None) -> list[Order]:
    """The orders after that key, oldest first; without a key the newest few."""
    orders = Order.objects.prefetch_related("lines__book")
    try:
        if last is None:
            return list(orders.order_by("-pk")[:FIRST])[::-1]
        return list(orders.filter(pk__gt=last).order_by("pk")[:MOST])
    finally:
        release_connections()


async def events(last: int | None, max_s: float, poll_s: float) -> AsyncIterator[bytes]:
    """Orders and what they left in stock, as they are placed; ends after `max_s` seconds.

    The client then comes back by itself and says which order it saw last, so nothing is missed and no listener
    is served for ever.
    """
    deadline = time.monotonic() + max_s
    spoken = time.monotonic()
    yield f"retry: {RETRY_MS}\n\n".encode()
    while True:
        for order in await sync_to_async(orders_since)(last):
            last = order.pk
            spoken = time.monotonic()
            lines = list(order.lines.all())
            yield event(
                "order",
                {
                    "city": order.city,
                    "placed": order.placed.isoformat(),
                    "books": [
                        {"title": line.title, "url": line.book.get_absolute_url(), "quantity": line.quantity}
                        for line in lines
                    ],
                },
                order.pk,
            )
            for line in lines:
                yield event("stock", {"isbn": line.book.isbn, "stock": line.book.stock})
        now = time.monotonic()
        if now >= deadline:
            return
        if now - spoken >= HEARTBEAT_S:
            spoken = now
            yield b": still here\n\n"
        await asyncio.sleep(min(poll_s, max(0.0, deadline - now)))


class EventStreamResponse(StreamingHttpResponse):
    """A stream of server-sent events from an async iterator.

    A server that can pump an asynchronous body finds one (`is_async`). One that cannot iterates this response;
    Django would then collect the whole stream before it sends the first byte, so the iterator is run here, step
    by step, on an event loop of its own.
    """

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        super().__init__(source, content_type="text/event-stream")
        self.headers["Cache-Control"] = "no-store"
        # Asks nginx not to hold the events back.
        self.headers["X-Accel-Buffering"] = "no"
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        with asyncio.Runner() as runner:
            try:
                while True:
                    try:
                        piece = runner.run(_next(self._source))
                    except StopAsyncIteration:
                        return
                    yield piece
            finally:
                runner.run(_close(self._source))


async def _next(source: AsyncIterator[bytes]) -> bytes:
    return await anext(source)


async def _close(source: Any) -> None:
    await source.aclose()
