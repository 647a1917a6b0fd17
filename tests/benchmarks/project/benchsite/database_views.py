"""Pages that ask the database, hold its connections for long, or leave them early; and how many are held."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from benchsite.models import Author, Book, Shelf, Subject

SLEEP_S = 0.020
#: 1 MB in pieces.
PIECES, PIECE = 64, b"x" * 16_384


def one(request: HttpRequest) -> HttpResponse:
    """One small query."""
    return HttpResponse(Shelf.objects.order_by("pk").values_list("name", flat=True)[0], content_type="text/plain")


def five(request: HttpRequest) -> HttpResponse:
    """Five queries, as the page of one thing with what belongs to it."""
    book = Book.objects.order_by("pk")[0]
    author = Author.objects.get(pk=book.author_id)
    others = Book.objects.filter(author=author).exclude(pk=book.pk).count()
    subjects = [subject.name for subject in Subject.objects.filter(books=book).order_by("name")]
    shelf = Shelf.objects.get(pk=book.shelf_id)
    text = f"{book.title} by {author.name} ({others} more) on {shelf.name}: {', '.join(subjects)}"
    return HttpResponse(text, content_type="text/plain")


def sleep(request: HttpRequest) -> HttpResponse:
    """One small query, then 20 ms with another service, in which the database has nothing to do."""
    name = Shelf.objects.order_by("pk").values_list("name", flat=True)[0]
    time.sleep(SLEEP_S)
    return HttpResponse(name, content_type="text/plain")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """One small query, then 1 MB that needs no more of them."""
    name = Shelf.objects.order_by("pk").values_list("name", flat=True)[0]

    def pieces() -> Iterator[bytes]:
        yield name.encode()
        for _ in range(PIECES):
            yield PIECE

    return StreamingHttpResponse(pieces(), content_type="text/plain")


def held(request: HttpRequest) -> JsonResponse:
    """How many connections are in use, as the pool in charge counts them; null when there is no pool."""
    return JsonResponse({"held": _held()})


def _held() -> int | None:
    engine = connection.settings_dict["ENGINE"]
    if engine.startswith("django_wsgiperf."):
        from django_wsgiperf.db import pools

        return sum(pool.snapshot()["db.client.connection.count"]["used"] for pool in pools())
    if engine.startswith("dj_db_conn_pool."):
        from dj_db_conn_pool.core import pool_container

        return sum(pool.checkedout() for pool in pool_container.values())
    if connection.settings_dict["OPTIONS"].get("pool"):
        numbers = connection.pool.get_stats()
        return numbers["pool_size"] - numbers["pool_available"]
    return None
