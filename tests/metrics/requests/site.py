"""The views that the tests of request timing measure: what each asks of database, cache and templates is known."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache import cache, caches
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DatabaseError, connection
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template import engines
from django.template.response import TemplateResponse
from django.test import Client
from django.urls import include, path, re_path

hooks: dict[str, Callable[[], Any]] = {}
"""What the view `hooked` calls."""


def ask_database(times: int = 1) -> None:
    for number in range(times):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 + %s", [number])
            cursor.fetchall()


def plain(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    return HttpResponse("plain")


def hooked(request: HttpRequest) -> HttpResponseBase:
    found = hooks["view"]()
    return found if isinstance(found, HttpResponseBase) else HttpResponse("hooked")


def queries(request: HttpRequest, times: int) -> HttpResponse:
    ask_database(times)
    return HttpResponse("queries")


def broken_query(request: HttpRequest) -> HttpResponse:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM no_such_table")
    except DatabaseError:
        return HttpResponse("as expected")
    raise AssertionError("the statement should have failed")


def cached(request: HttpRequest) -> HttpResponse:
    """2 hits and 2 misses in 6 calls of the default cache, 1 call of the other."""
    cache.clear()
    cache.get("missing")
    cache.set("none", None)
    cache.get("none", "a default")
    cache.get_many(["none", "missing-too"])
    cache.delete("none")
    caches["other"].set("key", 1)
    return HttpResponse("cached")


def rendered(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].get_template("page.html").render({"ask": ask_database}, request))


def deferred(request: HttpRequest) -> TemplateResponse:
    return TemplateResponse(request, "page.html", {"ask": ask_database})


def fails(request: HttpRequest) -> HttpResponse:
    raise ValueError("secret words in a message")


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404


def denied(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def suspicious(request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation


def redirects(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/plain/")


def streams(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            ask_database()
            yield b"piece"

    ask_database()
    return StreamingHttpResponse(pieces())


def breaks_in_stream(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise KeyError("in the middle")

    return StreamingHttpResponse(pieces())


async def breaks_in_stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise KeyError("in the middle")

    return StreamingHttpResponse(pieces())


async def streams_async(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            await sync_to_async(ask_database)()
            yield b"piece"

    return StreamingHttpResponse(pieces())


def streams_forever(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * 100_000

    return StreamingHttpResponse(pieces())


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(io.BytesIO(b"f" * 1000), filename="file.txt")


async def asynchronous(request: HttpRequest) -> HttpResponse:
    await sync_to_async(ask_database)(2)
    await cache.aset("key", None)
    await cache.aget("key")
    await asyncio.gather(cache.aget("missing"), sync_to_async(ask_database)())
    return HttpResponse("asynchronous")


async def fails_async(request: HttpRequest) -> HttpResponse:
    raise LookupError


async def waits_async(request: HttpRequest) -> HttpResponse:
    hooks["view"]()
    await asyncio.sleep(3600)
    return HttpResponse("never")


def asks_itself(request: HttpRequest) -> HttpResponse:
    ask_database()
    inner = Client().get("/queries/3/")
    ask_database()
    return HttpResponse(inner.content)


def in_thread(request: HttpRequest) -> HttpResponse:
    """Two queries in a thread that has the request's context, while the request's own asks one; then one without."""
    context = contextvars.copy_context()
    threads = [
        threading.Thread(target=context.run, args=(_in_own_connection, 2)),
        threading.Thread(target=_in_own_connection, args=(5,)),
    ]
    ask_database()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return HttpResponse("in a thread")


def _in_own_connection(times: int) -> None:
    try:
        ask_database(times)
    finally:
        connection.close()


def collects(request: HttpRequest) -> HttpResponse:
    gc.collect()
    return HttpResponse("collected")


def names_itself(request: HttpRequest) -> HttpResponse:
    request.wsgiperf.route = "graphql:Basket"  # type: ignore[attr-defined]
    return HttpResponse("named")


def who(request: HttpRequest) -> HttpResponse:
    state = request.wsgiperf  # type: ignore[attr-defined]
    return HttpResponse(f"{state.request_id} {state.trace_id}")


urlpatterns = [
    path("", plain),
    path("plain/", plain),
    path("books/<int:pk>/", plain),
    re_path(r"^old/(?P<slug>[-\w]+)/(\d{4})/$", plain),
    path("shop/", include([re_path(r"^(?P<name>\w+)/(?:page(?P<page>\d+)/)?$", plain)])),
    path("hooked/", hooked),
    path("queries/<int:times>/", queries),
    path("broken-query/", broken_query),
    path("cached/", cached),
    path("rendered/", rendered),
    path("deferred/", deferred),
    path("fails/", fails),
    path("missing/", missing),
    path("denied/", denied),
    path("suspicious/", suspicious),
    path("redirects/", redirects),
    path("streams/", streams),
    path("breaks-in-stream/", breaks_in_stream),
    path("breaks-in-stream-async/", breaks_in_stream_async),
    path("streams-async/", streams_async),
    path("streams-forever/", streams_forever),
    path("file/", file),
    path("asynchronous/", asynchronous),
    path("fails-async/", fails_async),
    path("waits-async/", waits_async),
    path("asks-itself/", asks_itself),
    path("in-thread/", in_thread),
    path("collects/", collects),
    path("names-itself/", names_itself),
    path("who/", who),
]
