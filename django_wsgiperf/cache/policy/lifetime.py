"""How long a response may be used: its lifetime, the windows after it, and how old it is when it arrives.

RFC 9111, 4.2.1 to 4.2.3, and RFC 5861. All spans are seconds, all times unix seconds.
"""

from __future__ import annotations

from django_wsgiperf.cache.headers import parse_age
from django_wsgiperf.cache.messages import Annotation, Request, Response

from .reading import Reading
from .rules import HEURISTIC_STATUSES, Rules


def lifetime(
    request: Request, response: Response, reading: Reading, annotation: Annotation, rules: Rules, now: float
) -> tuple[float | None, bool]:
    """Freshness lifetime (RFC 9111, 4.2.1), None where there is none; and whether it was guessed (4.2.2)."""
    directives, fields = reading.directives, reading.fields
    # What a view says of its pages is not said of its errors and redirects.
    if annotation.lifetime_s is not None and response.status in HEURISTIC_STATUSES:
        return _bounded(annotation.lifetime_s, rules), False
    seconds = directives.max_age if directives.s_maxage is None else directives.s_maxage
    if seconds is not None:
        return _bounded(float(seconds), rules), False
    if directives.no_cache:
        return 0.0, False
    date = reading.date("date", now)
    made_at = now if date is None else date
    if not reading.targeted and "expires" in fields:
        # What cannot be read, several of them too, is a time in the past (RFC 9111, 5.3).
        expires = reading.date("expires", now)
        return (0.0 if expires is None else _bounded(expires - made_at, rules)), False
    modified = reading.date("last-modified", now)
    if (
        rules.heuristic
        and modified is not None
        and modified <= made_at
        and (response.status in HEURISTIC_STATUSES or directives.public)
        # Pages of a query were never meant to be kept, unless they said so (RFC 9111, 4.2.2).
        and not request.query
    ):
        return _bounded(min((made_at - modified) * rules.heuristic_fraction, rules.heuristic_max_s), rules), True
    return None, False


def _bounded(seconds: float, rules: Rules) -> float:
    return min(max(seconds, 0.0), rules.max_lifetime_s)


def windows(reading: Reading, annotation: Annotation, rules: Rules) -> tuple[float, float, bool]:
    """stale-while-revalidate and stale-if-error, 0 where forbidden (RFC 9111, 4.2.4); and whether they are forbidden.

    What a view told this cache alone goes before what the response tells everybody."""
    directives = reading.directives
    revalidated = directives.must_revalidate or directives.proxy_revalidate or directives.no_cache
    shared_age = directives.s_maxage is not None

    def window(annotated: float | None, said: int | None, default: float) -> float:
        if annotated is not None:
            return max(annotated, 0.0)
        if revalidated or (shared_age and (said is None or rules.s_maxage_forbids_stale)):
            return 0.0
        return default if said is None else float(said)

    return (
        window(annotation.swr_s, directives.stale_while_revalidate, rules.swr_s),
        window(annotation.sie_s, directives.stale_if_error, rules.sie_s),
        revalidated or shared_age,
    )


def initial_age(reading: Reading, now: float, requested_at: float | None = None) -> float:
    """corrected_initial_age (RFC 9111, 4.2.3) of a response that arrived at `now`."""
    date = reading.date("date", now)
    # A Date says whole seconds, by which a response of this second would seem to have an age.
    apparent = 0.0 if date is None else max(now // 1 - date, 0.0)
    value = reading.fields.get("age")
    age = None if value is None else parse_age(value)
    # Only what came from elsewhere has an Age; what was made here is as old as its making, which ended now.
    if age is None:
        return apparent
    return max(apparent, age + (0.0 if requested_at is None else max(now - requested_at, 0.0)))
