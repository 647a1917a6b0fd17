"""The asynchronous views: the shop's numbers, gathered from several sources at once, and the stream of its orders."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models import Count, DecimalField, ExpressionWrapper, F, Q, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from shop.feed import EventStreamResponse, events
from shop.models import Book, Category, Order
from shop.suppliers import WHOLESALERS, quotes

VALUE = ExpressionWrapper(F("price") * F("stock"), output_field=DecimalField(max_digits=14, decimal_places=2))


async def _totals() -> dict[str, Any]:
    return await Book.objects.aaggregate(
        books=Count("pk"),
        copies=Sum("stock", default=0),
        value=Sum(VALUE, default=Decimal(0)),
        sold_out=Count("pk", filter=Q(stock=0)),
    )


async def _by_shelf() -> list[dict[str, Any]]:
    counted = Category.objects.annotate(copies=Sum("books__stock", default=0)).order_by("position")
    return [dict(each) async for each in counted.values("name", "slug", "copies")]


async def _orders() -> int:
    return await Order.objects.acount()


async def gather_numbers() -> dict[str, Any]:
    """The stock, the shelves, the orders and the wholesalers' offers, asked for all at once."""
    began = time.perf_counter()
    totals, by_shelf, orders, offers = await asyncio.gather(_totals(), _by_shelf(), _orders(), quotes())
    return {
        "totals": {**totals, "orders": orders},
        "stock_by_shelf": by_shelf,
        "offers": [asdict(offer) for offer in offers],
        "took_s": round(time.perf_counter() - began, 3),
        "one_by_one_s": sum(delay_s for _, delay_s in WHOLESALERS),
    }


@never_cache
@require_safe
async def live(request: HttpRequest) -> HttpResponse:
    numbers = await gather_numbers()
    most = max((shelf["copies"] for shelf in numbers["stock_by_shelf"]), default=0)
    # The page's frame reads the database, so it is rendered where that is allowed.
    return await sync_to_async(render)(request, "shop/live.html", {**numbers, "most": most})


@never_cache
@require_safe
async def summary(request: HttpRequest) -> JsonResponse:
    return JsonResponse(await gather_numbers())


@require_safe
async def stream(request: HttpRequest) -> EventStreamResponse:
    """Orders as they come. A browser that reconnects says in Last-Event-ID which one it saw last."""
    seen = request.headers.get("Last-Event-ID", "")
    last = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 16 else None
    return EventStreamResponse(events(last, settings.BOOKSHOP_STREAM_MAX_S, settings.BOOKSHOP_STREAM_POLL_S))
