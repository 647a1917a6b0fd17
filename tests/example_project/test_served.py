"""The bookshop as `manage.py serve` serves it: over HTTP, to several visitors at once."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import json
import os
import re
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import services

from .served import make_shop, serve

BOOKS = 60


class Visitor:
    """A browser without scripts: it keeps cookies, follows redirects and sends forms with their token."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)
        )

    def get(self, path: str) -> str:
        with self._opener.open(self.base + path, timeout=60) as response:
            text: str = response.read().decode()
            return text

    def post(self, path: str, **fields: str | int) -> tuple[str, str]:
        """Send a form; the path where that led, and the page there."""
        token = json.loads(self.get("/me/token/"))["token"]
        body = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": token}).encode()
        with self._opener.open(self.base + path, body, timeout=60) as response:
            return urllib.parse.urlsplit(response.url).path, response.read().decode()

    def log_in(self, name: str) -> None:
        where, _ = self.post("/account/login/", username=name, password="twelve-threads")
        assert where == "/account/"

    def order(self, slug: str, quantity: int) -> str:
        """Buy that many copies; the path of the order, or of the basket when there were not enough."""
        self.post(f"/basket/add/{slug}/", quantity=quantity)
        where, _ = self.post(
            "/checkout/", name="Robin", email="r@example.com", street="1 Row", city="Leeds", postcode="LS1"
        )
        return where


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """An empty database on the server that DATABASE_URL names; nothing for SQLite."""
    scheme = os.environ.get("DATABASE_URL", "").partition("://")[0]
    kind = {"postgres": "postgres", "postgresql": "postgres", "mysql": "mysql"}.get(scheme)
    if kind is None:
        yield ""
        return
    with services.scratch_database(kind) as database:
        yield database.url


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[str]:
    """The address of a shop on that database."""
    data: Path = tmp_path_factory.mktemp("shop")
    surroundings = {
        "DATABASE_URL": database_url,
        "BOOKSHOP_SUPPLIER_DELAY_S": "0",
        "BOOKSHOP_STREAM_POLL_S": "0.05",
    }
    make_shop(data, BOOKS, **surroundings)
    with serve(data, "--graceful-timeout=3", **surroundings) as address:
        yield address


def a_book(visitor: Visitor, least: int = 10) -> dict[str, str]:
    books = json.loads(visitor.get("/api/books/?in_stock=1"))["results"]
    return next(
        {"isbn": book["isbn"], "slug": book["url"].rstrip("/").rpartition("/")[2], "stock": book["stock"]}
        for book in books
        if book["stock"] >= least
    )


def stock_of(visitor: Visitor, isbn: str) -> int:
    found: int = json.loads(visitor.get(f"/api/books/{isbn}/stock/"))["stock"]
    return found


def test_pages_files_and_static_files_are_served(base: str) -> None:
    visitor = Visitor(base)
    assert "Just in" in visitor.get("/")
    assert "--paper" in visitor.get("/static/shop/shop.css")
    assert visitor.get("/catalogue.csv") == visitor.get("/catalogue-now.csv")
    assert len(visitor.get("/catalogue.csv").splitlines()) == BOOKS + 1
    assert len(visitor.cookies) == 0


def test_visitor_buys_a_book(base: str) -> None:
    visitor = Visitor(base)
    visitor.log_in("reader")
    book = a_book(visitor)
    where = visitor.order(book["slug"], 2)
    assert re.fullmatch(r"/account/orders/TT-\w{10}/", where)
    assert stock_of(visitor, book["isbn"]) == int(book["stock"]) - 2


def test_last_copies_are_sold_once_to_many_who_want_them(base: str) -> None:
    clerk = Visitor(base)
    clerk.log_in("admin")
    book = a_book(clerk)
    left, wanted, visitors = int(book["stock"]), int(book["stock"]) // 3 + 1, 6
    results: list[str] = []
    start = threading.Barrier(visitors)

    def buy() -> None:
        visitor = Visitor(base)
        visitor.log_in("reader")
        start.wait(60)
        results.append(visitor.order(book["slug"], min(wanted, 20)))

    threads = [threading.Thread(target=buy) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    sold = sum(where.startswith("/account/orders/") for where in results)
    assert len(results) == visitors
    assert sold == left // min(wanted, 20)
    assert stock_of(clerk, book["isbn"]) == left - sold * min(wanted, 20)


def test_order_arrives_on_a_stream_that_is_open(base: str) -> None:
    address = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    connection.request("GET", "/live/events/", headers={"Last-Event-ID": "100000"})
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.readline() == b"retry: 3000\n"
    connection.close()

    visitor = Visitor(base)
    visitor.log_in("reader")
    connection.request("GET", "/live/events/")
    response = connection.getresponse()
    before = {line for line in (response.readline() for _ in range(12)) if line.startswith(b"id: ")}
    visitor.order(a_book(visitor)["slug"], 1)
    while True:
        line = response.readline()
        assert line, "the stream ended before the order came"
        if line.startswith(b"data: ") and b'"city":"Leeds"' in line:
            break
    assert before
    connection.close()


def test_slow_supplier_does_not_hold_up_others(base: str) -> None:
    visitor = Visitor(base)
    slug = a_book(visitor)["slug"]
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(Visitor(base).get(f"/books/{slug}/supplier/"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert "Just in" in visitor.get("/")
    for thread in threads:
        thread.join(60)
    assert len(set(answers)) == 1


def test_twelve_threads_share_four_connections(base: str, database_url: str) -> None:
    visitors, pages = 12, ("/", "/api/books/", "/search/?q=the", "/") * 2
    texts: list[str] = []
    start = threading.Barrier(visitors)

    def browse() -> None:
        visitor = Visitor(base)
        start.wait(60)
        texts.extend(visitor.get(page) for page in pages)

    threads = [threading.Thread(target=browse) for _ in range(visitors)]
    with counting_sessions(database_url) as sessions:
        for thread in threads:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, sessions())
        kept = sessions()
    assert len(texts) == visitors * len(pages)
    assert most <= 4
    assert kept >= 1 or not database_url, "they are there for the next request"


@contextmanager
def counting_sessions(database_url: str) -> Iterator[Callable[[], int]]:
    """Counts the shop's connections as its database server sees them; of SQLite nobody knows them."""
    if not database_url:
        yield lambda: 0
        return
    address = services.Address.parse(database_url)
    if address.scheme == "mysql":
        import MySQLdb

        login = {"host": address.host, "port": address.port, "user": address.user, "password": address.password}
        with contextlib.closing(MySQLdb.connect(**login)) as connection:

            def shown() -> int:
                cursor = connection.cursor()
                # Not SHOW PROCESSLIST, which has the statements of others, bytes that are no text among them.
                query = "SELECT count(*) FROM information_schema.processlist WHERE db = %s"
                cursor.execute(query, [address.database])
                return int(cursor.fetchone()[0])

            yield shown
    else:
        import psycopg

        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        with psycopg.connect(address.with_database("postgres").url, autocommit=True) as watching:

            def active() -> int:
                row = watching.execute(query, [address.database]).fetchone()
                return row[0] if row else 0

            yield active
