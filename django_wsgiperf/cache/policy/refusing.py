"""Why a response is not stored (RFC 9111, 3, and this cache's caution). None stands for nothing against it.

The refusals come in the order of their weight: first how the response was made, then what it says of itself, then
whether it is worth it. What follows where there is none is storing.py's.
"""

from __future__ import annotations

from typing import Final

from django_wsgiperf.cache.headers import parse_cache_control, parse_vary, split_list
from django_wsgiperf.cache.headers.lists import EVERYTHING
from django_wsgiperf.cache.messages import NO_ANNOTATION, NO_SIGNALS, Annotation, Headers, Request, Signals
from django_wsgiperf.cache.normalise import KNOWN_CODINGS

from .lookup import Ask, has_cookie
from .reading import Reading, nominated_fields
from .reasons import Reason
from .rules import UNDERSTOOD_STATUSES, Rules

_MADE: Final = (
    ("failed", Reason.FAILED),
    ("excluded", Reason.EXCLUDED),
    ("debug", Reason.DEBUG),
    ("streaming", Reason.STREAMING),
    ("csrf_used", Reason.CSRF),
    ("session_used", Reason.SESSION),
    ("messages_shown", Reason.MESSAGES),
    ("csp_nonce", Reason.CSP_NONCE),
    ("time_zone", Reason.TIME_ZONE),
    ("language", Reason.LANGUAGE),
)
_NONCE_FIELDS: Final = ("content-security-policy", "content-security-policy-report-only")
_PARTS: Final = frozenset({206, 416})
"""Answers to a Range, which is no part of any key: 416 would tell everybody that there is no page."""
_PARTLY: Final = _PARTS | {304}
_SILENT: Final = frozenset(
    {
        *("Content-Type", "Content-Length", "Content-Language", "Content-Disposition", "ETag", "Last-Modified", "Date"),
        *("X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy"),
        *("Strict-Transport-Security", "Permissions-Policy", "Location", "Allow", "Link", "Server-Timing"),
        *("X-Request-ID", "Access-Control-Allow-Origin", "X-Robots-Tag"),
    }
)
"""Fields, as they are mostly spelled, that say nothing of whether a response without any lifetime is stored."""
_COOKIE_FIELDS: Final = ("set-cookie", "set-cookie2")
_WITHOUT_BODY: Final = frozenset({204, 205})


def refused_by_request(request: Request, ask: Ask, reading: Reading) -> Reason | None:
    if request.method != "GET":
        return Reason.METHOD
    if not ask.store:
        return ask.reason
    if "authorization" in request.fields and not reading.directives.shareable:
        return Reason.AUTHORIZATION
    return None


def refused_by_head(
    status: int,
    reading: Reading,
    cookies: str,
    rules: Rules,
    *,
    signals: Signals = NO_SIGNALS,
    annotation: Annotation = NO_ANNOTATION,
) -> Reason | None:
    """Why the answer to a plain GET with these cookies is not stored, as far as its body does not matter."""
    return (
        _refused_by_making(reading, signals, annotation)
        or _refused_by_itself(status, reading)
        or _refused_by_variants(cookies, reading, annotation, rules)
        or (Reason.NO_FRESHNESS if _says_nothing(reading, annotation, rules) else None)
    )


def refused_at_a_glance(status: int, headers: Headers, private: bool, rules: Rules) -> Reason | None:
    """As refused_by_head() for an answer that was made without signals and annotations, where hardly anything in its
    head has a say: most of Django's have no word about caching, or forbid it. None where it has to be read.

    `private`: the request has one of `private_cookies`."""
    if not 200 <= status <= 599 or status in _PARTLY or rules.heuristic:
        return None
    vary = control = expires = None
    for name, value in headers:
        if name not in _SILENT:
            if name == "Vary" and vary is None:
                vary = value
            elif name == "Cache-Control" and control is None:
                control = value
            elif name == "Expires":
                expires = value
            else:
                return None
    if control is not None:
        directives = parse_cache_control(control)
        if directives.must_understand:
            return None
        if directives.no_store:
            return Reason.NO_STORE
        return Reason.PRIVATE if directives.private else None
    if expires is not None:
        return None
    if vary is not None:
        nominated = parse_vary(vary)
        if nominated == EVERYTHING or len(nominated) > rules.max_nominated:
            return None
        if private and "cookie" in nominated:
            return Reason.PRIVATE_COOKIE
    return Reason.NO_FRESHNESS


def _refused_by_making(reading: Reading, signals: Signals, annotation: Annotation) -> Reason | None:
    if annotation.never:
        return Reason.NEVER
    if signals is not NO_SIGNALS:
        for name, reason in _MADE:
            if getattr(signals, name):
                return reason
    # A nonce is worth nothing once it is sent twice, whoever made it.
    fields = reading.fields
    for name in _NONCE_FIELDS:
        if name in fields and "'nonce-" in fields[name].lower():
            return Reason.CSP_NONCE
    return None


def _refused_by_itself(status: int, reading: Reading) -> Reason | None:
    directives = reading.directives
    if status in _PARTS:
        return Reason.PARTIAL
    if status == 304:
        return Reason.NOT_MODIFIED
    if not 200 <= status <= 599:
        return Reason.STATUS
    if directives.must_understand:
        # Goes before no-store, which is for caches that do not know must-understand (RFC 9111, 5.2.2.3).
        if status not in UNDERSTOOD_STATUSES:
            return Reason.NOT_UNDERSTOOD
    elif directives.no_store:
        return Reason.NO_STORE
    if directives.private:
        return Reason.PRIVATE
    # Cookies that the response itself sets apart, by `private="set-cookie"`, are left out of what is stored.
    fields = reading.fields
    for name in _COOKIE_FIELDS:
        if name in fields and name not in (*directives.private_fields, *directives.no_cache_fields):
            return Reason.SET_COOKIE
    return None


def _refused_by_variants(cookies: str, reading: Reading, annotation: Annotation, rules: Rules) -> Reason | None:
    fields = reading.fields
    if "vary" not in fields and annotation.vary_cookies is None:
        return None
    vary = nominated_fields(reading, annotation)
    if vary == EVERYTHING:
        return Reason.VARY_STAR
    if len(vary) > rules.max_nominated:
        return Reason.VARY_TOO_WIDE
    if "cookie" in vary and has_cookie(cookies, rules.private_cookies):
        return Reason.PRIVATE_COOKIE
    # Requests are told apart by the codings that are known; a response in another would reach those who cannot read it.
    coding = fields.get("content-encoding")
    if coding and "accept-encoding" in vary and not KNOWN_CODINGS.issuperset(split_list(coding.lower())):
        return Reason.UNKNOWN_CODING
    return None


def _says_nothing(reading: Reading, annotation: Annotation, rules: Rules) -> bool:
    """Whether nothing is said of a lifetime, by anybody, and none may be guessed: lifetime() would find none."""
    directives = reading.directives
    return (
        directives.max_age is None
        and directives.s_maxage is None
        and not directives.no_cache
        and annotation.lifetime_s is None
        and not rules.heuristic
        and (reading.targeted or "expires" not in reading.fields)
    )


def refused_by_form(
    status: int, headers: tuple[tuple[str, str], ...], body_bytes: int | None, reading: Reading, rules: Rules
) -> Reason | None:
    """Why a response of this form is not stored."""
    if body_bytes is None:
        return Reason.STREAMING
    if body_bytes > rules.max_body_bytes:
        return Reason.BODY_TOO_LARGE
    text = "".join([part for pair in headers for part in pair])
    # With a colon, a blank and an end of line for each.
    if len(text) + 4 * len(headers) > rules.max_head_bytes:
        return Reason.HEAD_TOO_LARGE
    if "\n" in text or "\r" in text or "\0" in text:
        return Reason.MALFORMED
    length = reading.fields.get("content-length")
    if length is not None and length.strip(" \t") != str(body_bytes) and status not in _WITHOUT_BODY:
        return Reason.LENGTH_MISMATCH
    return None
