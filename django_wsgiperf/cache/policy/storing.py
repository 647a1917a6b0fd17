"""Whether a response may be stored, and all that follows from it alone: lifetime, windows, what of its head is kept.

The refusals come in the order of their weight: first how the response was made, then what it says of itself, then
whether it is worth it. Each has a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django_wsgiperf.cache.entry import HEURISTIC, MUST_VALIDATE, NEVER_STALE, NO_TRANSFORM, SHAREABLE, Entry
from django_wsgiperf.cache.headers import format_date, parse_cache_control, parse_groups, parse_vary, split_list
from django_wsgiperf.cache.headers.lists import EVERYTHING
from django_wsgiperf.cache.messages import (
    NO_ANNOTATION,
    NO_SIGNALS,
    Annotation,
    Headers,
    Request,
    Response,
    Signals,
)
from django_wsgiperf.cache.normalise import COOKIE, KNOWN_CODINGS, RAW_LANGUAGE

from .lifetime import initial_age, lifetime, windows
from .lookup import PLAIN, Ask, has_cookie
from .reading import Reading, read
from .reasons import Reason
from .rules import HOP_BY_HOP, UNDERSTOOD_STATUSES, Rules


@dataclass(slots=True)
class Decision:
    """Whether to store; where not, only `reason` has meaning. The rest are the fields of an Entry, spans in seconds."""

    store: bool
    reason: Reason
    headers: tuple[tuple[str, str], ...] = ()
    vary: tuple[str, ...] = ()
    """The nominated fields, lower case, sorted."""
    tags: tuple[str, ...] = ()
    initial_age_s: float = 0.0
    lifetime_s: float = 0.0
    swr_s: float = 0.0
    sie_s: float = 0.0
    keep_s: float = 0.0
    flags: int = 0

    def entry(
        self,
        response: Response,
        body: bytes,
        now: float,
        *,
        nominated: tuple[tuple[str, str | None], ...] = (),
        sequence: int = 0,
        render_s: float = 0.0,
    ) -> Entry:
        """The entry to store for a response that arrived at `now`; `nominated` are the values of `vary`."""
        return Entry(
            response.status,
            response.reason,
            self.headers,
            body,
            stored_at=now,
            initial_age_s=self.initial_age_s,
            lifetime_s=self.lifetime_s,
            swr_s=self.swr_s,
            sie_s=self.sie_s,
            keep_s=self.keep_s,
            sequence=sequence,
            tags=self.tags,
            vary=nominated,
            render_s=render_s,
            flags=self.flags,
        )


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
_PARTLY: Final = frozenset({206, 304})
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
NEVER_STORED: Final = HOP_BY_HOP | {
    *("age", "cache-status", "set-cookie", "set-cookie2", "cache-group-invalidation"),
    # Of this one exchange: our own middleware adds them.
    *("x-request-id", "server-timing"),
}


def may_store(
    request: Request,
    response: Response,
    now: float,
    *,
    rules: Rules,
    ask: Ask = PLAIN,
    signals: Signals = NO_SIGNALS,
    annotation: Annotation = NO_ANNOTATION,
    requested_at: float | None = None,
) -> Decision:
    """Whether the response, which arrived at `now`, may be stored for others (RFC 9111, 3, and this cache's caution).

    `ask` is what may_look_up() made of the request. `requested_at` is when the response was asked for, by which its Age
    is corrected; without it, `now`."""
    reading = read(response.headers, rules)
    refusal = (
        _refused_by_request(request, ask, reading)
        or refused_by_head(
            response.status, reading, request.fields.get("cookie", ""), rules, signals=signals, annotation=annotation
        )
        or refused_by_form(response.status, response.headers, response.body_bytes, reading, rules)
    )
    if refusal is not None:
        return Decision(store=False, reason=refusal)
    return plan(request, response, reading, now, rules=rules, annotation=annotation, requested_at=requested_at)


def _refused_by_request(request: Request, ask: Ask, reading: Reading) -> Reason | None:
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
    if status == 206:
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


def plan(
    request: Request,
    response: Response,
    reading: Reading,
    now: float,
    *,
    rules: Rules,
    annotation: Annotation = NO_ANNOTATION,
    requested_at: float | None = None,
) -> Decision:
    """What follows for a response that nothing of the above refuses; it may yet have no lifetime, or be over."""
    directives = reading.directives
    can_be_asked = has_validator(reading)
    if directives.no_cache and not (rules.store_no_cache and can_be_asked):
        return Decision(store=False, reason=Reason.NO_CACHE)
    lifetime_s, guessed = lifetime(request, response, reading, annotation, rules, now)
    if lifetime_s is None:
        return Decision(store=False, reason=Reason.NO_FRESHNESS)
    age_s = initial_age(reading, now, requested_at)
    swr_s, sie_s, bound = windows(reading, annotation, rules)
    keep_s = 0.0
    if can_be_asked:
        keep_s = rules.keep_s if annotation.keep_s is None else max(annotation.keep_s, 0.0)
    if lifetime_s - age_s + max(swr_s, sie_s, keep_s) <= 0.0:
        return Decision(store=False, reason=Reason.EXPIRED)
    # It speaks to everybody on the way, so the field for all counts beside a targeted one.
    untouchable = directives.no_transform or (
        reading.targeted and parse_cache_control(reading.fields.get("cache-control", "")).no_transform
    )
    groups = reading.fields.get("cache-groups")
    return Decision(
        store=True,
        reason=Reason.OK,
        headers=storable(response.headers, reading, now),
        vary=nominated_fields(reading, annotation),
        tags=annotation.tags if groups is None else tuple(dict.fromkeys((*annotation.tags, *parse_groups(groups)))),
        initial_age_s=age_s,
        lifetime_s=lifetime_s,
        swr_s=swr_s,
        sie_s=sie_s,
        keep_s=keep_s,
        flags=(MUST_VALIDATE if directives.no_cache else 0)
        | (NO_TRANSFORM if untouchable else 0)
        | (HEURISTIC if guessed else 0)
        | (SHAREABLE if directives.shareable else 0)
        | (NEVER_STALE if bound else 0),
    )


def nominated_fields(reading: Reading, annotation: Annotation) -> tuple[str, ...]:
    """The fields of Vary, and in place of Cookie the cookies that the view says it depends on, as key.py has them, and
    of Accept-Language what it is sent as, where the view says so."""
    value = reading.fields.get("vary")
    vary = () if value is None else parse_vary(value)
    if vary == EVERYTHING:
        return vary
    if annotation.raw_language:
        vary = tuple(sorted({RAW_LANGUAGE}.union(vary) - {"accept-language"}))
    if annotation.vary_cookies is None:
        return vary
    cookies = {f"{COOKIE}{name}" for name in annotation.vary_cookies}
    return tuple(sorted(cookies.union(vary) - {"cookie"}))


def has_validator(reading: Reading) -> bool:
    """Whether the application can be asked if the response still holds (RFC 9111, 4.3.1)."""
    return reading.etag is not None or reading.date("last-modified", 0.0) is not None


def storable(headers: Headers, reading: Reading, now: float) -> tuple[tuple[str, str], ...]:
    """What of a head is stored (RFC 9111, 3.1): not what is of one connection, of this one exchange, or set apart by
    `private` or `no-cache`. A Date that is missing or cannot be read is put right (RFC 9110, 6.6.1)."""
    directives, dropped = reading.directives, NEVER_STORED
    connection = reading.fields.get("connection")
    if connection is not None or directives.private_fields or directives.no_cache_fields:
        named = (name.lower() for name in split_list(connection or ""))
        dropped = dropped.union(named, directives.private_fields, directives.no_cache_fields)
    if reading.date("date", now) is not None and "date" not in dropped:
        return tuple([pair for pair in headers if pair[0].lower() not in dropped])
    kept = [pair for pair in headers if pair[0].lower() not in dropped and pair[0].lower() != "date"]
    return (*kept, ("Date", format_date(now)))
