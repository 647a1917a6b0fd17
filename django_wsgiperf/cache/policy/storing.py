"""Whether a response may be stored, and all that follows from it alone: lifetime, windows, what of its head is kept.

refusing.py has what forbids it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django_wsgiperf.cache.entry import HEURISTIC, MUST_VALIDATE, NEVER_STALE, NO_TRANSFORM, SHAREABLE, Entry
from django_wsgiperf.cache.headers import format_date, parse_cache_control, parse_groups, split_list
from django_wsgiperf.cache.messages import NO_ANNOTATION, NO_SIGNALS, Annotation, Headers, Request, Response, Signals

from .lifetime import initial_age, lifetime, windows
from .lookup import PLAIN, Ask
from .reading import Reading, nominated_fields, read
from .reasons import Reason
from .refusing import refused_by_form, refused_by_head, refused_by_request
from .rules import HOP_BY_HOP, Rules


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
        refused_by_request(request, ask, reading)
        or refused_by_head(
            response.status, reading, request.fields.get("cookie", ""), rules, signals=signals, annotation=annotation
        )
        or refused_by_form(response.status, response.headers, response.body_bytes, reading, rules)
    )
    if refusal is not None:
        return Decision(store=False, reason=refusal)
    return plan(request, response, reading, now, rules=rules, annotation=annotation, requested_at=requested_at)


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
