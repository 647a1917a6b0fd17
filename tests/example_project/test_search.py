"""Search: what matches, what comes first, and what strange input does."""

from __future__ import annotations

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop.models import Book
from shop.sample.factories import BookFactory
from shop.search import MAX_LENGTH, MAX_WORDS, matching, words_of

pytestmark = pytest.mark.django_db


def found(client: Client, text: str, **more: str) -> list[Book]:
    listing = client.get("/search/", {"q": text, **more}).context["listing"]
    return list(listing.page) if listing else []


def test_search_looks_at_title_subtitle_author_description_and_isbn(client: Client) -> None:
    book = BookFactory(
        title="Zyx One", subtitle="Zyx Two", author__name="Zyx Three", description="Zyx four.", isbn="9790000000001"
    )
    for text in ("zyx one", "ZYX TWO", "three zyx", "zyx four", "9790000000001"):
        assert found(client, text) == [book], text


def test_every_word_has_to_occur(client: Client) -> None:
    BookFactory(title="Zyx alone")
    assert found(client, "zyx absent") == []


def test_match_in_the_title_comes_before_one_in_the_text(client: Client) -> None:
    in_text = BookFactory(description="about zyx", rating_count=99)
    in_author = BookFactory(author__name="Ada Zyx", rating_count=50)
    in_title = BookFactory(title="The zyx")
    at_start = BookFactory(title="Zyx and more")
    exactly = BookFactory(title="Zyx")
    assert found(client, "zyx") == [exactly, at_start, in_title, in_author, in_text]
    assert found(client, "zyx", sort="title")[0] in (exactly, in_text, in_author)


def test_search_counts_facets_of_what_it_found(client: Client) -> None:
    BookFactory.create_batch(3, title="Zyx", format="hardback")
    BookFactory(title="Zyx", format="ebook")
    facets = client.get("/search/?q=zyx").context["listing"].facets
    formats = next(facet for facet in facets if facet.title == "Format")
    assert {choice.label: choice.count for choice in formats.choices} == {"Hardback": 3, "E-book": 1}


def test_search_without_words_asks_for_some(client: Client) -> None:
    for address in ("/search/", "/search/?q=", "/search/?q=%20%20"):
        response = client.get(address)
        assert response.status_code == 200
        assert response.context["listing"] is None


def test_wildcards_of_sql_are_ordinary_letters(client: Client) -> None:
    book = BookFactory(title="100% zyx_ware")
    assert found(client, "100%") == [book]
    assert found(client, "zyx_ware") == [book]
    assert found(client, "zyx%ware") == []


def test_query_is_shown_escaped(client: Client) -> None:
    text = client.get("/search/", {"q": '"><script>x</script>'}).text
    assert "<script>x" not in text


def test_long_query_is_cut() -> None:
    assert len(words_of("a " * 500)) == MAX_WORDS
    assert len("".join(words_of("x" * 500))) == MAX_LENGTH


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
def test_no_text_breaks_a_search(db: None, text: str) -> None:
    assert matching(words_of(text)).count() >= 0
