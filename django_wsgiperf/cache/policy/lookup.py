"""What a request allows: whether a stored response may answer it, and whether its answer may be stored.

Requests that is_plain() (key.py) recognises need none of this: PLAIN is the answer for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django_wsgiperf.cache.headers import parse_cache_control
from django_wsgiperf.cache.headers.directives import Directives
from django_wsgiperf.cache.messages import Request

from .reasons import Forward, Reason
from .rules import Rules

NO_DIRECTIVES: Final = Directives()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks of the cache."""

    use: bool
    """Whether a stored response may answer."""
    store: bool
    """Whether its answer may be stored."""
    reason: Reason = Reason.OK
    forward: Forward = Forward.MISS
    """What Cache-Status says where nothing stored is used because of the request."""
    authorized: bool = False
    """It has credentials: only a response that is explicitly shareable answers it (RFC 9111, 3.5)."""
    wishes: Directives = NO_DIRECTIVES
    """Its Cache-Control, where the site heeds it: no_cache, max_age, min_fresh, max_stale, only_if_cached."""


PLAIN: Final = Ask(use=True, store=True)


def _refused(reason: Reason, forward: Forward = Forward.BYPASS) -> Ask:
    return Ask(use=False, store=False, reason=reason, forward=forward)


_METHOD: Final = _refused(Reason.METHOD, Forward.METHOD)
_BODY: Final = _refused(Reason.REQUEST_BODY)
_PRECONDITION: Final = _refused(Reason.PRECONDITION)
_UPGRADE: Final = _refused(Reason.UPGRADE)
_BYPASS_COOKIE: Final = _refused(Reason.BYPASS_COOKIE)


def may_look_up(request: Request, rules: Rules) -> Ask:
    """What the request allows (RFC 9111, 4 and 5.2.1; RFC 9110, 13.2)."""
    fields = request.fields
    if request.method not in ("GET", "HEAD"):
        return _METHOD
    # A body has no meaning here, but an application might read it and answer to it (RFC 9110, 9.3.1).
    if fields.get("content-length", "0") not in ("", "0") or "transfer-encoding" in fields:
        return _BODY
    # For the application to judge, never for a cache (RFC 9111, 4.3.2).
    if "if-match" in fields or "if-unmodified-since" in fields:
        return _PRECONDITION
    if "upgrade" in fields or "expect" in fields:
        return _UPGRADE
    if goes_past(fields.get("cookie", ""), rules.bypass_cookies):
        return _BYPASS_COOKIE
    wishes = _wishes(request) if rules.request_directives else NO_DIRECTIVES
    authorized = "authorization" in fields
    if not authorized and wishes is NO_DIRECTIVES:
        return PLAIN
    reason = Reason.AUTHORIZATION if authorized else Reason.OK
    if wishes.no_store:
        reason = Reason.REQUEST_NO_STORE
    return Ask(True, not wishes.no_store, reason, Forward.REQUEST, authorized, wishes)


def _wishes(request: Request) -> Directives:
    value = request.fields.get("cache-control")
    if value is not None:
        return parse_cache_control(value)
    # Where there is no Cache-Control (RFC 9111, 5.4).
    if "no-cache" in request.fields.get("pragma", "").lower():
        return _PRAGMA
    return NO_DIRECTIVES


_PRAGMA: Final = Directives(no_cache=True)


def goes_past(header: str, names: Iterable[str]) -> bool:
    """Whether a Cookie field has a cookie with which nothing is used and nothing is kept, or one whose name is no name.

    Django takes every kind of blank off a name, also those beyond ASCII: it would see a cookie that no key has."""
    if not header:
        return False
    if not (header.isascii() and header.isprintable()) and _strange_name(header):
        return True
    return has_cookie(header, names)


_strange_name: Final = re.compile(r"(?:^|;)[^=;]*[^\t\x20-\x7e=;]").search


def has_cookie(header: str, names: Iterable[str]) -> bool:
    """Whether a Cookie field has a cookie of one of these names, even an empty one."""
    if not header:
        return False
    for name in names:
        # Most requests have none of the names anywhere in the field.
        if name in header and any(chunk.partition("=")[0].strip(" \t") == name for chunk in header.split(";")):
            return True
    return False
