"""Forwarding header fields: X-Forwarded-For and its like, and Forwarded (RFC 7239), to what they say of the client.

No sockets, no settings. Each proxy adds its own words at the end, so that they are read from the end, and only as far
as those who said them are trusted; what a client wrote before them is never looked at. What follows from it for the
environ is in proxy.py.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from .addresses import UNIX, AddressList, parse_address
from .http1 import Environ, HTTPError, split_host

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""Some proxies tell the scheme of a WebSocket, which is asked for as plain HTTP."""

_PORT = re.compile(r"[0-9]{1,5}\Z")
_BLANKS = re.compile(r"[ \t]*+")
_OBFUSCATED = r"_[A-Za-z0-9._-]++"
# RFC 7239 section 6.
_NODE = re.compile(
    rf"(?:([0-9.]++)|\[([0-9A-Fa-f:.]++)\]|unknown|{_OBFUSCATED})(?::(?:([0-9]{{1,5}})|{_OBFUSCATED}))?\Z",
    re.IGNORECASE,
)
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*+:[0-9A-Fa-f]*+:[0-9A-Fa-f:.]*+\Z")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
# RFC 7239 section 4; the quoted string is that of RFC 9110 section 5.6.4.
_PAIR = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*+)")')
_QUOTED_PAIR = re.compile(r"\\(.)")

Client = tuple[str, str]
"""An address and a port, each empty when it is not known."""


class Malformed(Exception):
    """A trusted proxy sent what nobody can read: its field's name and value. To go on would be to guess."""

    def __init__(self, field: str, value: str) -> None:
        super().__init__(field, value)
        self.field = field
        self.value = value


class Forwarded(NamedTuple):
    """What was said; empty where nothing was. `client` is None when nobody was named, not even as unknown."""

    client: Client | None = None
    scheme: str = ""
    host: str = ""
    port: str = ""


def from_x_forwarded(environ: Environ, trusted: AddressList, hops: int) -> Forwarded:
    """What X-Forwarded-For, -Proto, -Host and -Port say, of which the environ keeps what was believed.

    The entry of -For that is `hops` from its end names the client, or the first one from there that is not in
    `trusted`. Where a proxy wrote over the others instead of adding to them, its only value counts.
    Raises Malformed, for an entry that counts."""
    client: Client | None = None
    depth = 0
    if "HTTP_X_FORWARDED_FOR" in environ:
        entries = _members(environ["HTTP_X_FORWARDED_FOR"])
        for entry in reversed(entries[-hops:]):
            depth += 1
            client = _read_node("X-Forwarded-For", entry, bare_ipv6=True)
            if depth == hops or client[0] not in trusted:
                break
        environ["HTTP_X_FORWARDED_FOR"] = ", ".join(entries[-depth:])
    scheme = _member_at(depth, environ, "HTTP_X_FORWARDED_PROTO")
    if scheme:
        environ["HTTP_X_FORWARDED_PROTO"] = scheme = _read_scheme("X-Forwarded-Proto", scheme)
    host = _member_at(depth, environ, "HTTP_X_FORWARDED_HOST")
    if host:
        environ["HTTP_X_FORWARDED_HOST"] = _read_host("X-Forwarded-Host", host)
    port = _member_at(depth, environ, "HTTP_X_FORWARDED_PORT")
    if port:
        if not _PORT.match(port) or int(port) > 65_535:
            raise Malformed("X-Forwarded-Port", port)
        environ["HTTP_X_FORWARDED_PORT"] = port
    return Forwarded(_shown(client), scheme, host, port)


def from_forwarded(environ: Environ, trusted: AddressList, hops: int) -> Forwarded:
    """What Forwarded says, of which the environ keeps the elements that were believed.

    The element that is `hops` from the end names the client, or the first one from there whose `for` is not in
    `trusted`; `host` and `proto` are those of the proxy closest to the client that tells them. Raises Malformed, for
    a field that is not RFC 7239's grammar as a whole, or a value that counts."""
    field: str = environ.get("HTTP_FORWARDED", "")
    elements = parse_forwarded(field)
    if not elements:
        return Forwarded()
    client: Client | None = None
    scheme = host = ""
    believed = 0
    for begin, pairs in reversed(elements[-hops:]):
        believed = begin
        scheme = _read_scheme("Forwarded", pairs["proto"]) if "proto" in pairs else scheme
        host = _read_host("Forwarded", pairs["host"]) if "host" in pairs else host
        if "for" not in pairs:
            break
        client = _read_node("Forwarded", pairs["for"])
        if client[0] not in trusted:
            break
    environ["HTTP_FORWARDED"] = field[believed:].strip(" \t")
    return Forwarded(client, scheme, host)


def parse_forwarded(field: str) -> list[tuple[int, dict[str, str]]]:
    """The elements of a Forwarded field: where each begins, and its parameters with lower-case names.

    Blanks around the semicolons are let pass, empty elements left out (RFC 9110 section 5.6.1). Raises Malformed."""
    elements: list[tuple[int, dict[str, str]]] = []
    pairs: dict[str, str] = {}
    begin = at = 0
    while True:
        at = _BLANKS.match(field, at).end()  # type: ignore[union-attr]
        pair = _PAIR.match(field, at)
        if pair:
            name, token, quoted = pair.groups()
            name = name.lower()
            if name in pairs:
                raise Malformed("Forwarded", field)
            pairs[name] = token if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            at = _BLANKS.match(field, pair.end()).end()  # type: ignore[union-attr]
        if at < len(field) and field[at] == ";":
            at += 1
            continue
        if at < len(field) and field[at] != ",":
            raise Malformed("Forwarded", field)
        if pairs:
            elements.append((begin, pairs))
        if at >= len(field):
            return elements
        pairs = {}
        begin = at = at + 1


@lru_cache(maxsize=1024)
def parse_node(node: str, *, bare_ipv6: bool = False) -> Client:
    """The address and port in a node (RFC 7239 section 6), empty where they are unknown or obfuscated.

    `bare_ipv6`: an IPv6 address may come without its brackets, as it does in X-Forwarded-For. Raises ValueError."""
    if bare_ipv6 and _BARE_IPV6.match(node):
        return str(parse_address(node)), ""
    match = _NODE.match(node)
    if match is None:
        raise ValueError(node)
    ipv4, ipv6, port = match.groups()
    if port is not None and int(port) > 65_535:
        raise ValueError(node)
    if ipv4 is None and ipv6 is None:
        return "", ""
    return str(parse_address(str(IPv4Address(ipv4) if ipv6 is None else IPv6Address(ipv6)))), port or ""


def _member_at(depth: int, environ: Environ, key: str) -> str:
    """What the proxy said that is `depth` proxies from us; the first there is, where there are fewer."""
    if key not in environ:
        return ""
    members = _members(environ[key])
    return members[-min(depth or 1, len(members))] if members else ""


def _members(field: str) -> list[str]:
    """The members of a list, without quotes around them; empty ones do not count (RFC 9110 section 5.6.1)."""
    if "," not in field and field[:1] != '"':
        return [field] if field else []
    members = (member.strip(" \t") for member in field.split(","))
    bare = (member[1:-1] if len(member) > 1 and member[0] == member[-1] == '"' else member for member in members)
    return [member for member in bare if member]


def _read_node(field: str, node: str, *, bare_ipv6: bool = False) -> Client:
    if bare_ipv6 and node == "unix:":  # What nginx tells of a peer that came by a unix socket.
        return UNIX, ""
    try:
        return parse_node(node, bare_ipv6=bare_ipv6)
    except ValueError:
        raise Malformed(field, node) from None


def _shown(client: Client | None) -> Client | None:
    return ("", "") if client == (UNIX, "") else client


def _read_scheme(field: str, scheme: str) -> str:
    try:
        return _SCHEMES[scheme.lower()]
    except KeyError:
        raise Malformed(field, scheme) from None


def _read_host(field: str, host: str) -> str:
    """`host`, which has to be one that the Host field could have."""
    try:
        split_host(host)
    except HTTPError:
        raise Malformed(field, host) from None
    return host
