"""The views that are measured: one that does nothing, three that hold a thread, one that is a real page."""

from __future__ import annotations

import time

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from benchsite.models import Book, Shelf

BLOCK_S = 0.050
SLEEP_S = 0.020
BURN_CPU_S = 0.010
BOOKS_A_PAGE = 8
KILOBYTE = b"x" * 1024


def small(request: HttpRequest) -> HttpResponse:
    """1 KB, made at once: what is left is Django's own path and the server."""
    return HttpResponse(KILOBYTE, content_type="text/plain")


def block(request: HttpRequest) -> HttpResponse:
    """Hold the thread for 50 ms without the interpreter lock, as a slow service behind the site does."""
    time.sleep(BLOCK_S)
    return HttpResponse(b"blocked", content_type="text/plain")


def sleep(request: HttpRequest) -> HttpResponse:
    """Hold the thread for 20 ms without the interpreter lock: capacity is threads / 20 ms."""
    time.sleep(SLEEP_S)
    return HttpResponse(b"slept", content_type="text/plain")


def burn(request: HttpRequest) -> HttpResponse:
    """Use 10 ms of this thread's processor time: capacity is 100 a second for each process."""
    until_s = time.thread_time() + BURN_CPU_S
    while time.thread_time() < until_s:
        sum(range(1000))
    return HttpResponse(b"burnt", content_type="text/plain")


def books(request: HttpRequest) -> HttpResponse:
    """A catalogue page: four queries and a template of two levels, about 5 ms of processor time."""
    shelves = Shelf.objects.annotate(books_count=Count("books")).order_by("name")
    page = (
        Book.objects.select_related("author", "shelf")
        .prefetch_related("subjects")
        .order_by("-published", "pk")[:BOOKS_A_PAGE]
    )
    context = {"shelves": shelves, "books": page, "total": Book.objects.count()}
    return render(request, "benchsite/books.html", context)


def book(request: HttpRequest, pk: int) -> HttpResponse:
    """One book. Linked from the catalogue, so that it reverses addresses as a real page does; not measured."""
    return HttpResponse(get_object_or_404(Book, pk=pk).title)
