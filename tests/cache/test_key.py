"""Keys: one for what is the same, never one for what is not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from django_wsgiperf.cache.headers import parse_no_vary_search
from django_wsgiperf.cache.key import SPECIAL, KeyRules, Keys, is_plain
from django_wsgiperf.cache.messages import Request

texts = st.text("ab:,1/-", max_size=4)
names = st.sampled_from(["a", "ab", "accept-language", "cookie"])
nominated = st.lists(st.tuples(names, texts | st.none()), max_size=3).map(tuple)


def environ(**changes: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "wsgi.url_scheme": "https",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/books/",
        "QUERY_STRING": "page=2",
        "HTTP_HOST": "shop.example",
        "SERVER_NAME": "server",
        "SERVER_PORT": "8000",
        **changes,
    }


def cut(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(cuts), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


cuts = st.lists(st.integers(0, 12), min_size=4, max_size=4)


@given(st.text("a1:-,", max_size=12), cuts, cuts)
def test_one_text_cut_into_different_parts_has_different_keys(text: str, some: list[int], others: list[int]) -> None:
    keys = Keys(KeyRules(ignored_parameters=()))
    one, other = cut(text, some), cut(text, others)
    assert (keys.primary(*one) == keys.primary(*other)) == (one == other)
    pairs = [((part[0], part[1]), (part[2], part[3] + part[4])) for part in (one, other)]
    assert (keys.variant(b"p", pairs[0]) == keys.variant(b"p", pairs[1])) == (pairs[0] == pairs[1])


@given(nominated, nominated)
def test_variant_keys_are_one_only_for_the_same_values(
    one: tuple[tuple[str, str | None], ...], other: tuple[tuple[str, str | None], ...]
) -> None:
    """Absent and empty differ, and no value can pass for parts of two."""
    keys = Keys()
    assert (keys.variant(b"p", one) == keys.variant(b"p", other)) == (one == other)


@given(nominated)
def test_variants_of_different_addresses_differ(values: tuple[tuple[str, str | None], ...]) -> None:
    keys = Keys()
    assert keys.variant(b"p" * 20, values) != keys.variant(b"q" * 20, values)


def test_values_that_run_into_each_other_have_keys_of_their_own() -> None:
    keys, values = Keys(), ("a", "b")
    one = keys.values(values, environ(HTTP_A="x", HTTP_B="yz"))
    other = keys.values(values, environ(HTTP_A="xy", HTTP_B="z"))
    assert keys.variant(b"p", one) != keys.variant(b"p", other)


def test_an_absent_field_is_not_an_empty_one() -> None:
    keys = Keys()
    absent, empty = keys.values(("foo",), environ()), keys.values(("foo",), environ(HTTP_FOO=""))
    assert (absent, empty) == ((("foo", None),), (("foo", ""),))
    assert keys.variant(b"p", absent) != keys.variant(b"p", empty)


def test_long_addresses_and_values_have_keys_like_short_ones() -> None:
    """They are not remembered, but made each time."""
    keys, path, value = Keys(), "/" + "x" * 600, "v" * 600
    assert keys.primary("https", "h", path, "") == keys.primary("https", "h", path, "") != b""
    assert keys.primary("https", "h", path, "") != keys.primary("https", "h", path + "x", "")
    assert keys.variant(b"p", (("a", value),)) == keys.variant(b"p", (("a", value),))
    assert keys.variant(b"p", (("a", value),)) != keys.variant(b"p", (("a", value + "v"),))


def test_the_three_kinds_of_key_never_meet() -> None:
    keys = Keys()
    primary = keys.primary("https", "h", "/", "")
    assert len({primary, keys.address("https", "h", "/"), keys.variant(primary, (("a", None),))}) == 3
    assert keys.variant(primary, ()) == primary


@pytest.mark.parametrize(
    ("scheme", "host", "same"),
    [
        ("https", "SHOP.example", True),
        ("https", "shop.example:443", True),
        ("https", "shop.example:80", False),
        ("http", "shop.example:80", False),
        ("https", "shop.example:8443", False),
        ("https", "shop.example.", False),
    ],
)
def test_the_origin_is_scheme_host_and_port(scheme: str, host: str, same: bool) -> None:
    """RFC 9110, 4.2.3."""
    keys = Keys()
    assert (keys.primary(scheme, host, "/", "") == keys.primary("https", "shop.example", "/", "")) is same


def test_an_environ_and_a_request_of_it_have_one_key() -> None:
    keys = Keys(KeyRules(language=lambda path, cookie, accepted: f"{cookie}{accepted}", language_cookie="lang"))
    given_environ = environ(HTTP_ACCEPT_LANGUAGE="de", HTTP_COOKIE="lang=fr", CONTENT_TYPE="text/x")
    request = Request.from_environ(given_environ)
    assert keys.of_environ(given_environ) == keys.of_request(request)
    fields = ("accept-language", "content-type", "cookie", "x")
    assert keys.values(fields, given_environ) == keys.values_of(fields, request)


def test_a_trusted_proxy_decides_the_origin() -> None:
    keys = Keys()
    assert keys.of_environ(environ(), "http", "other.example") == keys.of_request(
        Request.from_environ(environ(), scheme="http", host="other.example")
    )
    assert keys.of_environ(environ(), "http", "other.example") != keys.of_environ(environ())


def test_without_a_host_field_the_server_is_the_host() -> None:
    bare = environ()
    del bare["HTTP_HOST"]
    assert Keys().of_environ(bare) == Keys().primary("https", "server:8000", "/books/", "page=2")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a=1&utm_source=x&b=2", "a=1&b=2"),
        ("utm_source", ""),
        ("gclid=1&a=1", "a=1"),
        ("my_gclid=1", "my_gclid=1"),
        ("a=utm_source=1", "a=utm_source=1"),
        ("b=1&a=2", "b=1&a=2"),
        ("UTM_source=1", "UTM_source=1"),
        ("utm%5Fsource=1", "utm%5Fsource=1"),
    ],
)
def test_ignored_parameters_leave_the_query(query: str, expected: str) -> None:
    assert Keys().normalise_query(query) == expected


def test_a_sorted_query_keeps_the_order_of_equal_names() -> None:
    keys = Keys(KeyRules(sort_query=True))
    assert keys.normalise_query("b=1&a=2&&a=1") == "a=2&a=1&b=1"


@given(st.text("ab=&", max_size=8), st.text("ab=&", max_size=8))
def test_a_sorted_query_is_the_same_only_for_the_same_parameters(one: str, other: str) -> None:
    keys = Keys(KeyRules(sort_query=True, ignored_parameters=()))

    def parameters(query: str) -> list[tuple[str, list[str]]]:
        parts = [part for part in query.split("&") if part]
        found = {part.partition("=")[0] for part in parts}
        return sorted((name, [part for part in parts if part.partition("=")[0] == name]) for name in found)

    assert (keys.normalise_query(one) == keys.normalise_query(other)) == (parameters(one) == parameters(other))


def test_the_language_that_the_application_will_choose_is_part_of_the_key() -> None:
    chosen: list[tuple[str, str | None, str | None]] = []

    def choose(path: str, cookie: str | None, accepted: str | None) -> str:
        chosen.append((path, cookie, accepted))
        return cookie or (accepted or "en")[:2]

    keys = Keys(KeyRules(language=choose, language_cookie="django_language"))
    german = keys.of_environ(environ(HTTP_ACCEPT_LANGUAGE="de, en"))
    assert german == keys.of_environ(environ(HTTP_ACCEPT_LANGUAGE="de;q=0.9"))
    assert german == keys.of_environ(environ(HTTP_ACCEPT_LANGUAGE="fr", HTTP_COOKIE="a=1; django_language=de"))
    assert german != keys.of_environ(environ(HTTP_ACCEPT_LANGUAGE="fr", HTTP_COOKIE="xdjango_language=de"))
    assert chosen[0] == ("/books/", None, "de, en")
    # So that Vary: Accept-Language makes no more variants of it.
    values = [keys.values(("accept-language",), environ(HTTP_ACCEPT_LANGUAGE=value)) for value in ("de", "fr")]
    assert values[0] == values[1]


def test_queries_that_no_vary_search_makes_one_have_one_key() -> None:
    keys, search = Keys(), parse_no_vary_search('params=("page")')
    one, other = (Request.from_environ(environ(QUERY_STRING=f"page={page}&id=1")) for page in (1, 2))
    assert keys.searched(one, search) == keys.searched(other, search)
    assert keys.of_request(one) != keys.of_request(other)
    assert keys.searched(one, search) != keys.of_request(Request.from_environ(environ(QUERY_STRING="id=1")))


@given(texts, texts)
def test_sites_that_share_a_store_share_no_key(one: str, other: str) -> None:
    assume(one != other)
    assert Keys(KeyRules(prefix=one)).of_environ(environ()) != Keys(KeyRules(prefix=other)).of_environ(environ())


def test_a_plain_request_is_one_without_anything_that_policy_must_look_at() -> None:
    assert is_plain(environ())
    assert is_plain(environ(CONTENT_LENGTH=""))
    assert not is_plain(environ(CONTENT_LENGTH="3"))
    assert not is_plain(environ(REQUEST_METHOD="HEAD"))
    for key in SPECIAL:
        assert not is_plain(environ(**{key: ""}))
