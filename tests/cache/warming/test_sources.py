"""From what the user names to pages: files, fetched sitemaps, indexes, and what is left out of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from django_wsgiperf.cache.warming import sources
from django_wsgiperf.cache.warming.address import Page, Place, parse_page
from django_wsgiperf.cache.warming.client import Client
from django_wsgiperf.cache.warming.sources import Found, SourceError, collect

from .sites import Site, site


def sitemap(*pages: str) -> bytes:
    return ("<urlset>" + "".join(f"<url><loc>{page}</loc></url>" for page in pages) + "</urlset>").encode()


def index(*sitemaps: str) -> bytes:
    items = "".join(f"<sitemap><loc>{address}</loc></sitemap>" for address in sitemaps)
    return f"<sitemapindex>{items}</sitemapindex>".encode()


def found(*names: str, base: Place | None = None, base_page: Page | None = None, limit: int = 1000) -> Found:
    client = Client(base, timeout_s=20)
    try:
        return collect(names, base=base, base_page=base_page, limit=limit, client=client)
    finally:
        client.close()


def urls(result: Found) -> list[str]:
    return [page.url for page in result.pages]


def serve(served: Site, path: str, body: bytes) -> str:
    served.pages[path] = (200, {}, body)
    return served.origin + path


def test_a_file_of_addresses_each_once_in_its_order(tmp_path: Path) -> None:
    file = tmp_path / "pages.txt"
    file.write_text("http://b.example/\nhttp://a.example/\nhttp://b.example\nhttp://b.example/#part\n")
    assert urls(found(str(file))) == ["http://b.example/", "http://a.example/"]


def test_several_sources_are_one_list(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("http://a.example/")
    (tmp_path / "two").write_bytes(gzip.compress(sitemap("http://b.example/", "http://a.example/")))
    assert urls(found(str(tmp_path / "one"), str(tmp_path / "two"))) == ["http://a.example/", "http://b.example/"]


def test_paths_alone_are_pages_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "paths").write_text("/books/\n/authors/?page=2\n")
    base = parse_page("http://127.0.0.1:8000")
    assert urls(found(str(tmp_path / "paths"), base=base.place(), base_page=base)) == [
        "http://127.0.0.1:8000/books/",
        "http://127.0.0.1:8000/authors/?page=2",
    ]
    without = found(str(tmp_path / "paths"))
    assert without.pages == []
    assert without.left_out == {sources.NO_HOST: 2}


def test_a_sitemap_is_fetched_and_those_of_an_index_too() -> None:
    with site() as served:
        serve(served, "/books.xml.gz", gzip.compress(sitemap(f"{served.origin}/books/1/")))
        serve(served, "/pages.xml", sitemap(f"{served.origin}/about/"))
        top = serve(served, "/sitemap.xml", index(f"{served.origin}/books.xml.gz", f"{served.origin}/pages.xml"))
        result = found(top)
        assert urls(result) == [f"{served.origin}/books/1/", f"{served.origin}/about/"]
        assert result.sitemaps == 3
        assert served.paths() == ["/sitemap.xml", "/books.xml.gz", "/pages.xml"]


def test_a_sitemap_sends_nobody_to_other_sites() -> None:
    """Of a sitemap fetched from one site, only that site's pages and sitemaps are asked for (sitemaps.org)."""
    with site() as served:
        here = f"{served.origin}/a"
        result = found(serve(served, "/sitemap.xml", sitemap(here, "http://127.0.0.1:1/b", "https://other.example/")))
        assert urls(result) == [here]
        assert result.left_out == {sources.OTHER_SITE: 2}
        assert result.examples[sources.OTHER_SITE] == ["http://127.0.0.1:1/b", "https://other.example/"]
        result = found(serve(served, "/index.xml", index("http://127.0.0.1:1/sitemap.xml")))
        assert result.left_out == {sources.OTHER_SITE: 1}


def test_with_a_base_other_hosts_are_asked_for_there() -> None:
    with site() as served:
        base = parse_page(served.origin)
        serve(served, "/sitemap.xml", sitemap("https://shop.example/a"))
        result = found("https://shop.example/sitemap.xml", base=base.place(), base_page=base)
        assert urls(result) == ["https://shop.example/a"]
        ((_, fields),) = served.requests
        assert fields["host"] == "shop.example"
        assert fields["x-forwarded-proto"] == "https"


def test_only_http_and_https(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(
        "file:///etc/passwd\nftp://a.example/\nhttp://anna:swordfish@a.example/\nhttp://a.example/\n"
    )
    result = found(str(tmp_path / "list"))
    assert urls(result) == ["http://a.example/"]
    assert result.left_out == {sources.NOT_ASKED: 3}
    assert "swordfish" not in repr(result.examples)
    with pytest.raises(SourceError, match="no http or https"):
        found("ftp://a.example/sitemap.xml")


def test_an_index_that_leads_in_a_circle_ends() -> None:
    with site() as served:
        circle = f"{served.origin}/circle.xml"
        serve(served, "/circle.xml", index(circle))
        result = found(circle)
        assert result.pages == []
        assert len(served.requests) <= 2


def test_an_index_of_indexes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with site() as served:
        for number in range(10):
            serve(served, f"/{number}.xml", index(f"{served.origin}/{number + 1}.xml"))
        result = found(f"{served.origin}/0.xml")
        assert len(served.requests) == 3
        assert result.left_out == {sources.TOO_MANY: 1}
        monkeypatch.setattr(sources, "MAX_SITEMAPS", 1)
        serve(served, "/wide.xml", index(f"{served.origin}/a.xml", f"{served.origin}/b.xml"))
        serve(served, "/a.xml", sitemap(f"{served.origin}/page"))
        assert found(f"{served.origin}/wide.xml").left_out == {sources.TOO_MANY: 1}


def test_the_limit_cuts_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("".join(f"http://a.example/{number}\n" for number in range(10)))
    result = found(str(tmp_path / "list"), limit=3)
    assert len(result.pages) == 3
    assert result.is_cut
    assert not found(str(tmp_path / "list"), limit=10).is_cut


def test_a_sitemap_of_an_index_that_fails_is_left_out_and_told() -> None:
    with site() as served:
        serve(served, "/good.xml", sitemap(f"{served.origin}/a"))
        top = serve(served, "/sitemap.xml", index(f"{served.origin}/none.xml", f"{served.origin}/good.xml"))
        result = found(top)
        assert urls(result) == [f"{served.origin}/a"]
        assert result.left_out == {sources.UNREADABLE: 1}
        assert "404" in result.examples[sources.UNREADABLE][0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((404, {}, b""), "answered 404 Not Found"),
        ((302, {"Location": "http://127.0.0.1:1/secret"}, b""), "it is elsewhere.*name that address"),
        ((200, {}, b"<html></html>"), "its root is <html>"),
        ((200, {}, b"<!DOCTYPE html><html></html>"), "document type"),
    ],
)
def test_a_sitemap_that_is_none_says_why(answer: tuple[int, dict[str, str], bytes], why: str) -> None:
    with site({"/sitemap.xml": answer}) as served:
        with pytest.raises(SourceError, match=why):
            found(f"{served.origin}/sitemap.xml")
        assert len(served.requests) == 1, "redirects are not followed"


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.txt cannot be read: No such file"):
        found(str(tmp_path / "none.txt"))
