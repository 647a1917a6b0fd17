"""Request fields reduced to what a response can depend on, so that one stored response serves more requests.

Two requests share a value here only if either could be given the other's response (RFC 9111, 4.1). Values that are not
understood stay as they are. Nothing here raises; None is an absent field, which is not an empty one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from .headers.lists import split_list
from .headers.memo import MAX_REMEMBERED, MAX_REMEMBERED_CHARS, remembered

KNOWN_CODINGS: Final = frozenset({"br", "deflate", "gzip", "zstd"})
"""What a response may be encoded in for requests to be told apart by them; with other codings it is not stored."""

COOKIE: Final = "cookie="
"""Begins what stands among nominated fields for the cookie of a name: no field's own name has a `=` in it."""

RAW_LANGUAGE: Final = "accept-language="
"""Stands there for an Accept-Language that matters as it is sent, not only by the language that is chosen by it."""

_LISTS: Final = frozenset({"accept", "accept-charset", "cache-control", "forwarded", "prefer", "x-forwarded-for"})
_weight = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE).fullmatch

Normaliser = Callable[[str], str | None]


@remembered
def codings(value: str) -> dict[str, float]:
    """Coding in lower case -> weight, of an Accept-Encoding (RFC 9110, 12.5.3). What is malformed is left out."""
    weights: dict[str, float] = {}
    for member in split_list(value):
        name, *parameters = member.split(";")
        found = [_weight(parameter) for parameter in parameters]
        if all(found):
            name = name.strip(" \t").lower()
            weights["gzip" if name == "x-gzip" else name] = float(found[0][1]) if found and found[0] else 1.0
    return weights


@remembered
def accept_encoding(value: str) -> str:
    """The known codings that are acceptable, in order of the alphabet; `!identity` where unencoded is not."""
    weights = codings(value)
    others = weights.get("*", 0.0)
    accepted = sorted(name for name in KNOWN_CODINGS if weights.get(name, others) > 0)
    if weights.get("identity", others if "*" in weights else 1.0) == 0:
        accepted.append("!identity")
    return ",".join(accepted)


def reads(value: str | None, encoding: str) -> bool:
    """Whether clients with this normalised Accept-Encoding read a body in this Content-Encoding. None sent none, and
    takes what it gets."""
    if value is None:
        return True
    known = value.split(",")
    return all(
        name in known or name in ("", "identity")
        for name in ("gzip" if name == "x-gzip" else name for name in split_list(encoding.lower()))
    )


def choose_coding(value: str | None, offered: tuple[str, ...]) -> str:
    """The best of the codings on offer, which come in the server's order of preference; `identity` where none will do.

    Without an Accept-Encoding nothing is encoded: whoever does not ask for it may well not read it."""
    if not value:
        return "identity"
    # Each hit asks, and browsers say one of a few things.
    return _choose(value, offered) if len(value) <= MAX_REMEMBERED_CHARS else _choose.__wrapped__(value, offered)


@lru_cache(MAX_REMEMBERED)
def _choose(value: str, offered: tuple[str, ...]) -> str:
    weights = codings(value)
    others = weights.get("*", 0.0)
    best, best_weight = "identity", 0.0
    for name in offered:
        weight = weights.get(name, others)
        if weight > best_weight:
            best, best_weight = name, weight
    # Unencoded is wanted more only where that was said.
    return "identity" if weights.get("identity", 0.0) > best_weight else best


@remembered
def spaced_list(value: str) -> str:
    """A list with one space after each comma."""
    return ", ".join(split_list(value))


@remembered
def language_ranges(value: str) -> str:
    """As spaced_list(), in lower case, since in any case they are the same (RFC 4647, 2). In their order: of those with
    one weight many take the first."""
    return spaced_list(value).lower()


def stripped(value: str) -> str:
    """Without the blanks around it, which are no part of a value (RFC 9110, 5.5)."""
    return value.strip(" \t")


def patterns(names: Iterable[str], *, stop: str) -> str:
    """An expression for any of the names, in which `*` stands for any characters but those of `stop`."""
    return "|".join(f"[^{re.escape(stop)}]*".join(map(re.escape, name.split("*"))) for name in names)


def cookie_normaliser(ignored: Iterable[str]) -> Normaliser:
    """A normaliser for Cookie: those that match no name of `ignored`, ordered by name; None where none is left.

    The order of equally named cookies is kept, since the last of them usually wins."""
    names = tuple(ignored)
    is_ignored = re.compile(patterns(names, stop=";") or r"(?!)").fullmatch

    def significant(value: str) -> str | None:
        kept = []
        for chunk in value.split(";"):
            chunk = chunk.strip(" \t")
            name = chunk.partition("=")[0].rstrip(" \t")
            if chunk and not is_ignored(name):
                kept.append((name, chunk))
        if not kept:
            return None if value.strip(" \t;") else ""
        kept.sort(key=lambda pair: pair[0])
        return "; ".join(chunk for _, chunk in kept)

    recall = lru_cache(MAX_REMEMBERED)(significant)
    return lambda value: recall(value) if len(value) <= MAX_REMEMBERED_CHARS else significant(value)


def cookie_value(header: str, name: str) -> str | None:
    """The value of the last cookie of that name in a Cookie field, as it is written; None where there is none."""
    found = None
    if name in header:
        for chunk in header.split(";"):
            cookie, equals, value = chunk.strip(" \t").partition("=")
            if equals and cookie.rstrip(" \t") == name:
                found = value.strip(" \t")
    return found


def normaliser_of(field: str) -> Normaliser:
    """How a field (in lower case) is normalised that has no settings: Accept-Encoding, lists, and all others."""
    if field == "accept-encoding":
        return accept_encoding
    if field == "accept-language":
        return language_ranges
    return spaced_list if field in _LISTS or field == RAW_LANGUAGE else stripped


def query_normaliser(ignored: tuple[str, ...], *, is_sorted: bool) -> Callable[[str], str]:
    """Takes the parameters of these names out of a query; sorts the others by name where their order is nothing."""
    pattern = patterns(ignored, stop="=&")
    is_ignored = re.compile(rf"(?:{pattern})(?:=.*)?", re.DOTALL).fullmatch if pattern else None
    # Most queries have none of the names, which is seen at once: names are looked for behind each & alone.
    has_ignored = re.compile(rf"&(?:{pattern})(?:[=&]|\Z)").search if pattern else None

    def normalise(query: str) -> str:
        if not is_sorted and (has_ignored is None or has_ignored(f"&{query}") is None):
            return query
        parts = query.split("&")
        if is_ignored is not None:
            parts = [part for part in parts if not is_ignored(part)]
        if is_sorted:
            parts = sorted(filter(None, parts), key=lambda part: part.partition("=")[0])
        return "&".join(parts)

    return normalise
