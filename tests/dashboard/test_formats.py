"""Numbers, durations, sizes and times in words: rounded, with units, in the language of the request."""

from __future__ import annotations

import math
import sys

import pytest
from django.test import override_settings
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.dashboard import formats

SHOWN = (formats.number, formats.short, formats.duration, formats.size, formats.share, formats.rate, formats.moment)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (4.3e-7, "0.43 µs"),
        (0.00043, "430 µs"),
        (0.0009996, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.345, "345 ms"),
        (0.9996, "1.00 s"),
        (1.234, "1.23 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (11_040, "3 h 4 min"),
        (183_600, "2 d 3 h"),
        (-5, "0 ms"),
    ],
)
def test_duration_has_three_digits_and_the_unit_that_fits(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3, "3"), (0.25, "0.25"), (4.5, "4.50"), (12.34, "12.3"), (1234, "1,234"), (5_670_000, "5.67 M")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert formats.short(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0%"), (0.0025, "0.25%"), (0.125, "12.5%"), (1, "100%"), (1e-6, "0.0001%")]
)
def test_shares(value: float, text: str) -> None:
    assert formats.share(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(512, "512 B"), (1536, "1.50 KiB"), (12 << 20, "12 MiB"), (3 << 40, "3 TiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (1.5, 1.0, "+50%"),
        (0.5, 1.0, "\N{MINUS SIGN}50%"),
        (1.001, 1.0, "±0%"),
        (20.0, 1.0, "\N{MULTIPLICATION SIGN}20"),
        (1.0, 0, ""),
        (None, 1.0, ""),
        (1.0, None, ""),
    ],
)
def test_changes(now: float | None, before: float | None, text: str) -> None:
    assert formats.change(now, before) == text


def test_separators_are_those_of_the_language() -> None:
    with translation.override("de"):
        assert formats.number(1234.5, 1) == "1.234,5"
        assert formats.duration(0.0123) == "12,3 ms"


def test_times_are_in_the_current_time_zone() -> None:
    with timezone.override("Asia/Tokyo"):
        assert formats.moment(0) == "09:00"
        assert formats.moment(0, day=True, seconds=True) == "1 Jan 09:00:00"
    assert formats.iso(0) == "1970-01-01T00:00:00+00:00"


@override_settings(TIME_ZONE="UTC")
def test_times_that_cannot_be_are_a_dash() -> None:
    assert formats.moment(1e20) == formats.NOTHING
    assert formats.iso(1e20) == ""


@pytest.mark.parametrize("show", SHOWN)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_dash(show: object, value: float | None) -> None:
    assert show(value) == formats.NOTHING  # type: ignore[operator]


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(SHOWN))
def test_every_number_is_shown_and_short(value: float, show: object) -> None:
    text = show(value)  # type: ignore[operator]
    assert text
    if abs(value) < 1e12:
        assert len(text) <= 24


def test_calls_of_a_stack_are_shown_from_the_folder_of_their_package_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/srv", "/srv/shop", "/usr/lib/python3"])
    assert formats.frame("/srv/shop/views.py:12 in page") == "views.py:12 in page"
    assert formats.frame("/srv/other/views.py:12 in page") == "other/views.py:12 in page"
    assert formats.frame("/opt/else.py:1 in f") == "/opt/else.py:1 in f"
