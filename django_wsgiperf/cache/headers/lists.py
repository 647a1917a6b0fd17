"""Comma-separated lists, names of fields, Vary and Age (RFC 9110, 5.6; RFC 9111, 5.1). Nothing here raises."""

from __future__ import annotations

import re
from typing import Final

from .memo import remembered, text_of

TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
MAX_SECONDS: Final = 2**31
"""What a number of seconds too great to hold is taken for (RFC 9111, 1.2.2)."""

EVERYTHING: Final = ("*",)

_token = re.compile(TOKEN).fullmatch
_digits = re.compile(r"[0-9]+").fullmatch
# Text in quotes is one piece, an unterminated quote takes the rest.
_MEMBER: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?$))+', re.DOTALL)


def is_token(text: str) -> bool:
    """Whether it can be the name of a field, directive or coding (RFC 9110, 5.6.2)."""
    return _token(text) is not None


def parse_seconds(text: str) -> int | None:
    """A delta-seconds; None when it is none. Never more than MAX_SECONDS (RFC 9111, 1.2.2)."""
    if _digits(text) is None:
        return None
    # Python refuses to read numbers of thousands of digits.
    return min(int(text), MAX_SECONDS) if len(text) < 12 else min(int(text.lstrip("0")[:12] or "0"), MAX_SECONDS)


def split_list(value: str | bytes) -> tuple[str, ...]:
    """The members of a list, without the empty ones; commas in quoted strings do not divide (RFC 9110, 5.6.1)."""
    members = (member.strip(" \t") for member in _MEMBER.findall(text_of(value)))
    return tuple(member for member in members if member)


def field_names(value: str) -> tuple[str, ...] | None:
    """A list of field names in lower case; None when any is no name."""
    names = split_list(value)
    return tuple(name.lower() for name in names) if all(map(is_token, names)) else None


@remembered
def parse_vary(value: str) -> tuple[str, ...]:
    """The nominated fields in lower case, sorted, each once; EVERYTHING where `*` is among them (RFC 9110, 12.5.5).

    So it is where a member is no field name: what the response depends on is then not known."""
    names = field_names(value)
    if names is None or "*" in names:
        return EVERYTHING
    return tuple(sorted(set(names)))


def parse_age(value: str | bytes) -> int | None:
    """Seconds; of several the first counts, and what is no number is no Age (RFC 9111, 5.1)."""
    return parse_seconds(text_of(value).partition(",")[0].strip(" \t"))
