"""CSV out, streamed and from a file; CSV in, with everything that can be wrong with it."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from shop.exports import FRESH_S, HEADINGS, fresh_file
from shop.models import Book
from shop.stocktaking import MAX_BYTES, MAX_LINES, MAX_PROBLEMS, BadStockListError, parse

from .conftest import BOOKS
from .markup import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def clerk(client: Client, reader: User) -> Client:
    """A browser of somebody who may change the stock."""
    reader.user_permissions.add(Permission.objects.get(codename="change_book"))
    client.force_login(reader)
    return client


def upload(client: Client, content: bytes, name: str = "stock.csv", kind: str = "text/csv", **more: Any) -> Any:
    return client.post("/stock/upload/", {"file": SimpleUploadedFile(name, content, kind)}, **more)


def table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def test_streamed_catalogue_has_every_book(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        response = client.get("/catalogue-now.csv")
        content = b"".join(response.streaming_content)
    headings, *rows = table(content)
    assert headings == list(HEADINGS)
    assert len(rows) == BOOKS
    assert 'filename="catalogue-now.csv"' in response.headers["Content-Disposition"]


def test_catalogue_file_is_the_same_and_has_a_length(client: Client) -> None:
    response = client.get("/catalogue.csv")
    content = b"".join(response.streaming_content)
    assert content == b"".join(client.get("/catalogue-now.csv").streaming_content)
    assert response.headers["Content-Length"] == str(len(content))
    assert response.headers["Content-Type"].startswith("text/csv")


def test_catalogue_file_is_written_once_until_it_is_old(tmp_path: Path, django_assert_num_queries: Any) -> None:
    path = fresh_file(tmp_path)
    with django_assert_num_queries(0):
        assert fresh_file(tmp_path) == path
    old = path.stat().st_mtime - FRESH_S - 1
    os.utime(path, (old, old))
    with django_assert_num_queries(1):
        fresh_file(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["catalogue.csv"]


def test_uploaded_stock_is_taken(clerk: Client, book: Book) -> None:
    other = Book.objects.exclude(pk=book.pk)[0]
    content = f"isbn,stock\n{book.isbn},777\n{other.isbn},{other.stock}\n"
    response = upload(clerk, content.encode(), follow=True)
    assert "The stock of 1 books was changed." in response.text
    book.refresh_from_db()
    assert book.stock == 777


def test_own_export_can_be_uploaded_again(clerk: Client) -> None:
    content = b"".join(clerk.get("/catalogue-now.csv").streaming_content)
    assert "The stock of 0 books was changed." in upload(clerk, content, follow=True).text


def test_upload_of_a_spreadsheet_s_csv_is_taken(clerk: Client, book: Book) -> None:
    content = b"\xef\xbb\xbfTitle, ISBN ,Stock\r\n" + f"x,{book.isbn[:3]}-{book.isbn[3:]}, 5 \r\n".encode()
    assert upload(clerk, content, kind="application/vnd.ms-excel").status_code == 302


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"isbn,stock\n", "no books below"),
        (b"isbn\n9780010000000\n", "no column “stock”"),
        (b"a;b\n1;2\n", "no column “isbn” (found: a;b)"),
        (b"isbn,stock\n123,1\n", "Line 2: “123” is not an ISBN"),
        (b"isbn,stock\n9780010000000,-1\n", "Line 2: “-1” is not a number of copies"),
        (b"isbn,stock\n9780010000000,1.5\n", "“1.5” is not a number"),
        (b"isbn,stock\n9780010000000,9999999\n", "“9999999” is not a number"),
        (b"isbn,stock\n9780010000000\n", "“” is not a number"),
        (b"isbn,stock\n9780010000000,1\n9780010000000,2\n", "Line 3: 9780010000000 stands in the file twice"),
        (b"isbn,stock\n9789999999999,1\n", "9789999999999 is not a book of this shop"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"isbn,stock\n\x00,1\n", "binary data"),
        (b"", "empty"),
    ],
)
def test_bad_stock_list_is_refused_with_its_reason(clerk: Client, content: bytes, says: str) -> None:
    response = upload(clerk, content)
    assert response.status_code == 400
    assert says in response.text
    assert Page(response.text).problems == []


def test_one_bad_line_changes_nothing(clerk: Client, book: Book) -> None:
    upload(clerk, f"isbn,stock\n{book.isbn},777\n9789999999999,1\n".encode())
    before = book.stock
    book.refresh_from_db()
    assert book.stock == before


def test_file_of_another_kind_is_refused(clerk: Client) -> None:
    assert "csv" in upload(clerk, b"isbn,stock\n", name="stock.pdf").context["form"].errors["file"][0]
    assert "not CSV" in upload(clerk, b"isbn,stock\n", kind="image/png").text


def test_file_that_is_too_large_is_refused_unread(clerk: Client) -> None:
    response = upload(clerk, b"x" * (MAX_BYTES + 1))
    assert response.status_code == 400
    assert "at most 1.0" in response.text


def test_endless_lists_and_endless_problems_end() -> None:
    lines = b"".join(b"978%010d,1\n" % number for number in range(MAX_LINES + 5))
    with pytest.raises(BadStockListError, match="more than"):
        parse(b"isbn,stock\n" + lines)
    with pytest.raises(BadStockListError) as caught:
        parse(b"isbn,stock\n" + b"x,y\n" * 1000)
    assert len(caught.value.problems) == MAX_PROBLEMS + 1


def test_upload_is_for_those_who_may(client: Client, reader: User) -> None:
    assert client.get("/stock/upload/").headers["Location"].startswith("/account/login/")
    client.force_login(reader)
    response = client.get("/stock/upload/")
    assert response.status_code == 403
    assert Page(response.text).problems == []


def test_upload_page_is_sound_html(clerk: Client) -> None:
    assert Page(clerk.get("/stock/upload/").text).problems == []
    assert clerk.post("/stock/upload/").status_code == 400
