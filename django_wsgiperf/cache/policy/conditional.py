"""Conditional and range requests answered from a stored response (RFC 9110, 13 and 14; RFC 9111, 4.3.2).

If-Match and If-Unmodified-Since are the application's to judge and never come here: see may_look_up().
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django_wsgiperf.cache.headers import (
    ANY_TAG,
    parse_date,
    parse_etag,
    parse_etags,
    parse_range,
    strong_match,
    weak_match,
)
from django_wsgiperf.cache.messages import Headers, Request, index

_OF_THESE_BYTES: Final = frozenset({"content-length", "content-range", "content-digest", "content-md5"})
"""Fields that hold for the bytes that were sent with them, and for no part of them (RFC 9530, 2)."""
_REPRESENTATION: Final = _OF_THESE_BYTES | {"content-type", "content-encoding", "content-language"}


@dataclass(frozen=True, slots=True)
class Answer:
    """How to send a stored response: with which status and head, and which bytes of its body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    first: int = 0
    end: int | None = None
    """One after the last byte that is sent; None for all of them. Equal to `first` for no body."""


def answer(request: Request, status: int, headers: tuple[tuple[str, str], ...], size: int, stored_at: float) -> Answer:
    """The answer to the request from a stored response with this head, whose body has `size` bytes.

    `headers` are those of the representation that was chosen, its own ETag among them; `stored_at` is when it arrived.
    Conditions and ranges count only for a 200 (RFC 9110, 13.2.1). HEAD is answered with the head of the GET."""
    if status == 200:
        fields = index(headers)
        if not_modified(request.fields, fields, stored_at):
            return Answer(304, not_modified_headers(headers), 0, 0)
        # Only GET has ranges (RFC 9110, 14.2).
        wanted = request.fields.get("range") if request.method == "GET" else None
        if wanted is not None and range_applies(request.fields.get("if-range"), fields, stored_at):
            span = select_range(wanted, size)
            if span is not None and fields.get("accept-ranges", "").strip().lower() != "none":
                return _partial(headers, span, size)
    return Answer(status, headers)


def not_modified(asked: Mapping[str, str], stored: Mapping[str, str], stored_at: float) -> bool:
    """Whether the client already has the stored 200 (RFC 9111, 4.3.2). If-None-Match goes before If-Modified-Since."""
    tags = asked.get("if-none-match")
    if tags is not None:
        wanted = parse_etags(tags)
        if wanted == ANY_TAG:
            return True
        etag = parse_etag(stored.get("etag"))
        return etag is not None and any(weak_match(tag, etag) for tag in wanted)
    since = asked.get("if-modified-since")
    if since is None:
        return False
    limit = parse_date(since, stored_at)
    if limit is None:
        return False
    # In this order, and each only where those before it are missing.
    for name in ("last-modified", "date"):
        when = parse_date(stored.get(name, ""), stored_at)
        if when is not None:
            return when <= limit
    return stored_at <= limit


def not_modified_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The head of a 304: without what describes a body that the client has (RFC 9110, 15.4.5)."""
    return tuple(pair for pair in headers if pair[0].lower() not in _REPRESENTATION)


def range_applies(if_range: str | None, stored: Mapping[str, str], stored_at: float) -> bool:
    """Whether what the client has parts of is this very response (RFC 9110, 13.1.5): else it gets all of it."""
    if if_range is None:
        return True
    tag = parse_etag(if_range)
    if tag is not None:
        etag = parse_etag(stored.get("etag"))
        return etag is not None and strong_match(tag, etag)
    modified = parse_date(stored.get("last-modified", ""), stored_at)
    made_at = parse_date(stored.get("date", ""), stored_at)
    # A date is as good as a strong tag only when nothing can have changed within its second (RFC 9110, 8.8.2.2).
    return (
        modified is not None
        and modified == parse_date(if_range, stored_at)
        and modified < (stored_at // 1 if made_at is None else made_at)
    )


def select_range(value: str, size: int) -> tuple[int, int] | None:
    """First byte, and one after the last, of a body of `size` bytes (RFC 9110, 14.1.2).

    (0, 0) where none of the bytes asked for exist: 416. None where all should be sent: for what is no byte range, for
    several of them, and for a suffix of an empty body, which no Content-Range can name."""
    ranges = parse_range(value)
    if ranges is None or len(ranges) != 1:
        return None
    first, last = ranges[0]
    if first is None:
        assert last is not None, "parse_range() gives one of them at least"
        if last == 0:
            return 0, 0
        return (max(size - last, 0), size) if size else None
    if first >= size:
        return 0, 0
    return first, size if last is None else min(last + 1, size)


def _partial(headers: tuple[tuple[str, str], ...], span: tuple[int, int], size: int) -> Answer:
    first, end = span
    if first == end:
        # The body that is described is not sent, and nothing stands in its place (RFC 9110, 15.5.17).
        kept = tuple(pair for pair in headers if pair[0].lower() not in _REPRESENTATION)
        return Answer(416, (*kept, ("Content-Range", f"bytes */{size}"), ("Content-Length", "0")), 0, 0)
    kept = tuple(pair for pair in headers if pair[0].lower() not in _OF_THESE_BYTES)
    described = (("Content-Range", f"bytes {first}-{end - 1}/{size}"), ("Content-Length", str(end - first)))
    return Answer(206, (*kept, *described), first, end)
