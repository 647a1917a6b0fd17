"""Request fields reduced to what a response can depend on: never two that need different responses to one value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.key import IGNORED_COOKIES
from django_wsgiperf.cache.normalise import (
    KNOWN_CODINGS,
    RAW_LANGUAGE,
    accept_encoding,
    choose_coding,
    codings,
    cookie_normaliser,
    cookie_value,
    normaliser_of,
    reads,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gzip, deflate, br, zstd", "br,deflate,gzip,zstd"),
        ("br;q=1.0, GZIP;q=0.8, *;q=0.1", "br,deflate,gzip,zstd"),
        ("gzip;q=0, br", "br"),
        ("x-gzip", "gzip"),
        ("*", "br,deflate,gzip,zstd"),
        ("*;q=0", "!identity"),
        ("identity;q=0, gzip", "gzip,!identity"),
        ("identity, *;q=0", ""),
        ("sdch", ""),
        ("gzip;q=2", ""),
        ("gzip;level=9", ""),
        ("", ""),
    ],
)
def test_accept_encoding_is_the_set_of_known_codings(value: str, expected: str) -> None:
    """RFC 9110, 12.5.3."""
    assert accept_encoding(value) == expected


@pytest.mark.parametrize(
    ("accepted", "encoding", "readable"),
    [
        (None, "gzip", True),
        ("gzip", "gzip", True),
        ("gzip;q=0", "gzip", False),
        ("br", "gzip", False),
        ("*", "X-GZip", True),
        ("br, gzip", "br, gzip", True),
        ("br", "br, gzip", False),
        ("", "identity", True),
    ],
)
def test_who_reads_an_encoding(accepted: str | None, encoding: str, readable: bool) -> None:
    assert reads(None if accepted is None else accept_encoding(accepted), encoding) is readable


@given(st.lists(st.sampled_from(["gzip", "br;q=0", "br", "*;q=0", "*", "identity;q=0", "zstd;q=0.5", "junk;;"])))
def test_requests_with_one_accept_encoding_can_read_the_same_codings(members: list[str]) -> None:
    normal = accept_encoding(", ".join(members))
    weights = codings(", ".join(members))
    for name in KNOWN_CODINGS:
        assert (name in normal.split(",")) == (weights.get(name, weights.get("*", 0.0)) > 0)


@pytest.mark.parametrize(
    ("value", "offered", "expected"),
    [
        ("gzip, br", ("br", "gzip"), "br"),
        ("gzip, br", ("gzip", "br"), "gzip"),
        ("gzip;q=1, br;q=0.5", ("br", "gzip"), "gzip"),
        ("deflate", ("br", "gzip"), "identity"),
        ("*", ("br", "gzip"), "br"),
        ("gzip;q=0.5, identity", ("gzip",), "identity"),
        ("gzip;q=0", ("gzip",), "identity"),
        ("identity;q=0", ("gzip",), "identity"),
        (None, ("gzip",), "identity"),
        ("", ("gzip",), "identity"),
    ],
)
def test_the_coding_that_is_sent(value: str | None, offered: tuple[str, ...], expected: str) -> None:
    """RFC 9110, 12.5.3."""
    assert choose_coding(value, offered) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("sessionid=1; _ga=GA1.2; theme=dark", "sessionid=1; theme=dark"),
        ("theme=dark; _ga_XY=1; sessionid=1", "sessionid=1; theme=dark"),
        ("_ga=1; _gid=2", None),
        ("", ""),
        (" ; ", ""),
        ("a=2; b=1; a=1", "a=2; a=1; b=1"),
        ("lonely", "lonely"),
        ("_ga", None),
        ("_gadget=1", None),
        ("my_ga=1", "my_ga=1"),
        ("a=_ga=1", "a=_ga=1"),
    ],
)
def test_significant_cookies(header: str, expected: str | None) -> None:
    assert cookie_normaliser(IGNORED_COOKIES)(header) == expected


def test_without_ignored_names_every_cookie_is_significant() -> None:
    assert cookie_normaliser(())("_ga=1; a=2") == "_ga=1; a=2"


Cookies = list[tuple[str, str]]
cookies = st.lists(st.tuples(st.sampled_from("abx"), st.text("=ab ", max_size=3)), max_size=4)


@given(cookies, st.data())
def test_cookie_fields_are_one_only_when_each_significant_cookie_is(pairs: Cookies, data: st.DataObject) -> None:
    others = data.draw(st.permutations(pairs) | cookies)
    normalise = cookie_normaliser(("x",))

    def meant(cookies: Cookies) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in cookies:
            if name != "x":
                found.setdefault(name, []).append(f"{name}={value}".strip())
        return found

    one, other = ("; ".join(f"{name}={value}" for name, value in some) for some in (pairs, others))
    if bool(pairs) == bool(others):
        assert (normalise(one) == normalise(other)) == (meant(pairs) == meant(others))


def test_a_cookie_is_found_by_its_whole_name() -> None:
    assert cookie_value("xlang=a; lang=b; lang = c ", "lang") == "c"
    assert cookie_value("xlang=a; lang", "lang") is None
    assert cookie_value("lang=", "lang") == ""


def test_only_fields_that_are_lists_have_their_blanks_changed() -> None:
    assert normaliser_of("accept")("a,b ,  c") == "a, b, c"
    assert normaliser_of("user-agent")(" a,b ,  c ") == "a,b ,  c"


def test_languages_are_one_in_any_case_and_differ_by_their_order() -> None:
    """RFC 9110, 12.5.4: of languages with one weight many take the first."""
    normalise = normaliser_of("accept-language")
    assert normalise("en-US,en;q=0.5") == normalise("EN-us , en;Q=0.5")
    assert normalise("de, en") != normalise("en, de")
    # A view that reads the field itself is told apart by all that it might see.
    assert normaliser_of(RAW_LANGUAGE)("en-US") != normaliser_of(RAW_LANGUAGE)("en-us")
