"""Header fields: what is understood, what is read as the stricter, and that nothing raises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import http_sf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_wsgiperf.cache.headers import (
    ANY_TAG,
    Directives,
    NoVarySearch,
    cache_status,
    format_date,
    parse_age,
    parse_cache_control,
    parse_date,
    parse_etag,
    parse_etags,
    parse_groups,
    parse_no_vary_search,
    parse_range,
    parse_targeted,
    parse_vary,
    split_list,
    strong_match,
    weak_match,
)
from django_wsgiperf.cache.headers.lists import MAX_SECONDS
from django_wsgiperf.cache.headers.memo import MAX_REMEMBERED_CHARS

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
PARSERS: list[Callable[[str | bytes], Any]] = [
    parse_cache_control,
    parse_targeted,
    parse_age,
    parse_vary,
    parse_etag,
    parse_etags,
    parse_range,
    parse_groups,
    parse_no_vary_search,
    split_list,
    lambda value: parse_date(value, NOW),
]
# Pieces that mean something to one parser or another, in any order.
PIECES = st.lists(
    st.sampled_from(
        [
            '"',
            "\\",
            ",",
            ";",
            "=",
            "*",
            "W/",
            "bytes=",
            "-",
            "0",
            "9999999999999999",
            "(",
            ")",
            ":",
            "?1",
            "%",
            "a",
            "ÿ",
            "\x00",
        ]
    )
    | st.sampled_from(["max-age", "no-store", "private", "no-cache", "public", "key-order", "params", "except"])
    | st.sampled_from(" \t"),
    max_size=12,
).map("".join)


@given(PIECES | st.text() | st.binary())
@example("9" * 5000)
@example("max-age=" + "9" * 5000)
@example("(" * 5000)
@example('"' * 3000)
@example("x=" + "\\" * 3000)
@example("Thu, 99 Aug 2050 99:99:99 GMT")
def test_every_parser_gives_a_value_for_anything(value: str | bytes) -> None:
    for parse in PARSERS:
        hash(parse(value))


@given(PIECES)
def test_octets_and_text_parse_alike(value: str) -> None:
    for parse in PARSERS:
        assert parse(value) == parse(value.encode("latin-1"))


def test_long_texts_parse_like_short_ones_but_are_not_remembered() -> None:
    padding = ", ".join(["extension"] * (MAX_REMEMBERED_CHARS // 8))
    assert parse_cache_control(f"{padding}, max-age=7").max_age == 7
    assert parse_cache_control("max-age=7") is parse_cache_control("max-age=7")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=3600", Directives(max_age=3600)),
        ("MaX-aGe=3600", Directives(max_age=3600)),  # names know no case: RFC 9111, 5.2
        ('max-age="3600"', Directives(max_age=3600)),  # both forms are to be read: 5.2
        ('max-age="\\36\\00"', Directives(max_age=3600)),  # quoted pairs: RFC 9110, 5.6.4
        ("max-age=003600", Directives(max_age=3600)),
        ("max-age=2147483648", Directives(max_age=MAX_SECONDS)),
        ("max-age=99999999999", Directives(max_age=MAX_SECONDS)),  # 1.2.2
        ("max-age=" + "0" * 50 + "5", Directives(max_age=5)),
        ("foobar, max-age=3600", Directives(max_age=3600)),  # unknown directives: 5.2.3
        ("foobar=3, max-age=3600", Directives(max_age=3600)),
        ('extension="max-age=3600", max-age=1', Directives(max_age=1)),
        ('max-age=1, extension="max-age=3600"', Directives(max_age=1)),
        ('extension="a\\"b, no-store", max-age=1', Directives(max_age=1)),
        ("s-maxage=10, max-age=3600", Directives(max_age=3600, s_maxage=10, shareable=True)),
        ("x-private-hint=1, max-age=5", Directives(max_age=5)),
        (",, ,max-age=5 ,", Directives(max_age=5)),
        ("max-age=1800, max-age=1", Directives(max_age=1)),  # of several the stricter: 4.2.1
        ("max-age=1, max-age=1800", Directives(max_age=1)),
        ("max-age=a3600", Directives(max_age=0)),  # what is no number leaves no lifetime: 4.2.1
        ("max-age=3600a", Directives(max_age=0)),
        ("max-age=-100", Directives(max_age=0)),
        ("max-age='3600'", Directives(max_age=0)),
        ("max-age=3600.0", Directives(max_age=0)),
        ("max-age =3600", Directives(max_age=0)),
        ("Max-Age =3600", Directives(max_age=0)),
        ("max-age= 3600", Directives(max_age=0)),
        ("max-age=", Directives(max_age=0)),
        ("max-age", Directives(max_age=0)),
        ("max-age=3600, max-age=x", Directives(max_age=0)),
        ("max-age=٣", Directives(max_age=0)),  # digits of ASCII only
        ('private="a, B"', Directives(private_fields=("a", "b"))),  # 5.2.2.7
        ("private=a", Directives(private_fields=("a",))),
        ('private, private="a"', Directives(private=True, private_fields=("a",))),
        ('private=""', Directives(private=True)),
        ('private="a b"', Directives(private=True)),
        ("private =a", Directives(private=True)),
        ('no-cache="set-cookie", no-cache="x"', Directives(no_cache_fields=("set-cookie", "x"))),  # 5.2.2.4
        ("no-store=oddly", Directives(no_store=True)),
        ("Public", Directives(public=True, shareable=True)),
        ("public=oddly", Directives()),
        ("must-revalidate", Directives(must_revalidate=True, shareable=True)),
        ("proxy-revalidate", Directives(proxy_revalidate=True)),
        ("stale-while-revalidate=5, stale-if-error=6", Directives(stale_while_revalidate=5, stale_if_error=6)),
        ("no-transform, must-understand", Directives(no_transform=True, must_understand=True)),
        ("max-stale", Directives(max_stale=MAX_SECONDS)),  # 5.2.1.2
        ("max-stale=5, max-stale", Directives(max_stale=5)),
        ("min-fresh=5, min-fresh=9", Directives(min_fresh=9)),
        ("only-if-cached", Directives(only_if_cached=True)),
    ],
)
def test_cache_control(value: str, expected: Directives) -> None:
    assert parse_cache_control(value) == expected


@pytest.mark.parametrize("value", ['x="abc, private, max-age=60', 'a"b, private, max-age=60', 'max-age= "1, private"'])
def test_a_quote_out_of_place_hides_no_prohibition_and_grants_no_lifetime(value: str) -> None:
    directives = parse_cache_control(f"{value}, public, stale-while-revalidate=9, must-understand")
    assert directives.private
    assert (directives.max_age, directives.s_maxage, directives.stale_while_revalidate) == (0, 0, 0)
    assert not directives.must_understand
    assert not directives.shareable


RESTRICTIONS = ("no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate", "no-transform")
PERMISSIONS = [
    "public",
    "max-age=60",
    "max-age=5",
    "s-maxage=70",
    "s-maxage=3",
    "stale-while-revalidate=9",
    "stale-if-error=8",
]
ODDITIES = ["max-age=x", 'private="a"', 'no-cache="a"', "must-understand", "odd", 'odd="private"']
DIRECTIVES = st.lists(st.sampled_from([*RESTRICTIONS, *PERMISSIONS, *ODDITIES]), max_size=8)


@given(DIRECTIVES, DIRECTIVES)
def test_more_directives_never_lift_a_restriction_nor_lengthen_a_span(some: list[str], more: list[str]) -> None:
    fewer, all_of_them = parse_cache_control(", ".join(some)), parse_cache_control(", ".join([*some, *more]))
    for name in RESTRICTIONS:
        attribute = name.replace("-", "_")
        assert getattr(all_of_them, attribute) >= getattr(fewer, attribute)
    for attribute in ("max_age", "s_maxage", "stale_while_revalidate", "stale_if_error"):
        if getattr(fewer, attribute) is not None:
            assert getattr(all_of_them, attribute) <= getattr(fewer, attribute)


@given(DIRECTIVES, st.randoms())
def test_the_order_of_directives_does_not_matter(members: list[str], random: Any) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)
    assert parse_cache_control(", ".join(members)) == parse_cache_control(",".join(shuffled))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=3600", Directives(max_age=3600)),
        ("max-age=60, no-store, foobar", Directives(max_age=60, no_store=True)),
        ("foobar, max-age=60;parameter=1", Directives(max_age=60)),
        ("none", Directives()),
        ('private="a, b"', Directives(private_fields=("a", "b"))),
        ("max-age=99999999999", Directives(max_age=MAX_SECONDS)),
        ("max-age=1.5", Directives(max_age=0)),  # never coerced: RFC 9213, 2.1
        ('max-age="3600"', Directives(max_age=0)),
        ('no-cache=("a" "b")', Directives(no_cache=True)),
        ("max-age =100", None),  # what fails to parse is not there: RFC 9213, 2.1
        ("max-age= 100", None),
        ("MaX-aGe=3600", None),
        ("max-age=10000, &&&&&", None),
        ("", None),
        (" ", None),
    ],
)
def test_targeted_fields_are_structured_dictionaries(value: str, expected: Directives | None) -> None:
    assert parse_targeted(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("60", 60),
        (" 60 ", 60),
        ("7200,0", 7200),
        ("0, 7200", 0),
        ("abc", None),
        ("-7", None),
        ("7.0", None),
        ("", None),
    ],
)
def test_age_is_the_first_member_or_nothing(value: str, expected: int | None) -> None:
    """RFC 9111, 5.1."""
    assert parse_age(value) == expected


@pytest.mark.parametrize("value", ["*", "*, *", ", *", "*, Foo", "Foo, *", "Foo Bar", "Foo;q=1", '"foo"'])
def test_vary_with_a_star_or_what_is_no_name_means_everything(value: str) -> None:
    """RFC 9110, 12.5.5."""
    assert parse_vary(value) == ("*",)


def test_vary_is_a_sorted_set_of_names_in_lower_case() -> None:
    assert parse_vary("Foo , bar,\tFOO,,") == ("bar", "foo")
    assert parse_vary("") == ()


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "SUN, 06 nov 1994 08:49:37 gmt",  # any case: RFC 9111, 4.2
        "Sun, 06 Nov 1994 08:49:37 UTC",
        " Sun, 06 Nov 1994 08:49:37 GMT ",
    ],
)
def test_dates_in_all_formats(value: str) -> None:
    """RFC 9110, 5.6.7."""
    assert parse_date(value, NOW) == 784111777.0


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "",
        "-1",
        "Sun, 06 Nov 1994 08:49:37 PST",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov  1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "784111777",
    ],
)
def test_what_is_no_date_is_none(value: str) -> None:
    assert parse_date(value, NOW) is None


@pytest.mark.parametrize(("year", "expected"), [("26", 2026), ("76", 2076), ("77", 1977), ("99", 1999), ("00", 2000)])
def test_two_digits_of_a_year_are_at_most_fifty_years_ahead(year: str, expected: int) -> None:
    """RFC 9110, 5.6.7."""
    stamp = parse_date(f"Sunday, 06-Nov-{year} 08:49:37 GMT", NOW)
    assert stamp == datetime(expected, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()


@given(st.integers(0, 253402300799), st.sampled_from([0.0, 0.25, 0.75]))
def test_dates_survive_writing_and_reading(seconds: int, fraction: float) -> None:
    assert parse_date(format_date(seconds + fraction), NOW) == seconds


def test_a_leap_second_is_a_time() -> None:
    assert parse_date("Sat, 31 Dec 2016 23:59:60 GMT", NOW) == parse_date("Sat, 31 Dec 2016 23:59:59 GMT", NOW)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"abcdef"', '"abcdef"'),
        ('W/"abcdef"', 'W/"abcdef"'),
        ('"abcdef\xfc"', '"abcdef\xfc"'),
        ('""', '""'),
        ("abcdef", None),
        ('w/"abcdef"', None),
        ('W\\"abcdef"', None),
        ('W"abcdef"', None),
        ('"a"b"', None),
        ('"a b"', None),
    ],
)
def test_entity_tags(value: str, expected: str | None) -> None:
    """RFC 9110, 8.8.3."""
    assert parse_etag(value) == expected


def test_lists_of_entity_tags_leave_out_what_is_none() -> None:
    assert parse_etags('"a", W/"b" ,junk, "c,d"') == ('"a"', 'W/"b"', '"c,d"')
    assert parse_etags(" * ") == ANY_TAG
    assert parse_etags('*, "a"') == ('"a"',)


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ],
)
def test_entity_tags_compare_as_the_standards_table(one: str, other: str, strong: bool, weak: bool) -> None:
    """RFC 9110, 8.8.3.2."""
    assert (strong_match(one, other), weak_match(one, other)) == (strong, weak)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-1", ((0, 1),)),
        ("Bytes=1-", ((1, None),)),
        ("bytes=-5", ((None, 5),)),
        ("bytes= 0-0 , -1", ((0, 0), (None, 1))),
        ("bytes=5-1", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("bytes=0-1, x", None),
        ("lines=0-1", None),
        ("0-1", None),
        ("bytes=0-" + "9" * 30, None),
    ],
)
def test_ranges(value: str, expected: object) -> None:
    """RFC 9110, 14.1.2 and 14.2."""
    assert parse_range(value) == expected


def test_groups_are_strings_in_a_list() -> None:
    """RFC 9875, 2."""
    assert parse_groups('"a", "b";x=1, token, 3, "a"') == ("a", "b")
    assert parse_groups('"a", &') == ()
    many = ", ".join(f'"{str(number).rjust(300, "x")}"' for number in range(1000))
    assert len(parse_groups(many)) == 1000, "what is left out could not be purged"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("key-order", NoVarySearch(key_order=True)),
        ("key-order=?0", NoVarySearch()),
        ('params=("a" "b")', NoVarySearch(ignored=frozenset([b"a", b"b"]))),
        ('params=("%C3%A9+%E6%B0%97")', NoVarySearch(ignored=frozenset(["é 気".encode()]))),
        ('except=("x"), key-order', NoVarySearch(key_order=True, only=frozenset([b"x"]))),
        ("except=()", NoVarySearch(only=frozenset())),
        ("unknown-key", NoVarySearch()),
        ('key-order="no boolean"', NoVarySearch()),
        ('params="no list"', NoVarySearch()),
        ("params=(not-a-string)", NoVarySearch()),
        ('params=("a" b)', NoVarySearch()),
        ('params=("a"), except=("x")', NoVarySearch()),
        ("params", NoVarySearch()),
        ("except=?1", NoVarySearch()),
        ('params=("a"', NoVarySearch()),
    ],
)
def test_no_vary_search(value: str, expected: NoVarySearch) -> None:
    assert parse_no_vary_search(value) == expected


def test_queries_that_differ_in_nothing_that_matters_are_one() -> None:
    search = parse_no_vary_search('key-order, params=("u t")')
    assert search.normalise("a=1&u%20t=3&b=2") == search.normalise("&b=2&a=%31&u+t") != search.normalise("a=1&b=3")
    assert search.normalise("a=1&a=2") != search.normalise("a=2&a=1"), "the order of equal names matters"
    only = parse_no_vary_search('except=("id")')
    assert only.normalise("id=7&x=1") == only.normalise("id=7") != only.normalise("")
    assert NoVarySearch().normalise("a=%31&&") == "a=%31&&", "by default each character matters"


@given(st.lists(st.tuples(st.text("a=&:1", max_size=3), st.text("a=&:1", max_size=3)), max_size=3), st.data())
def test_normalised_queries_are_the_same_only_for_the_same_parameters(pairs: list[tuple[str, str]], data: Any) -> None:
    others = data.draw(st.just(pairs) | st.lists(st.tuples(st.text("a=&:1", max_size=3), st.text("a1:", max_size=3))))
    search = NoVarySearch(ignored=frozenset([b"ignored"]))

    def encode(parameters: list[tuple[str, str]]) -> str:
        return "&".join(
            "=".join("".join(f"%{ord(character):02x}" for character in part) for part in pair) for pair in parameters
        )

    same = search.normalise(encode(pairs)) == search.normalise(encode(others))
    assert same == (encode(pairs).split("&") == encode(others).split("&") or pairs == others)


def test_cache_status_of_a_hit_and_of_a_miss() -> None:
    """RFC 9211, 2."""
    assert cache_status("wsgiperf", hit=True, ttl=12, detail="memory") == "wsgiperf; hit; ttl=12; detail=memory"
    status = cache_status("wsgiperf", fwd="miss", fwd_status=200, stored=True, collapsed=True, key="k")
    assert status == 'wsgiperf; fwd=miss; fwd-status=200; stored; collapsed; key="k"'
    assert cache_status("wsgiperf", hit=True, fwd="stale", ttl=-3) == "wsgiperf; hit; ttl=-3", "never both"


@given(st.text(), st.text(), st.integers())
def test_cache_status_is_a_structured_list_whatever_it_is_given(name: str, text: str, ttl: int) -> None:
    value = cache_status(name, fwd=text, ttl=ttl, key=text, detail=text)
    ((_, parameters),) = http_sf.parse(value.encode("ascii"), tltype="list")
    assert {"fwd", "ttl", "key", "detail"} == set(parameters)
