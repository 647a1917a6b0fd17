"""Text for terminals: numbers for people, columns that fit, and nothing that steers the terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.management.wsgiperf._terminal import Bar, count, cut, printable, share, size, span, table


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (10_000, "9.8 KiB"),
        (500_000, "488 KiB"),
        (67_108_864, "64 MiB"),
        (5 * 1024**4, "5 TiB"),
        (5 * 1024**5, "5120 TiB"),
    ],
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (9.96, "10.0 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (100_000, "1 d 3 h"),
        (-200, "-3 min 20 s"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_shares_and_counts() -> None:
    assert share(1, 3) == "33.3 %"
    assert share(1, 0) == "-"
    assert count(1, "page") == "1 page"
    assert count(1200, "page") == "1,200 pages"
    assert count(2, "entry", "entries") == "2 entries"


@given(st.text(max_size=50), st.integers(0, 60))
def test_what_is_cut_fits_and_keeps_both_ends(text: str, most: int) -> None:
    shown = cut(text, most)
    assert len(shown) <= most
    if len(text) <= most:
        assert shown == text
    elif most >= 5:
        assert shown[0] == text[0]
        assert shown[-1] == text[-1]


@given(st.text(max_size=50))
def test_nothing_that_steers_a_terminal_is_printed(text: str) -> None:
    shown = printable(text + "\x1b[31m\r\n")
    assert shown.isprintable()
    assert len(shown) == len(text) + 7


def test_columns_are_aligned_and_the_last_is_cut_to_fit() -> None:
    text = table(
        ("size", "what"), [("9 B", "short"), ("1,200 B", "/a/very/long/address/of/a/page/")], right=(0,), widest=32
    )
    assert text.splitlines() == [
        "     size  what",
        "      9 B  short",
        "  1,200 B  /a/very/lo…of/a/page/",
    ]
    assert max(map(len, text.splitlines())) <= 32


def test_the_bar_is_drawn_in_place_and_taken_away() -> None:
    stream, now_s = Terminal(), [0.0]
    bar = Bar(stream, 200, clock=lambda: now_s[0])
    now_s[0] = 10.0
    bar.draw(50)
    lines = stream.getvalue().split("\r\x1b[2K")
    assert "25 %" in lines[-1]
    assert "50/200  5/s  30 s left" in lines[-1]
    now_s[0] = 10.01
    bar.draw(51)
    assert stream.getvalue().count("\r") == 1, "not drawn again at once"
    bar.draw(200, "3 failed")
    assert "100 %  200/200  20/s  3 failed" in stream.getvalue()
    assert "\n" not in stream.getvalue()
    bar.clear()
    assert stream.getvalue().endswith("\r\x1b[2K")


def test_the_bar_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    Bar(stream, 1000).draw(500, "a long note on what has failed so far")
    assert len(stream.getvalue().removeprefix("\r\x1b[2K")) < 30


@pytest.mark.parametrize(("stream", "total"), [(io.StringIO(), 10), (Terminal(), 0)])
def test_no_bar_without_a_terminal_or_without_work(stream: io.StringIO, total: int) -> None:
    bar = Bar(stream, total)
    bar.draw(5)
    bar.clear()
    assert stream.getvalue() == ""
