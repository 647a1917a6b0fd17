"""Asking whether a stored response still holds, and what 304 and HEAD make of it (RFC 9111, 4.3)."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from django_wsgiperf.cache.entry import OWN_ETAG, Entry
from django_wsgiperf.cache.messages import Annotation, Signals
from django_wsgiperf.cache.policy import (
    Freshened,
    Reason,
    Rules,
    Verdict,
    conditions,
    confirmed_by,
    freshen,
    head_confirms,
    judge,
)

from .exchanges import NOW, date, request, response, stored

KEEPING = Rules(keep_s=3600)
LATER = NOW + 100


def tagged(etag: str, *headers: str) -> Entry:
    return stored(f"ETag: {etag}", *headers, rules=KEEPING)


def confirm(entry: Entry, *headers: str, cache_control: str | None = None, **options: object) -> Freshened:
    answer = response(*headers, status=304, body_bytes=0, cache_control=cache_control)
    return freshen(entry, request(), answer, LATER, rules=KEEPING, sequence=7, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("etag", ['"abcdef"', 'W/"abcdef"'])
def test_a_stored_response_is_asked_about_by_its_validators(etag: str) -> None:
    """RFC 9111, 4.3.1."""
    modified = date(-500)
    entry = tagged(etag, f"Last-Modified: {modified}")
    assert conditions([entry]) == {"if-none-match": etag, "if-modified-since": modified}
    assert conditions([stored(f"Last-Modified: {modified}")]) == {"if-modified-since": modified}
    assert conditions([stored()]) == {}
    assert conditions([stored("ETag: unquoted", "Last-Modified: yesterday")]) == {}


def test_several_variants_are_asked_about_by_all_their_tags() -> None:
    """RFC 9111, 4.3.1."""
    modified = f"Last-Modified: {date(-500)}"
    entries = [tagged('"a"', modified), tagged('"b"'), tagged('"a"'), stored(modified)]
    assert conditions(entries) == {"if-none-match": '"a", "b"'}


def test_a_tag_that_the_cache_made_is_not_sent_to_the_application() -> None:
    assert conditions([replace(tagged('"made"'), flags=OWN_ETAG)]) == {}


def test_a_304_confirms_the_response_whose_tag_it_has() -> None:
    """RFC 9111, 4.3.4."""
    one, other = tagged('"a"'), tagged('"b"')
    assert confirmed_by([one, other], response('ETag: "b"', status=304)) is other
    assert confirmed_by([one, other], response('ETag: "c"', status=304)) is None
    assert confirmed_by([one, other], response(status=304)) is None
    assert confirmed_by([tagged('W/"a"')], response('ETag: "a"', status=304)) is None, "strong tags compare strongly"
    weak = tagged('W/"a"')
    assert confirmed_by([weak], response('ETag: W/"a"', status=304)) is weak


def test_a_304_without_a_tag_confirms_by_date_or_where_nothing_else_was_asked_about() -> None:
    """RFC 9111, 4.3.4."""
    modified = f"Last-Modified: {date(-500)}"
    dated, plain = stored(modified), stored()
    assert confirmed_by([dated], response(modified, status=304)) is dated
    assert confirmed_by([dated], response(f"Last-Modified: {date(-400)}", status=304)) is None
    assert confirmed_by([plain], response(status=304)) is plain
    assert confirmed_by([plain, dated], response(status=304)) is None
    one, other = tagged('"a"'), tagged('"b"')
    assert confirmed_by([one], response(status=304)) is one
    assert confirmed_by([one, other], response(status=304)) is None


def test_the_latest_of_several_that_match_is_confirmed() -> None:
    """RFC 9111, 4.3.4."""
    old, new = tagged('W/"a"'), replace(tagged('W/"a"'), stored_at=NOW + 1)
    assert confirmed_by([old, new], response('ETag: W/"a"', status=304)) is new


UPDATED = [
    ("Test-Header", "a", "b"),
    ("Content-Type", "text/plain", "text/plain;charset=utf-8"),
    ("Content-Location", "/foo", "/bar"),
    ("Content-Security-Policy", "default-src 'self'", "default-src 'self' cdn.example"),
    ("Content-Foo", "a", "b"),
    ("Expires", date(1), date(3600)),
    ("Cache-Control", "max-age=1", "max-age=3600"),
]


@pytest.mark.parametrize(("name", "old", "new"), UPDATED)
def test_a_304_updates_stored_fields(name: str, old: str, new: str) -> None:
    """RFC 9111, 3.2."""
    lines = () if name == "Cache-Control" else ("Cache-Control: max-age=60",)
    entry = stored('ETag: "1"', f"{name}: {old}", *lines, cache_control=None, rules=KEEPING)
    freshened = confirm(entry, 'ETag: "1"', f"{name.lower()}: {new}")
    for headers in (freshened.headers, freshened.entry.headers):
        assert [value for field, value in headers if field.lower() == name.lower()] == [new]


def test_fields_that_a_304_leaves_out_stay() -> None:
    """RFC 9111, 3.2."""
    freshened = confirm(tagged('"1"', "X: 1"), 'ETag: "1"')
    assert ("X", "1") in freshened.entry.headers
    assert freshened.entry.lifetime_s == 60.0


def test_fields_of_the_body_and_of_the_connection_are_not_updated() -> None:
    """RFC 9111, 3.2."""
    entry = tagged('"1"', "Content-Length: 10", "Content-Encoding: gzip")
    freshened = confirm(entry, 'ETag: "1"', "Content-Length: 0", "Content-Encoding: br", "Connection: close")
    for headers in (freshened.headers, freshened.entry.headers):
        found = {name.lower(): value for name, value in headers}
        assert (found["content-length"], found["content-encoding"]) == ("10", "gzip")
        assert "connection" not in found


@pytest.mark.parametrize("name", ["Content-Digest", "Content-MD5"])
def test_a_digest_of_what_the_304_brought_is_not_taken_for_that_of_the_stored_body(name: str) -> None:
    """RFC 9530, 2: it is of the content of its own message, and a 304 has none."""
    freshened = confirm(tagged('"1"', f"{name}: of the body"), 'ETag: "1"', f"{name}: of nothing")
    for headers in (freshened.headers, freshened.entry.headers):
        assert [value for field, value in headers if field == name] == ["of the body"]
    freshened = confirm(tagged('"1"'), 'ETag: "1"', f"{name}: of nothing")
    assert name not in dict(freshened.entry.headers)
    # This one is of the representation, whatever of it is sent.
    freshened = confirm(tagged('"1"'), 'ETag: "1"', "Repr-Digest: of the body")
    assert dict(freshened.entry.headers)["Repr-Digest"] == "of the body"


def test_a_freshened_response_begins_anew() -> None:
    """RFC 9111, 4.3.4."""
    entry = replace(tagged('"1"', "Age: 50"), codings=MappingProxyType({"gzip": b"z"}), tags=("t",), render_s=0.5)
    assert judge(entry, LATER)[0] is Verdict.VALIDATE
    again = confirm(entry, 'ETag: "1"', cache_control="max-age=90").entry
    assert judge(again, LATER)[0] is Verdict.FRESH
    assert (again.stored_at, again.initial_age_s, again.lifetime_s, again.sequence) == (LATER, 0.0, 90.0, 7)
    assert (again.body, again.codings, again.tags, again.render_s) == (entry.body, entry.codings, ("t",), 0.5)
    assert dict(again.headers)["Date"] == date(100)


def test_a_304_brings_its_own_age_and_date() -> None:
    """RFC 9111, 4.2.3."""
    again = confirm(tagged('"1"'), 'ETag: "1"', "Age: 20", f"Date: {date(99)}").entry
    assert again.initial_age_s == 20.0
    assert dict(again.headers)["Date"] == date(99)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Cache-Control: private", Reason.PRIVATE),
        ("Cache-Control: no-store", Reason.NO_STORE),
        ("Set-Cookie: a=b", Reason.SET_COOKIE),
        ("Vary: *", Reason.VARY_STAR),
        ("Vary: Foo", Reason.UNMATCHED),
        ("Age: 99999", Reason.EXPIRED),
        ("Age: 3", Reason.OK),
    ],
)
def test_a_304_is_judged_like_a_response_that_just_arrived(line: str, reason: Reason) -> None:
    entry = tagged('"1"')
    freshened = confirm(entry, 'ETag: "1"', line)
    assert freshened.decision.reason is reason
    assert freshened.decision.store == (reason is Reason.OK)
    assert tuple(line.split(": ")) in freshened.headers, "its client gets what it brought"
    if reason is not Reason.OK:
        assert freshened.entry is entry


def test_what_the_doors_know_of_the_304_counts_too() -> None:
    assert confirm(tagged('"1"'), 'ETag: "1"', signals=Signals(csrf_used=True)).decision.reason is Reason.CSRF
    annotated = confirm(tagged('"1"'), 'ETag: "1"', annotation=Annotation(lifetime_s=5.0, tags=("new",)))
    assert (annotated.entry.lifetime_s, annotated.entry.tags) == (5.0, ("new",))


def test_a_tag_of_the_application_replaces_one_of_the_caches() -> None:
    entry = replace(tagged('"made"'), flags=OWN_ETAG)
    assert confirm(entry).entry.flags & OWN_ETAG
    assert not confirm(entry, 'ETag: "1"').entry.flags & OWN_ETAG


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), True),
        (('ETag: "1"', "Content-Length: 10"), True),
        (('ETag: "2"',), False),
        (("Content-Length: 11",), False),
        ((f"Last-Modified: {date(-500)}",), True),
        ((f"Last-Modified: {date(-400)}",), False),
    ],
)
def test_a_head_confirms_what_it_does_not_contradict(lines: tuple[str, ...], expected: bool) -> None:
    """RFC 9111, 4.3.5."""
    entry = tagged('"1"', f"Last-Modified: {date(-500)}")
    assert head_confirms(entry, response(*lines, body_bytes=0)) is expected


def test_only_a_200_to_a_head_freshens() -> None:
    """RFC 9111, 4.3.5."""
    assert not head_confirms(stored(), response(status=410, body_bytes=0))


def test_a_head_updates_the_stored_get() -> None:
    """RFC 9111, 4.3.5."""
    entry = tagged('"1"', "X: 1", "Content-Length: 10")
    answer = response("X: 2", "Content-Length: 10", body_bytes=0, cache_control="max-age=1000")
    again = freshen(entry, request("HEAD"), answer, LATER, rules=KEEPING, sequence=0)
    assert again.decision.store
    assert (again.entry.lifetime_s, dict(again.entry.headers)["X"], again.entry.body) == (1000.0, "2", entry.body)
