"""Cache-Control (RFC 9111, 5.2) and its targeted kin (RFC 9213) to one set of directives.

What contradicts itself reads as the stricter: of two lifetimes the shorter, of `private` and `private="a"` the first,
and a lifetime that cannot be read is none left. Unknown directives are ignored (RFC 9111, 5.2.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .lists import MAX_SECONDS, TOKEN, field_names, parse_seconds
from .memo import remembered
from .structured import parse_dictionary

_NAME: Final = re.compile(rf"[ \t,]*({TOKEN})?")
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_ARGUMENT: Final = re.compile(rf"(?:=(?:({_QUOTED})|({TOKEN})))?[ \t]*(?:,|$)", re.DOTALL)
_REST: Final = re.compile(r"[^,]*(?:,|$)")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)

BARE: Final = None
"""The argument of a directive that has none."""
UNREADABLE: Final = "\0"
"""Stands for an argument that is malformed. Is no number, no name of a field and no token."""


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives of a response or request. Spans are seconds; None where the directive is absent."""

    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    no_store: bool = False
    no_cache: bool = False
    """Unqualified: nothing of the response may be reused without asking."""
    no_cache_fields: tuple[str, ...] = ()
    """Fields in lower case that may not be reused without asking, where only they were named."""
    private: bool = False
    private_fields: tuple[str, ...] = ()
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    no_transform: bool = False
    shareable: bool = False
    """Whether an answer to a request with Authorization may be shared (RFC 9111, 3.5)."""
    max_stale: int | None = None
    """Request only. MAX_SECONDS where any staleness will do."""
    min_fresh: int | None = None
    only_if_cached: bool = False


_SPANS: Final = {
    "max-age": "max_age",
    "s-maxage": "s_maxage",
    "stale-while-revalidate": "stale_while_revalidate",
    "stale-if-error": "stale_if_error",
}
# Read as present whatever their argument, since they only forbid.
_RESTRICTIONS: Final = {
    "no-store": "no_store",
    "must-revalidate": "must_revalidate",
    "proxy-revalidate": "proxy_revalidate",
    "no-transform": "no_transform",
    "only-if-cached": "only_if_cached",
}
# Read as present only when they are written as they should be, since they permit.
_PERMISSIONS: Final = {"public": "public", "must-understand": "must_understand"}
_LISTS: Final = {"private": ("private", "private_fields"), "no-cache": ("no_cache", "no_cache_fields")}


@remembered
def parse_cache_control(value: str) -> Directives:
    """The directives of a Cache-Control field, its lines joined by commas."""
    return _collect(*_members(value))


@remembered
def parse_targeted(value: str) -> Directives | None:
    """The directives of a targeted field, a structured Dictionary (RFC 9213, 2.1); None where it must be ignored."""
    members = parse_dictionary(value)
    if not members:
        return None
    return _collect([(name, _argument(member)) for name, member in members.items()], torn=False)


def _argument(member: object) -> str | None:
    """A structured value as text; values of a type that no directive has are unreadable."""
    if member is True:
        return BARE
    if isinstance(member, int) and not isinstance(member, bool):
        return str(member)
    # A number in quotes is another type than a number (RFC 9213, 2.1).
    return member if isinstance(member, str) and parse_seconds(member) is None else UNREADABLE


def _members(value: str) -> tuple[list[tuple[str, str | None]], bool]:
    """Names in lower case with their arguments, and whether a quote out of place makes it unsure what is quoted."""
    at, end = 0, len(value)
    members: list[tuple[str, str | None]] = []
    torn = False
    while at < end:
        found = _NAME.match(value, at)
        assert found is not None, "it matches the empty text"
        at = found.end()
        name = found[1]
        argument = _ARGUMENT.match(value, at) if name else None
        if argument is not None:
            at = argument.end()
            quoted, token = argument.groups()
            members.append((name.lower(), token if quoted is None else _ESCAPED.sub(r"\1", quoted[1:-1])))
            continue
        rest = _REST.match(value, at)
        assert rest is not None, "it matches the empty text"
        torn = torn or '"' in rest[0]
        at = max(rest.end(), at + 1)
        if name:
            members.append((name.lower(), UNREADABLE))
    return members, torn


def _collect(members: Iterable[tuple[str, str | None]], torn: bool) -> Directives:
    spans: dict[str, int] = dict.fromkeys(_SPANS.values(), 0) if torn else {}
    flags: dict[str, bool] = {}
    lists: dict[str, tuple[str, ...]] = {}
    shareable = False

    def shorter(attribute: str, seconds: int) -> None:
        spans[attribute] = min(spans.get(attribute, seconds), seconds)

    for name, argument in members:
        seconds = None if argument is BARE else parse_seconds(argument)
        if name in _SPANS:
            shorter(_SPANS[name], seconds or 0)
            shareable = shareable or (name == "s-maxage" and seconds is not None)
        elif name in _RESTRICTIONS:
            flags[_RESTRICTIONS[name]] = True
            shareable = shareable or (name == "must-revalidate" and argument is BARE)
        elif name in _PERMISSIONS:
            if argument is BARE and not torn:
                flags[_PERMISSIONS[name]] = True
                shareable = shareable or name == "public"
        elif name in _LISTS:
            whole, partly = _LISTS[name]
            names = field_names(argument) if argument is not BARE else None
            if names:
                lists[partly] = tuple(sorted({*lists.get(partly, ()), *names}))
            else:
                flags[whole] = True
        elif name == "max-stale":
            shorter("max_stale", MAX_SECONDS if argument is BARE else seconds or 0)
        elif name == "min-fresh":
            # Of several wishes for freshness the greatest is the strictest; one that is no number is met by nothing.
            spans["min_fresh"] = max(spans.get("min_fresh", 0), MAX_SECONDS if seconds is None else seconds)
    return Directives(shareable=shareable and not torn, **spans, **flags, **lists)  # type: ignore[arg-type]
