"""Addresses: what is put on the wire for them, and which are not asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.warming.address import AddressError, Page, Place, parse_page, parse_place


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("http://shop.example/", Page("http", "shop.example", "/")),
        ("http://shop.example", Page("http", "shop.example", "/")),
        ("HTTPS://Shop.Example/Books/?page=2", Page("https", "shop.example", "/Books/?page=2")),
        ("https://shop.example:443/a", Page("https", "shop.example", "/a")),
        ("http://shop.example:8000/a", Page("http", "shop.example:8000", "/a")),
        ("http://[::1]:8000/a", Page("http", "[::1]:8000", "/a")),
        ("http://shop.example/a#part", Page("http", "shop.example", "/a")),
        ("http://shop.example/bücher?q=ä", Page("http", "shop.example", "/b%C3%BCcher?q=%C3%A4")),
        ("http://shop.example/b%C3%BCcher?q=a%20b+c", Page("http", "shop.example", "/b%C3%BCcher?q=a%20b+c")),
        ("http://bücher.example/", Page("http", "xn--bcher-kva.example", "/")),
        ("http://shop.example?page=2", Page("http", "shop.example", "/?page=2")),
    ],
)
def test_what_is_asked_for(text: str, page: Page) -> None:
    assert parse_page(text) == page


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://shop.example/", "no http or https"),
        ("file:///etc/passwd", "no http or https"),
        ("javascript:alert(1)", "no http or https"),
        ("/books/", "no http or https"),
        ("books", "no http or https"),
        ("", "no http or https"),
        ("http:///books/", "without a host"),
        ("http://shop.example/a b", "blanks or control"),
        ("http://shop.example/a\r\nX: y", "blanks or control"),
        ("http://shop.example:port/", "no address"),
        ("http://shop.example:99999/", "no address"),
        ("http://[::1/", "no address"),
        ("http://anna:swordfish@shop.example/", "a name or password, of shop.example"),
        ("http://anna@shop.example/", "a name or password, of shop.example"),
        ("http://shop.example/" + "a" * 9000, "characters"),
        ("http://" + "ü" * 80 + ".example/", "no name"),
    ],
)
def test_what_is_not(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why) as caught:
        parse_page(text)
    assert "swordfish" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=60))
def test_whatever_is_written_is_a_page_that_can_be_sent_or_refused(text: str) -> None:
    try:
        page = parse_page("http://shop.example/" + text)
    except AddressError:
        return
    assert page.url.isascii()
    assert page.url.isprintable()
    assert " " not in page.url
    assert page.authority == "shop.example"
    assert parse_page(page.url) == page
    assert urlsplit(page.url).path.startswith("/")


def test_a_path_alone_is_one_of_the_base() -> None:
    base = parse_page("http://127.0.0.1:8000")
    assert parse_page("/books/?page=2", base).url == "http://127.0.0.1:8000/books/?page=2"
    with pytest.raises(AddressError):
        parse_page("//evil.example/", base)


@pytest.mark.parametrize(
    ("text", "place", "shown"),
    [
        ("http://127.0.0.1:8000", Place("http", "127.0.0.1", 8000), "http://127.0.0.1:8000"),
        ("https://backend/", Place("https", "backend", 443), "https://backend:443"),
        ("http://[::1]:8000", Place("http", "::1", 8000), "http://[::1]:8000"),
        ("unix:/run/site.sock", Place("http", "", 0, "/run/site.sock"), "unix:/run/site.sock"),
    ],
)
def test_where_else_to_ask(text: str, place: Place, shown: str) -> None:
    assert parse_place(text) == place
    assert str(place) == shown


@pytest.mark.parametrize("text", ["127.0.0.1:8000", "http://127.0.0.1:8000/books/", "unix:", "ftp://host", ""])
def test_where_nobody_can_ask(text: str) -> None:
    with pytest.raises(AddressError):
        parse_place(text)


def test_a_page_is_where_its_address_says() -> None:
    assert parse_page("https://shop.example/").place() == Place("https", "shop.example", 443)
    assert parse_page("http://[::1]:8000/").place() == Place("http", "::1", 8000)
    assert parse_page("http://[::1]:8000/").hostname == "::1"
