"""What single fields of a request's head, and parts of its target, mean; and the refusal of those that mean nothing.

Functions of texts that http1.py has taken apart, each with the section that it follows.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Any
from urllib.parse import unquote_to_bytes

Environ = dict[str, Any]

CHUNKED = -1
"""`Request.content_length` of a body whose length is told by its chunks."""

# RFC 3986 section 3.2.2: a registered name or an IPv4 address, or a bracketed IPv6 address; and a port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})++)(?::([0-9]{0,5}))?\Z")
# Not decodable, or decoded to NUL, which no file or database name may hold.
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_CODINGS = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]++(?:[ \t]*+,[ \t]*+[!#$%&'*+.^_`|~0-9a-z-]++)*+[ \t]*+\Z")
_NO_INNER_CODING = re.compile(r"\b(?:chunked|identity)\b")

# Fields of which a second one would be ambiguous. (Transfer-Encoding is joined, and then refused.)
_SINGLETONS = frozenset({"HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_AUTHORIZATION"})


class HTTPError(Exception):
    """A request that is answered by the server itself, with `status` and a plain text `detail`.

    The rest of the connection's bytes cannot be trusted: answer, then close."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


def split_host(host: str) -> tuple[str, str]:
    """Name and port of a Host that RFC 9110 section 7.2 allows; without a port that is empty. Raises HTTPError 400."""
    match = _HOST.match(host)
    if match is None or int(match[2] or 0) > 65535:
        raise HTTPError(400, "malformed host")
    if match[1]:
        try:
            IPv6Address(match[1])
        except AddressValueError:
            raise HTTPError(400, "malformed host") from None
    return (host, "") if match[2] is None else (host[: match.start(2) - 1], match[2])


def combine(key: str, first: str, second: str) -> str:
    """One value of a repeated field (RFC 9110 section 5.3), as who sends it once would mostly write it: a page that
    varies by it is one page. Cookies by RFC 6265 section 4.2.1."""
    if key in _SINGLETONS:
        raise HTTPError(400, f"more than one {key.removeprefix('HTTP_').replace('_', '-').title()} field")
    return f"{first}; {second}" if key == "HTTP_COOKIE" else f"{first}, {second}"


def unquote(path: str) -> str:
    """PATH_INFO as PEP 3333 has it: the bytes of the decoded path, each as one character."""
    if _BAD_PERCENT.search(path):
        raise HTTPError(400, "malformed percent-encoding in the request path")
    return unquote_to_bytes(path).decode("latin-1")


def expects_continue(expect: str) -> bool:
    """Whether an Expect field asks for `100 Continue` (RFC 9110 section 10.1.1), the only expectation there is."""
    members = [member.strip(" \t") for member in expect.lower().split(",")]
    if any(member not in ("100-continue", "") for member in members):
        raise HTTPError(417, "only 100-continue may be expected")
    return "100-continue" in members


def body_length(environ: Environ, http10: bool) -> int:
    """How the body is framed, refusing whatever two readers could read differently (RFC 9112 section 6)."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        if http10 or "CONTENT_LENGTH" in environ:
            raise HTTPError(400, "ambiguous body length: Transfer-Encoding with HTTP/1.0 or Content-Length")
        coding: str = environ.pop("HTTP_TRANSFER_ENCODING").lower()
        if coding == "chunked":
            return CHUNKED
        # A body that does not end in chunks has no end at all. One that does has another coding inside.
        inner, _, last = coding.rpartition(",")
        if last.strip(" \t") == "chunked" and _CODINGS.match(inner) and not _NO_INNER_CODING.search(inner):
            raise HTTPError(501, "the only transfer coding understood is chunked")
        raise HTTPError(400, "malformed Transfer-Encoding")
    length: str = environ["CONTENT_LENGTH"]
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise HTTPError(400, "malformed Content-Length")
    return int(length)
