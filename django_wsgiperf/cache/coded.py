"""The head of a response whose body is offered in several content codings, and what becomes of it in each of them.

RFC 9110, 8.4, 8.8.3.3 and 12.5.5. compression.py has the codings themselves.
"""

from __future__ import annotations

from typing import Final

from . import compression
from .headers import parse_etags, parse_vary
from .headers.lists import EVERYTHING
from .messages import Headers
from .normalise import KNOWN_CODINGS

VARY_BY_CODING: Final = ("Vary", "Accept-Encoding")
_OF_ONE_CODING: Final = frozenset(
    {
        *("content-length", "content-encoding", "accept-ranges"),
        # RFC 9530, and those before it.
        *("content-digest", "repr-digest", "digest", "content-md5"),
    }
)
"""Fields that hold for the bytes of one representation alone, as the ETag does."""


def is_worthwhile(headers: Headers) -> bool:
    """Whether a body with this head gains by a content coding: compression.worthwhile(), for what is in memory."""
    content_type = ""
    for name, value in headers:
        # Most fields are none of these by their lengths alone.
        length = len(name)
        if length == 12:
            if name.lower() == "content-type":
                content_type = value
        elif length == 16:
            if name.lower() == "content-encoding" and value.strip(" \t").lower() not in ("", "identity"):
                return False
        elif length == 13 and name.lower() == "content-range":
            return False
    return compression.is_compressible(content_type)


def varying_by_coding(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The head with Accept-Encoding in its Vary."""
    lines = [value for name, value in headers if len(name) == 4 and name.lower() == "vary"]
    if not lines:
        return (*headers, VARY_BY_CODING)
    value = ", ".join(lines)
    named = parse_vary(value)
    if named == EVERYTHING or "accept-encoding" in named:
        return tuple(headers)
    kept = (pair for pair in headers if pair[0].lower() != "vary")
    return (*kept, ("Vary", f"{value}, Accept-Encoding"))


def encoded_etag(etag: str, coding: str) -> str:
    """The ETag of a representation in a content coding. A weak one is for all of them."""
    return etag if etag.startswith("W/") or not etag.endswith('"') else f'{etag[:-1]}-{coding}"'


def uncoded_tags(if_match: str) -> str:
    """An If-Match, with the ETags that the application has given beside those that were made of them here: a client
    that got a page encoded, and would change it, means the page (RFC 9110, 13.1.1)."""
    tags = parse_etags(if_match)
    strong = [tag[1:-1].rpartition("-") for tag in tags if not tag.startswith("W/")]
    own = [f'"{tag}"' for tag, _, coding in strong if coding in KNOWN_CODINGS]
    return ", ".join((if_match, *own))


def encoded_headers(headers: Headers, coding: str, length: int) -> tuple[tuple[str, str], ...]:
    """The head of a representation in a content coding. It is another one, so its strong ETag is another, too
    (RFC 9110, 8.8.3.3)."""
    changed: list[tuple[str, str]] = []
    for name, value in varying_by_coding(headers):
        lower = name.lower()
        if lower == "etag":
            changed.append((name, encoded_etag(value, coding)))
        elif lower not in _OF_ONE_CODING:
            changed.append((name, value))
    return (*changed, ("Content-Encoding", coding), ("Content-Length", str(length)))
