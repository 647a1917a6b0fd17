"""Conditions and ranges answered from a stored response (RFC 9110, 13 and 14; RFC 9111, 4.3.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.policy import Answer, answer
from django_wsgiperf.cache.policy.conditional import select_range

from .exchanges import NOW, date, request

Headers = tuple[tuple[str, str], ...]

BODY = b"0123456789A"
ETAG = '"abcdef"'
MODIFIED = date(-5000)
HEAD = (
    ("Content-Type", "text/html"),
    ("Content-Length", str(len(BODY))),
    ("Date", date()),
    ("ETag", ETAG),
    ("Last-Modified", MODIFIED),
    ("Cache-Control", "max-age=60"),
    ("Vary", "Accept"),
)


def ask(
    method: str = "GET", *, head: Headers = HEAD, status: int = 200, size: int = len(BODY), **fields: str
) -> Answer:
    return answer(request(method, **fields), status, head, size, NOW)


def without(*names: str) -> Headers:
    return tuple(pair for pair in HEAD if pair[0] not in names)


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        (ETAG, 304),
        (f"W/{ETAG}", 304),  # compared weakly: RFC 9110, 13.1.2
        (f'{ETAG}, "1234"', 304),
        (f'"1234", {ETAG}, "5678"', 304),
        ("*", 304),
        ('"1234"', 200),
        ("abcdef", 200),
        ('w/"abcdef"', 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match(tags: str, status: int, method: str) -> None:
    """RFC 9111, 4.3.2."""
    assert ask(method, if_none_match=tags).status == status


def test_if_none_match_goes_before_if_modified_since() -> None:
    """RFC 9110, 13.2.2."""
    assert ask(if_none_match=ETAG, if_modified_since=date(-9999)).status == 304
    assert ask(if_none_match='"other"', if_modified_since=date()).status == 200


@pytest.mark.parametrize(
    ("since", "status"),
    [(MODIFIED, 304), (date(-4999), 304), (date(-5001), 200), ("yesterday", 200), ("", 200)],
)
def test_if_modified_since(since: str, status: int) -> None:
    """RFC 9110, 13.1.3."""
    assert ask(if_modified_since=since).status == status


def test_without_last_modified_the_date_or_the_arrival_count() -> None:
    """RFC 9111, 4.3.2."""
    for head in (without("Last-Modified"), without("Last-Modified", "Date")):
        assert ask(head=head, if_modified_since=date()).status == 304
        assert ask(head=head, if_modified_since=date(-1)).status == 200


def test_a_304_has_what_the_200_would_have_but_for_its_body() -> None:
    """RFC 9110, 15.4.5."""
    sent = ask(if_none_match=ETAG)
    assert sent.headers == without("Content-Type", "Content-Length")
    assert (sent.first, sent.end) == (0, 0)


@pytest.mark.parametrize("status", [204, 301, 404, 500])
def test_conditions_and_ranges_count_for_a_200_only(status: int) -> None:
    """RFC 9110, 13.2.1."""
    assert ask(status=status, if_none_match=ETAG, range="bytes=0-1") == Answer(status, HEAD)


@pytest.mark.parametrize(
    ("wanted", "text", "described"),
    [
        ("bytes=0-1", b"01", "bytes 0-1/11"),
        ("bytes=1-", b"123456789A", "bytes 1-10/11"),
        ("bytes=-1", b"A", "bytes 10-10/11"),
        ("bytes=-99", BODY, "bytes 0-10/11"),
        ("bytes=10-99", b"A", "bytes 10-10/11"),
    ],
)
def test_single_ranges(wanted: str, text: bytes, described: str) -> None:
    """RFC 9110, 14.1.2 and 15.3.7."""
    sent = ask(range=wanted)
    found = dict(sent.headers)
    assert (sent.status, BODY[sent.first : sent.end]) == (206, text)
    assert (found["Content-Range"], found["Content-Length"]) == (described, str(len(text)))
    assert {"Date", "ETag", "Cache-Control", "Vary", "Content-Type"} <= set(found)
    assert len(found) == len(sent.headers)


@pytest.mark.parametrize("wanted", ["bytes=11-", "bytes=11-12", "bytes=-0"])
def test_ranges_outside_the_body(wanted: str) -> None:
    """RFC 9110, 15.5.17."""
    sent = ask(range=wanted)
    assert (sent.status, sent.first, sent.end) == (416, 0, 0)
    found = dict(sent.headers)
    assert (found["Content-Range"], found["Content-Length"], found.get("Content-Type")) == ("bytes */11", "0", None)


@pytest.mark.parametrize("wanted", ["bytes=0-1,3-4", "bytes=5-1", "lines=0-1", "bytes", "bytes=0-1,x"])
def test_several_ranges_and_malformed_ones_get_everything(wanted: str) -> None:
    """RFC 9110, 14.2."""
    assert ask(range=wanted) == Answer(200, HEAD)


def test_ranges_are_of_get_alone_and_only_where_there_are_ranges() -> None:
    """RFC 9110, 14.2 and 14.3."""
    assert ask("HEAD", range="bytes=0-1").status == 200
    assert ask(head=(*HEAD, ("Accept-Ranges", "None")), range="bytes=0-1").status == 200


def test_an_empty_body_has_no_ranges() -> None:
    assert ask(size=0, range="bytes=-5").status == 200
    assert ask(size=0, range="bytes=0-").status == 416


def test_a_condition_goes_before_a_range() -> None:
    """RFC 9110, 13.2.2."""
    assert ask(if_none_match=ETAG, range="bytes=0-1").status == 304
    assert ask(if_none_match='"other"', range="bytes=0-1").status == 206


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (ETAG, 206),
        (f"W/{ETAG}", 200),  # compared strongly: RFC 9110, 13.1.5
        ('"other"', 200),
        (MODIFIED, 206),
        (date(-4999), 200),  # exactly, not since
        ("junk", 200),
    ],
)
def test_if_range(if_range: str, status: int) -> None:
    """RFC 9110, 13.1.5."""
    assert ask(range="bytes=0-1", if_range=if_range).status == status
    assert ask(if_range=if_range) == Answer(200, HEAD), "nothing without a Range"


def test_weak_validators_put_no_parts_together() -> None:
    """RFC 9110, 13.1.5 and 8.8.2.2."""
    weak = (*without("ETag"), ("ETag", f"W/{ETAG}"))
    assert ask(head=weak, range="bytes=0-1", if_range=f"W/{ETAG}").status == 200
    within_its_second = (*without("Last-Modified"), ("Last-Modified", date()))
    assert ask(head=within_its_second, range="bytes=0-1", if_range=date()).status == 200


@given(st.text("bytes=-,0123456789 ", max_size=12).map(lambda text: "bytes=" + text), st.integers(0, 30))
def test_a_range_is_always_inside_the_body(value: str, size: int) -> None:
    span = select_range(value, size)
    if span is not None and span != (0, 0):
        assert 0 <= span[0] < span[1] <= size


FIELDS = st.dictionaries(
    st.sampled_from(["if_none_match", "if_modified_since", "range", "if_range"]),
    st.sampled_from([ETAG, "*", MODIFIED, "bytes=0-1", "bytes=-0", "bytes=99-", "junk", ""]) | st.text(),
)


@given(FIELDS, st.lists(st.sampled_from(HEAD) | st.tuples(st.sampled_from(["ETag", "Date"]), st.text())))
def test_every_request_gets_one_of_four_answers(fields: dict[str, str], head: list[tuple[str, str]]) -> None:
    sent = ask(head=tuple(head), **fields)
    assert sent.status in (200, 206, 304, 416)
    if sent.status == 206:
        assert dict(sent.headers)["Content-Length"] == str(len(BODY[sent.first : sent.end]))
