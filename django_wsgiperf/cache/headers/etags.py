"""Entity tags, alone and in lists, and their two comparisons (RFC 9110, 8.8.3). Nothing here raises."""

from __future__ import annotations

import re
from typing import Final

from .memo import remembered, text_of

ANY_TAG: Final = ("*",)
"""What a list that is `*` reads as: whatever there is."""

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_tag = re.compile(_TAG).fullmatch
# Something that is no tag ends at the next comma.
_MEMBER: Final = re.compile(rf"[ \t]*(?:({_TAG})[ \t]*(?:,|$)|[^,]*(?:,|$))")


def parse_etag(value: str | bytes | None) -> str | None:
    """The tag as it is written, `W/` included; None for what is no entity tag."""
    if value is None:
        return None
    tag = text_of(value).strip(" \t")
    return tag if _tag(tag) else None


@remembered
def parse_etags(value: str) -> tuple[str, ...]:
    """The tags in an If-Match or If-None-Match; ANY_TAG for `*`. Members that are no tags match nothing, and go."""
    if value.strip(" \t") == "*":
        return ANY_TAG
    return tuple(found[1] for found in _MEMBER.finditer(value) if found[1])


def weak_match(one: str, other: str) -> bool:
    """The same but for `W/` (RFC 9110, 8.8.3.2): good enough to keep what one has."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def strong_match(one: str, other: str) -> bool:
    """The same, and neither weak (RFC 9110, 8.8.3.2): needed to put parts together."""
    return one == other and not one.startswith("W/")
