"""The bookshop's pages in the response cache: kept for everybody, purged by what they show, and nobody's own."""

from __future__ import annotations

import contextlib
import html
import http.client
import json
import re
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shop.models import Author, Book, Category
from shop.ordering import place_order

from django_wsgiperf.cache import runtime
from django_wsgiperf.cache.tags import ADDRESS_MARK

from .served import make_shop, manage, serve
from .test_served import Visitor, a_book

BOOKS = 40
PUBLIC = ("/", "/books/", "/books/?sort=price&page=2")
PRIVATE = ("/basket/", "/me/", "/me/token/", "/account/login/", "/account/register/")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a shop with SQLite and its pages in process memory."""
    data: Path = tmp_path_factory.mktemp("shop")
    make_shop(data, BOOKS)
    with serve(data, "--graceful-timeout=3") as address:
        yield address


def fetch(base: str, path: str, **headers: str) -> tuple[dict[str, str], str]:
    """The head and the text of an answer, without following anything."""
    parts = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return {name.lower(): value for name, value in response.getheaders()}, response.read().decode()


def cache_status(base: str, path: str, **headers: str) -> str:
    return fetch(base, path, **headers)[0]["cache-status"]


def some_books(base: str) -> list[str]:
    """The addresses of books, as the catalogue links to them."""
    return sorted(set(re.findall(r'href="(/books/[\w-]+/)"', fetch(base, "/books/")[1])))


def test_the_second_visitor_gets_a_public_page_from_the_cache(base: str) -> None:
    book = some_books(base)[0]
    text = fetch(base, book)[1]
    author = re.search(r'href="(/authors/[\w-]+/)"', text)
    category = re.search(r'href="(/categories/[\w-]+/)"', text)
    assert author is not None
    assert category is not None
    for path in (*PUBLIC, book, author[1], category[1], f"{book}cover.svg"):
        _, first = fetch(base, path)
        headers, second = fetch(base, path, Cookie="sessionid=somebody")
        assert headers["cache-status"] == "wsgiperf; hit", path
        assert "set-cookie" not in headers
        assert second == first


def test_a_visitors_own_pages_are_never_kept(base: str) -> None:
    visitor = Visitor(base)
    visitor.log_in("reader")
    session = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.cookies)
    for cookies in ({}, {"Cookie": session}):
        for path in PRIVATE:
            for _ in range(2):
                status = cache_status(base, path, **cookies)
                assert "hit" not in status, path
                assert "stored" not in status, path


def test_the_basket_of_one_is_not_that_of_another(base: str) -> None:
    book = some_books(base)[1]
    slug = book.split("/")[2]
    one, other = Visitor(base), Visitor(base)
    one.post(f"/basket/add/{slug}/", quantity=3)
    assert "No books in it yet" not in one.get("/basket/")
    assert slug in one.get("/basket/")
    assert slug not in other.get("/basket/")
    assert one.get(book) == other.get(book)


def test_a_price_that_is_changed_in_the_admin_is_on_every_page_at_once(base: str) -> None:
    book = some_books(base)[2]
    showing = [path for path in (*PUBLIC, book) if book in fetch(base, path)[1] or path == book]
    assert len(showing) > 1
    assert all("hit" in cache_status(base, path) for path in showing)
    clerk = Visitor(base)
    clerk.log_in("admin")
    pk = re.search(r'href="/admin/shop/book/(\d+)/change/', clerk.get(f"/admin/shop/book/?q={title_of(base, book)}"))
    assert pk is not None
    form = clerk.get(f"/admin/shop/book/{pk[1]}/change/")
    change_price(clerk, f"/admin/shop/book/{pk[1]}/change/", form, "4.56")
    for path in showing:
        headers, text = fetch(base, path)
        assert "hit" not in headers["cache-status"], path
        assert "4.56" in text, path


def title_of(base: str, book: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", fetch(base, book)[1], re.DOTALL)
    assert found is not None
    words = re.sub(r"<[^>]+>|&[#\w]+;", " ", found[1]).split()
    return urllib.parse.quote(" ".join(words[:3]))


def change_price(clerk: Visitor, path: str, form: str, price: str) -> None:
    """Send the admin's form as it is, with another price."""
    fields: dict[str, str | int] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name is not None and 'type="submit"' not in tag and 'type="checkbox"' not in tag:
            fields[name[1]] = html.unescape(value[1] if value else "")
    for name, inner in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)"[^>]*selected', inner)
        if chosen is not None:
            fields[name] = html.unescape(chosen[1])
    for name, inner in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        fields[name] = html.unescape(inner.strip("\r\n"))
    fields["price"] = price
    fields.pop("csrfmiddlewaretoken", None)
    where, page = clerk.post(path, **fields)
    assert where == "/admin/shop/book/", page


def test_a_sale_is_seen_on_the_books_page_at_once(base: str) -> None:
    visitor = Visitor(base)
    visitor.log_in("reader")
    slug = a_book(visitor)["slug"]
    book = f"/books/{slug}/"
    fetch(base, book)
    assert "hit" in cache_status(base, book)
    assert visitor.order(slug, 1).startswith("/account/orders/")
    assert "hit" not in cache_status(base, book)
    assert "hit" in cache_status(base, book)


def test_the_sitemap_warms_every_public_page(base: str, tmp_path: Path) -> None:
    addresses = re.findall(r"<loc>(.+?)</loc>", fetch(base, "/sitemap.xml")[1])
    kinds = ("/books/", "/authors/", "/categories/")
    assert all(any(f"{base}{kind}" in address for address in addresses) for kind in kinds)
    assert len([address for address in addresses if re.search(r"/books/.+/", address)]) == BOOKS
    done = manage(tmp_path, "wsgiperf", "warm", f"{base}/sitemap.xml", "--json", "--strict", "--concurrency", "2")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["warmed"] + told["already"] == len(addresses)
    assert all("hit" in cache_status(base, address.removeprefix(base)) for address in addresses[::20])


@pytest.fixture
def engine(settings: Any, db: None) -> Iterator[Any]:
    """The cache of this process, in which purges leave their mark."""
    settings.WSGIPERF = {**settings.WSGIPERF, "CACHE": {}}
    runtime.reset()
    yield runtime.engine()
    runtime.reset()


@pytest.mark.usefixtures("engine")
class TestPurges:
    """Each change names what it changes; the pages with it are judged by that."""

    def purged(self, engine: Any) -> set[str]:
        return {tag for tag in engine.tags._hard if not tag.startswith(ADDRESS_MARK)}

    def test_saving_and_deleting_a_book(self, engine: Any, book: Book, django_capture_on_commit_callbacks: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            book.save()
        assert self.purged(engine) == {f"book:{book.pk}", "lists"}

    def test_an_author_and_a_category(self, engine: Any, book: Book, django_capture_on_commit_callbacks: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            Author.objects.get(pk=book.author_id).save()
        assert self.purged(engine) == {f"author:{book.author_id}"}
        with django_capture_on_commit_callbacks(execute=True):
            Category.objects.get(pk=book.category_id).save()
        assert "shop" in self.purged(engine)

    def test_an_order_that_fails_purges_nothing(
        self, engine: Any, book: Book, django_capture_on_commit_callbacks: Any
    ) -> None:
        from shop.basket import Line
        from shop.ordering import OutOfStockError

        details = dict.fromkeys(("name", "email", "street", "city", "postcode"), "x")
        with django_capture_on_commit_callbacks(execute=True), pytest.raises(OutOfStockError):
            place_order("TT-1", None, [Line(book, book.stock + 1)], details)
        assert self.purged(engine) == set()
        with django_capture_on_commit_callbacks(execute=True):
            place_order("TT-2", None, [Line(book, 1)], details)
        assert self.purged(engine) == {f"book:{book.pk}"}


def test_with_redis_processes_keep_one_set_of_pages(tmp_path: Path, redis_url: str) -> None:
    make_shop(tmp_path, BOOKS, REDIS_URL=redis_url)
    with serve(tmp_path, "--graceful-timeout=3", REDIS_URL=redis_url) as address:
        assert "stored" in cache_status(address, "/books/", Host="localhost")
    # Another process, later: it has nothing in memory.
    with serve(tmp_path, "--graceful-timeout=3", REDIS_URL=redis_url) as address:
        assert cache_status(address, "/books/", Host="localhost") == "wsgiperf; hit"
        done = manage(tmp_path, "wsgiperf", "purge", "--tag", "lists", REDIS_URL=redis_url)
        assert done.returncode == 0, done.stderr
        deadline_s = time.monotonic() + 60
        while "hit" in cache_status(address, "/books/", Host="localhost"):
            assert time.monotonic() < deadline_s, "the purge is never heard of"
            time.sleep(0.05)
