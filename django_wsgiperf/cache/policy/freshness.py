"""How old a stored response is, and what may be done with it now (RFC 9111, 4.2; RFC 5861).

judge() runs for every hit: all that depends on the response alone was worked out when it was stored (storing.py).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from django_wsgiperf.cache.entry import MUST_VALIDATE, NEVER_STALE, SHAREABLE, Entry

from .lookup import PLAIN, Ask
from .reasons import Reason


class Verdict(IntEnum):
    """What may be done with a stored response."""

    FRESH = 0
    """Sent as it is."""
    REFRESH = 1
    """Sent as it is, though stale, while a new one is made in the background (RFC 5861, 3)."""
    VALIDATE = 2
    """Sent only after the application was asked."""
    GONE = 3
    """Of no more use; may be dropped."""
    UNFIT = 4
    """Not for this request, which the application has to answer; kept for others."""


def current_age(entry: Entry, now: float) -> float:
    """Seconds since it was made or last validated at its origin (RFC 9111, 4.2.3). Never falls while `now` rises.

    A clock that was set back makes nothing younger than it was when it was stored."""
    resident = now - entry.stored_at
    return entry.initial_age_s + resident if resident > 0.0 else entry.initial_age_s


def judge(entry: Entry, now: float, ask: Ask = PLAIN) -> tuple[Verdict, Reason]:
    """What may be done with the response for a request whose nominated fields match it, and why not more."""
    left = entry.lifetime_s - current_age(entry, now)
    if ask is not PLAIN:
        return _judge_for(entry, left, ask)
    if left > 0.0 and not entry.flags & MUST_VALIDATE:
        return _FRESH
    return _judge_stale(entry, left)


_FRESH: Final = (Verdict.FRESH, Reason.OK)
_REFRESH: Final = (Verdict.REFRESH, Reason.STALE)
_STALE: Final = (Verdict.VALIDATE, Reason.STALE)
_GONE: Final = (Verdict.GONE, Reason.STALE)


def _judge_stale(entry: Entry, left: float) -> tuple[Verdict, Reason]:
    if left > 0.0:
        return Verdict.VALIDATE, Reason.MUST_VALIDATE
    if -left < entry.swr_s and not entry.flags & MUST_VALIDATE:
        return _REFRESH
    return _STALE if -left < max(entry.keep_s, entry.sie_s) else _GONE


def _judge_for(entry: Entry, left: float, ask: Ask) -> tuple[Verdict, Reason]:
    wishes = ask.wishes
    if ask.authorized and not entry.flags & SHAREABLE:
        return Verdict.UNFIT, Reason.AUTHORIZATION
    if entry.flags & MUST_VALIDATE:
        return _judge_stale(entry, left)
    if wishes.no_cache:
        return Verdict.VALIDATE, Reason.REQUEST_NO_CACHE
    age = entry.lifetime_s - left
    # Staleness that the client accepts (RFC 9111, 5.2.1.2), but for responses that forbid it (4.2.4).
    accepted = wishes.max_stale or 0
    if entry.flags & NEVER_STALE:
        accepted = 0
    if wishes.max_age is not None and age > wishes.max_age and left > 0.0:
        return Verdict.VALIDATE, Reason.REQUEST_MAX_AGE
    if wishes.min_fresh is not None and left < wishes.min_fresh:
        return Verdict.VALIDATE, Reason.REQUEST_MIN_FRESH
    if left > 0.0 or -left < accepted:
        return _FRESH
    # A client that sets limits means them, even where the response would allow more.
    if wishes.max_age is not None:
        return _STALE
    return _judge_stale(entry, left)


def covers_errors(entry: Entry, now: float, ask: Ask = PLAIN) -> bool:
    """Whether it may be sent in place of an error that the application gave (RFC 5861, 4): by what it says itself, or
    by what the client accepts."""
    left = entry.lifetime_s - current_age(entry, now)
    accepted = 0 if entry.flags & NEVER_STALE else ask.wishes.stale_if_error or 0
    return not entry.flags & MUST_VALIDATE and (left > 0.0 or -left < max(entry.sie_s, accepted))


def age_value(entry: Entry, now: float) -> str:
    """The value of Age (RFC 9111, 5.1)."""
    return str(int(current_age(entry, now)))


def time_to_live(entry: Entry, now: float) -> int:
    """`ttl` of Cache-Status: whole seconds of lifetime left, negative when stale (RFC 9211, 2.4)."""
    return int((entry.lifetime_s - current_age(entry, now)) // 1)
