"""A page of 10 KB that may be kept, one that may not, one that takes 200 ms, and how often that one was made."""

from __future__ import annotations

import threading
import time

from django.http import HttpRequest, HttpResponse, JsonResponse

PAGE_BYTES = 10_240
SLOW_S = 0.200
LIFETIME_S = 3_600
PARAGRAPH = b"<p>Shelf %03d, where the catalogue of the benchmark keeps its books, by author and year.</p>\n"
PAGE = (b"<!doctype html><title>Books</title>\n" + b"".join(PARAGRAPH % number for number in range(200)))[:PAGE_BYTES]

#: Times that `slow` was made in this process; `_lock` guards it.
_renders = 0
_lock = threading.Lock()


def kept(response: HttpResponse) -> HttpResponse:
    """Say that anybody may keep it for an hour."""
    response["Cache-Control"] = f"public, max-age={LIFETIME_S}"
    return response


def page(request: HttpRequest) -> HttpResponse:
    """10 KB that anybody may keep. What making it costs is not the point here."""
    return kept(HttpResponse(PAGE))


def private(request: HttpRequest) -> HttpResponse:
    """The same, for one person."""
    return HttpResponse(PAGE, headers={"Cache-Control": "private"})


def slow(request: HttpRequest) -> HttpResponse:
    """The page, after 200 ms without the interpreter lock."""
    global _renders
    with _lock:
        _renders += 1
    time.sleep(SLOW_S)
    return kept(HttpResponse(PAGE))


def renders(request: HttpRequest) -> JsonResponse:
    """How often `slow` was made."""
    return JsonResponse({"renders": _renders}, headers={"Cache-Control": "no-store"})
