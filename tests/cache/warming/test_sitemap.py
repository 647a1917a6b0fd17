"""Sitemaps and lists: what is read from them, and that none of them can do harm."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.warming import sitemap
from django_wsgiperf.cache.warming.sitemap import SitemapError, read

NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
SITEMAP = f"""<?xml version="1.0" encoding="UTF-8"?>
<urlset {NAMESPACE} xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url><loc> https://shop.example/books/1/ </loc><lastmod>2026-11-01</lastmod>
    <image:image><image:loc>https://shop.example/cover.jpg</image:loc></image:image></url>
  <url><loc>https://shop.example/search?a=1&amp;b=2</loc></url>
  <url><loc></loc></url>
  <url><priority>0.5</priority></url>
</urlset>""".encode()
PREFIXED = b"""<s:urlset xmlns:s="http://www.sitemaps.org/schemas/sitemap/0.9">
  <s:url><s:loc>https://shop.example/books/1/</s:loc></s:url>
  <s:url><s:loc>https://shop.example/search?a=1&amp;b=2</s:loc></s:url>
</s:urlset>"""
PAGES = ["https://shop.example/books/1/", "https://shop.example/search?a=1&b=2"]
INDEX = f"""<sitemapindex {NAMESPACE}>
  <sitemap><loc>https://shop.example/sitemap-books.xml.gz</loc></sitemap>
  <sitemap><loc>https://shop.example/sitemap-pages.xml</loc></sitemap>
</sitemapindex>""".encode()


def test_a_sitemap_lists_pages_and_no_images() -> None:
    listing = read(SITEMAP)
    assert listing.pages == PAGES
    assert listing.sitemaps == []
    assert not listing.is_cut


def test_an_index_lists_sitemaps() -> None:
    listing = read(INDEX)
    assert listing.pages == []
    assert listing.sitemaps == [
        "https://shop.example/sitemap-books.xml.gz",
        "https://shop.example/sitemap-pages.xml",
    ]


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(SITEMAP),
        b"\xef\xbb\xbf" + SITEMAP,
        b"\r\n  " + SITEMAP[SITEMAP.index(b"<urlset") :],
        SITEMAP.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        PREFIXED,
    ],
    ids=["gzip", "mark", "no declaration", "utf-16", "prefix"],
)
def test_a_sitemap_in_another_form(data: bytes) -> None:
    assert read(data).pages == PAGES


def test_a_list_has_an_address_on_each_line() -> None:
    data = b"# pages\nhttp://shop.example/a\r\n\n   http://shop.example/b  \n/c\n"
    assert read(data).pages == ["http://shop.example/a", "http://shop.example/b", "/c"]
    assert read(gzip.compress(data)).pages == read(data).pages
    assert read(b"").pages == []


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<urlset><url><loc>&b;</loc></url></urlset>"""
FILE = b"""<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>&a;</loc></url></urlset>"""
OUTSIDE = b"""<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><urlset><url><loc>a</loc></url></urlset>"""


@pytest.mark.parametrize("data", [BOMB, FILE, OUTSIDE, gzip.compress(BOMB)])
def test_entities_are_not_read(data: bytes) -> None:
    """Neither bombs, nor files of this machine, nor what lies elsewhere."""
    with pytest.raises(SitemapError, match="document type"):
        read(data)


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemap, "MAX_BYTES", 1_048_576)
    with pytest.raises(SitemapError, match="larger than 1 MiB"):
        read(gzip.compress(b"a" * 100_000_000))
    with pytest.raises(SitemapError, match="larger than 1 MiB"):
        read(b"a" * 1_048_577)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<urlset><url>", "no well-formed XML"),
        (b"<html><body>Not found</body></html>", "its root is <html>"),
        (b"<rss><channel/></rss>", "its root is <rss>"),
        (gzip.compress(SITEMAP)[:-20], "its end is missing"),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 40, "is damaged"),
        (b"\xff\xd8\xff\xe0 a picture", "neither a sitemap nor lines of text"),
        (b'<?xml version="1.0" encoding="no-such"?><urlset/>', "XML|encoding"),
        (b"<urlset>" + b"<a>" * 100 + b"</a>" * 100 + b"</urlset>", "nested"),
    ],
)
def test_what_is_no_sitemap_says_why(data: bytes, why: str) -> None:
    with pytest.raises(SitemapError, match=why):
        read(data)


def test_a_sitemap_with_too_many_pages_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemap, "MAX_PAGES", 1)
    listing = read(SITEMAP)
    assert listing.pages == PAGES[:1]
    assert listing.is_cut


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda data: SITEMAP[:300] + data))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for form in (data, zlib.compress(data, wbits=31)):
        try:
            listing = read(form)
        except SitemapError:
            continue
        assert all(isinstance(page, str) for page in listing.pages)
