"""Addresses as people and sitemaps write them, made into what is put on the wire. No sockets here.

What is asked for (`Page`) and where it is asked (`Place`) are two things: `--base` asks a server on this machine for
the pages of a public name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

MAX_CHARS: Final = 8_192
"""Longer addresses are refused by most servers; in a sitemap, 2,048 is the limit."""
_PORTS: Final = {"http": 80, "https": 443}
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~-._"
_forbidden = re.compile(r"[\x00-\x20\x7f]").search


class AddressError(ValueError):
    """The address cannot be asked; the text says why, without what may be a password in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection goes: a host and port, or the file of a Unix socket; with TLS or without."""

    scheme: str
    host: str
    port: int
    socket_file: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.socket_file}" if self.socket_file else f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked for. `authority` is the Host field, `target` the path and query, percent-encoded."""

    scheme: str
    authority: str
    target: str

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def hostname(self) -> str:
        """The host without port and brackets: what a certificate must be for."""
        return urlsplit(self.origin).hostname or ""

    def place(self) -> Place:
        """Where the address itself says that it is."""
        return Place(self.scheme, self.hostname, urlsplit(self.origin).port or _PORTS[self.scheme])


def parse_page(text: str, base: Page | None = None) -> Page:
    """The page at an http or https address; a path alone is one of `base`'s. Raises AddressError."""
    if base is not None and text.startswith("/") and not text.startswith("//"):
        text = base.origin + text
    if len(text) > MAX_CHARS:
        raise AddressError(f"an address of {len(text):,} characters: {text[:60]}...")
    if _forbidden(text):
        raise AddressError(f"an address with blanks or control characters: {text[:120]!r}")
    try:
        parts = urlsplit(text)
        port, hostname = parts.port, parts.hostname
    except ValueError as error:
        raise AddressError(f"no address: {error}") from None
    if parts.scheme not in _PORTS:
        raise AddressError(f"no http or https address: {text[:120]!r}")
    if not hostname:
        raise AddressError(f"an address without a host: {text[:120]!r}")
    if "@" in parts.netloc:
        raise AddressError(f"an address with a name or password, of {hostname}: pages behind one are not cached")
    authority = f"[{hostname}]" if ":" in hostname else _ascii_host(hostname)
    if port is not None and port != _PORTS[parts.scheme]:
        authority += f":{port}"
    target = quote(parts.path or "/", safe=_PATH_SAFE)
    if parts.query:
        target += "?" + quote(parts.query, safe=_PATH_SAFE + '?[]{}|\\^`"<>')
    return Page(parts.scheme, authority, target)


def parse_place(text: str) -> Place:
    """Where to ask instead: `http://127.0.0.1:8000`, `https://...` or `unix:/run/site.sock`. Raises AddressError."""
    if text.startswith("unix:"):
        if not text.removeprefix("unix:"):
            raise AddressError("unix: wants the path of a socket, as unix:/run/site.sock")
        return Place("http", "", 0, text.removeprefix("unix:"))
    page = parse_page(text)
    if page.target != "/":
        raise AddressError(f"{text!r} has a path; write {page.origin} alone, the paths come from the pages")
    return page.place()


def _ascii_host(hostname: str) -> str:
    if hostname.isascii():
        return hostname
    try:
        return hostname.encode("idna").decode("ascii")
    except UnicodeError:
        raise AddressError(f"an address whose host is no name: {hostname[:120]!r}") from None
