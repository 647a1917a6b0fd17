"""Structured fields (RFC 9651): Cache-Status out (RFC 9211), Cache-Groups (RFC 9875) and No-Vary-Search in.

Parsing is http-sf's; what it refuses is no value here, since a field that fails to parse is to be ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import http_sf

from .memo import remembered, text_of

_token = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*").fullmatch


def _parse(value: str, kind: str) -> Any:
    try:
        return http_sf.parse(value.encode("latin-1"), tltype=kind)
    except (http_sf.StructuredFieldError, UnicodeEncodeError, ValueError, RecursionError):
        return None


def _bare(item: Any) -> Any:
    """An item or inner list without its parameters."""
    return item[0] if isinstance(item, tuple) else item


def parse_dictionary(value: str) -> dict[str, Any]:
    """Name -> value without parameters, Tokens as text; empty when it is no Dictionary, as with capitals in a name."""
    bare = ((name, _bare(member)) for name, member in (_parse(value, "dictionary") or {}).items())
    return {name: str(member) if isinstance(member, http_sf.Token) else member for name, member in bare}


@remembered
def parse_groups(value: str) -> tuple[str, ...]:
    """Cache-Groups or Cache-Group-Invalidation (RFC 9875): the groups, each once; none when it is no List."""
    groups = (_bare(member) for member in _parse(value, "list") or ())
    # Members that are no Strings name no group; the others still do, since more groups only make it go sooner. However
    # many there are, none is left out: what carries it could not be purged by it.
    return tuple(dict.fromkeys(group for group in groups if type(group) is str and group))


@dataclass(frozen=True, slots=True)
class NoVarySearch:
    """Which differences between queries do not matter (draft-ietf-httpbis-no-vary-search)."""

    key_order: bool = False
    """The order of differently named parameters does not matter."""
    ignored: frozenset[bytes] = frozenset()
    """Decoded names that do not matter."""
    only: frozenset[bytes] | None = None
    """Where not None: the only names that matter."""

    def normalise(self, query: str) -> str:
        """A text that is the same for two queries exactly when they do not differ in what matters."""
        if self == MATTERS:
            return query
        kept = []
        for part in query.split("&"):
            if part:
                name, _, value = part.partition("=")
                key = _decoded(name)
                if (key in self.only) if self.only is not None else (key not in self.ignored):
                    kept.append((key, _decoded(value)))
        if self.key_order:
            kept.sort(key=lambda pair: pair[0])
        # Framed by their lengths, since what is decoded may hold any character. No query begins with a blank.
        return " " + "".join(f"{len(text)}:{text.decode('latin-1')}" for pair in kept for text in pair)


MATTERS: Final = NoVarySearch()
"""Every difference matters: the default."""


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " ").encode("utf-8", "surrogatepass"))


@remembered
def parse_no_vary_search(value: str) -> NoVarySearch:
    """The value of a No-Vary-Search field; MATTERS for anything unexpected in it, as the draft wants."""
    members = _parse(value, "dictionary") or {}
    order = _bare(members.get("key-order", False))
    if type(order) is not bool or ("params" in members and "except" in members):
        return MATTERS
    for name in ("params", "except"):
        if name in members:
            names = _bare(members[name])
            if not isinstance(names, list) or any(type(_bare(member)) is not str for member in names):
                return MATTERS
            keys = frozenset(_decoded(_bare(member)) for member in names)
            return NoVarySearch(order, ignored=keys) if name == "params" else NoVarySearch(order, only=keys)
    return NoVarySearch(order)


def cache_status(
    name: str,
    *,
    hit: bool = False,
    fwd: str | None = None,
    fwd_status: int | None = None,
    ttl: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    key: str | None = None,
    detail: str | None = None,
) -> str:
    """One member of a Cache-Status field (RFC 9211, 2). `hit` leaves out what only forwarding has. Never raises:
    text that does not fit into a structured field is sent without what does not fit."""
    parts = [name if _token(name) else _string(name)]
    if hit:
        parts.append("hit")
    elif fwd is not None:
        parts.append(f"fwd={fwd}" if _token(fwd) else "fwd=bypass")
        if fwd_status is not None:
            parts.append(f"fwd-status={fwd_status}")
    if ttl is not None:
        parts.append(f"ttl={max(-(10**14), min(ttl, 10**14))}")
    if not hit and fwd is not None:
        if stored:
            parts.append("stored")
        if collapsed:
            parts.append("collapsed")
    if key is not None:
        parts.append(f"key={_string(key)}")
    if detail is not None:
        parts.append(f"detail={detail if _token(detail) else _string(detail)}")
    return "; ".join(parts)


def _string(text: str) -> str:
    plain = "".join(character for character in text_of(text) if " " <= character <= "~")
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
