"""HTTP/1.1 response heads: a WSGI status and headers to bytes, and how the body after them is framed.

No sockets. What an application could smuggle (line ends and other control characters, framing of its own) is refused
here; the errors that the server itself answers are made here too.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

Headers = list[tuple[str, str]]

# Framing of a body
NONE = 0
"""No body is sent: HEAD, 204, 304."""
LENGTH = 1
"""Content-Length bytes follow."""
CHUNKED = 2
"""The chunked coding."""
CLOSE = 3
"""The body ends with the connection (HTTP/1.0)."""

_PLAIN, _LENGTH, _DATE, _CONNECTION, _DROPPED, _REFUSED = range(6)
_SPECIAL = {
    "content-length": _LENGTH,
    "date": _DATE,
    "connection": _CONNECTION,
    "keep-alive": _DROPPED,
    "proxy-connection": _DROPPED,
    "te": _DROPPED,
    "trailer": _DROPPED,
    "upgrade": _DROPPED,
    "transfer-encoding": _REFUSED,
}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_STATUS = re.compile(r"[2-9][0-9][0-9](?: .*)?\Z")
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
"""All but the tab, which a value may have. RFC 9110 section 5.5 and PEP 3333 know no other exception."""
_NO_VALUE = re.compile(r"[\0-\x08\n-\x1f\x7f]")
_KNOWN_MAX = 1024
_DIGITS_MAX = 18


class ResponseError(Exception):
    """The application's response cannot be put on the wire; the message says which part and why."""


class HeadWriter:
    """Writes response heads. One for a worker; its tables only ever hold what is right for every response."""

    __slots__ = ("_date", "_date_second", "_kinds", "_statuses")

    def __init__(self) -> None:
        self._kinds: dict[str, int] = {}
        self._statuses: dict[str, tuple[int, str]] = {}
        self._date = ""
        self._date_second = 0

    def date(self) -> str:
        """The Date field's line, renewed once a second (RFC 9110 section 6.6.1)."""
        second = int(time.time())
        if second != self._date_second:
            # The line first: another thread may see the new second and use the line at once.
            self._date = f"Date: {formatdate(second, usegmt=True)}\r\n"
            self._date_second = second
        return self._date

    def write(
        self,
        status: str,
        headers: Headers,
        bodiless: bool,
        http10: bool,
        keep_alive: bool,
        length: int | None,
    ) -> tuple[bytes, int, int, int, bool]:
        """The head as bytes, and what follows from it: status code, framing, Content-Length (or -1), keep-alive.

        `bodiless` is true for HEAD; `length` is the body's length where it is known without the application's
        word. Raises ResponseError."""
        try:
            code, line = self._statuses[status]
        except (KeyError, TypeError):
            code, line = self._check_status(status)
        kinds = self._kinds
        lines = [line]
        declared = -1
        dated = False
        try:
            for name, value in headers:
                kind = kinds.get(name)
                if kind is None:
                    kind = self._learn(name)
                if kind:
                    if kind == _LENGTH:
                        declared = _content_length(value, declared)
                        continue
                    if kind == _CONNECTION:
                        if "close" in value.lower():
                            keep_alive = False
                        continue
                    if kind == _DATE:
                        dated = True
                    elif kind == _DROPPED:
                        continue
                    else:
                        raise ResponseError(f"the header {name} is the server's to set (PEP 3333)")
                lines.append(name + ": " + value + "\r\n")
        except (TypeError, ValueError, AttributeError):
            raise ResponseError(_misfit(headers)) from None
        if not dated:
            lines.append(self.date())

        if code == 204 or code == 304:
            # No length either: it is forbidden in 204, and in 304 unless it is that of the 200, which frameworks that
            # measure the empty body do not know (RFC 9110 section 8.6).
            framing = NONE
        elif bodiless:
            framing = NONE
            if declared < 0 and length:  # An empty body may be one that was not made for HEAD.
                declared = length
            if declared >= 0:
                lines.append(f"Content-Length: {declared}\r\n")
        elif declared >= 0 or length is not None:
            if declared < 0:
                declared = length or 0
            framing = LENGTH
            lines.append(f"Content-Length: {declared}\r\n")
        elif http10:
            framing = CLOSE
            keep_alive = False
        else:
            framing = CHUNKED
            lines.append("Transfer-Encoding: chunked\r\n")
        if not keep_alive:
            lines.append("Connection: close\r\n")
        elif http10:
            lines.append("Connection: keep-alive\r\n")
        lines.append("\r\n")
        try:
            head = "".join(lines).encode("latin-1")
        except UnicodeEncodeError:
            raise ResponseError(f"a header is not latin-1: {_culprit(status, headers)}") from None
        # Every line above ends with one CR LF; any other control character was put there by the application.
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * len(lines):
            raise ResponseError(f"a header contains a control character: {_culprit(status, headers)}")
        return head, code, framing, declared, keep_alive

    def _check_status(self, status: str) -> tuple[int, str]:
        """The code, and the status line."""
        if not isinstance(status, str) or not _STATUS.match(status):
            raise ResponseError(f"the status must be like '200 OK', not {status!r}")
        # RFC 9112 section 4: the reason may be missing, the space before it may not.
        known = int(status[:3]), f"HTTP/1.1 {status}\r\n" if len(status) > 3 else f"HTTP/1.1 {status} \r\n"
        if len(self._statuses) < _KNOWN_MAX:
            self._statuses[status] = known
        return known

    def _learn(self, name: str) -> int:
        if not isinstance(name, str) or not _TOKEN.match(name):
            raise ResponseError(f"{name!r} is no header name")
        kind = _SPECIAL.get(name.lower(), _PLAIN)
        if len(self._kinds) < _KNOWN_MAX:
            self._kinds[name] = kind
        return kind


def _content_length(value: str, earlier: int) -> int:
    if not isinstance(value, str):
        raise TypeError
    if not (value.isascii() and value.isdigit()) or len(value) > _DIGITS_MAX:
        raise ResponseError(f"Content-Length must be a number, not {value!r}")
    length = int(value)
    if earlier >= 0 and earlier != length:
        raise ResponseError("two Content-Length headers that differ")
    return length


def _misfit(headers: Any) -> str:
    """What is wrong with headers that are no list of pairs of text; a value may be a secret, its type is none."""
    try:
        for item in headers:
            if not isinstance(item, tuple) or len(item) != 2:
                return f"each header must be a tuple (name, value), not {type(item).__name__}"
            name, value = item
            if not isinstance(name, str):
                return f"{name!r} is no header name"
            if not isinstance(value, str):
                return f"the value of the header {name} must be str, not {type(value).__name__}"
    except TypeError:
        pass
    return f"the headers must be a list of (name, value), not {type(headers).__name__}"


def _culprit(status: str, headers: Headers) -> str:
    """The name of the first header that cannot be sent; its value may be a secret."""
    for name, value in headers:
        if _NO_VALUE.search(value) or not all(ord(character) < 256 for character in value):
            return name
    return f"status {status!r}"


def plain_response(
    code: int,
    text: str,
    *,
    keep_alive: bool = False,
    headers: Headers | None = None,
    date: str = "",
    content_type: str = "text/plain; charset=utf-8",
    bodiless: bool = False,
) -> bytes:
    """A whole response of the server's own."""
    body = text.encode()
    lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\n", date]
    lines += [f"{name}: {value}\r\n" for name, value in headers or ()]
    lines.append(f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n")
    if not keep_alive:
        lines.append("Connection: close\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1") + (b"" if bodiless else body)
