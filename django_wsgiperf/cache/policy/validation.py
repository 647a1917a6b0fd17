"""Asking the application whether a stored response still holds, and what its answer makes of it.

RFC 9111, 4.3: the conditional request, the 304 that freshens a stored response, and the HEAD that does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from django_wsgiperf.cache.entry import OWN_ETAG, Entry
from django_wsgiperf.cache.headers import parse_date, parse_etag, strong_match, weak_match
from django_wsgiperf.cache.messages import NO_ANNOTATION, NO_SIGNALS, Annotation, Request, Response, Signals, index

from .lookup import PLAIN, Ask
from .reasons import Reason
from .rules import HOP_BY_HOP, Rules
from .storing import Decision, may_store

_OF_THE_BODY: Final = frozenset(
    {"content-length", "content-encoding", "content-range", "content-digest", "content-md5"}
)
"""Describe the stored body, which a 304 does not bring anew (RFC 9111, 3.2; of the digests RFC 9530, 2)."""
_NOT_TAKEN: Final = _OF_THE_BODY | HOP_BY_HOP


def validators(entry: Entry) -> tuple[str | None, str | None]:
    """The ETag and Last-Modified by which the application knows the response; None where it gave none.

    An ETag that this cache made means nothing to the application."""
    fields = index(entry.headers)
    etag = None if entry.flags & OWN_ETAG else parse_etag(fields.get("etag"))
    modified = fields.get("last-modified")
    return etag, modified if modified is not None and parse_date(modified, entry.stored_at) is not None else None


def conditions(entries: Iterable[Entry]) -> dict[str, str]:
    """The fields, in lower case, that ask whether one of the stored responses still holds (RFC 9111, 4.3.1).

    Empty where none can be asked about. Several are asked about by their entity tags only; one, by its date too."""
    found = [validators(entry) for entry in entries]
    fields = {}
    tags = list(dict.fromkeys(etag for etag, _ in found if etag is not None))
    if tags:
        fields["if-none-match"] = ", ".join(tags)
    if len(found) == 1 and found[0][1] is not None:
        fields["if-modified-since"] = found[0][1]
    return fields


def confirmed_by(entries: Iterable[Entry], response: Response) -> Entry | None:
    """The stored response that a 304 speaks of (RFC 9111, 4.3.4), the latest of several; None where it is none of
    them, so that the request must be repeated without conditions."""
    fields = index(response.headers)
    stated, modified = parse_etag(fields.get("etag")), fields.get("last-modified")
    candidates = sorted(entries, key=lambda entry: entry.stored_at, reverse=True)
    for entry in candidates:
        etag, stored_modified = validators(entry)
        if stated is not None:
            strong = not stated.startswith("W/")
            if etag is not None and (strong_match if strong else weak_match)(stated, etag):
                return entry
        elif modified is not None:
            if _same_date(modified, stored_modified, entry.stored_at):
                return entry
        elif len(candidates) == 1:
            # It names nothing, as many do not; but only one response was asked about, and a 304 says yes to that.
            return entry
    return None


def _same_date(one: str, other: str | None, now: float) -> bool:
    return other is not None and parse_date(one, now) is not None and parse_date(one, now) == parse_date(other, now)


@dataclass(frozen=True, slots=True)
class Freshened:
    """A stored response with the head that a later response gave it."""

    headers: tuple[tuple[str, str], ...]
    """For the client that asked, whose body is that of the entry."""
    decision: Decision
    """Whether `entry` may take the place of the old one; if not, the old one is no longer true either."""
    entry: Entry


def freshen(
    entry: Entry,
    request: Request,
    response: Response,
    now: float,
    *,
    rules: Rules,
    sequence: int,
    ask: Ask = PLAIN,
    signals: Signals = NO_SIGNALS,
    annotation: Annotation = NO_ANNOTATION,
    requested_at: float | None = None,
) -> Freshened:
    """The stored response after a 304 confirmed it, or a HEAD said the same of it (RFC 9111, 3.2, 4.3.4 and 4.3.5).

    Judged anew as a whole, by the same rules as one that just arrived. `sequence` is the purge counter when the request
    began. The entry's tags stay beside new ones."""
    brought = {name.lower() for name, _ in response.headers}
    # With a new answer the old age is over, and so is the date that it was counted from.
    outdated = (brought | {"age", "date"}) - _OF_THE_BODY
    headers = (
        *(pair for pair in entry.headers if pair[0].lower() not in outdated),
        *(pair for pair in response.headers if pair[0].lower() not in _NOT_TAKEN),
    )
    decision = may_store(
        request if request.method == "GET" else replace(request, method="GET"),
        Response(entry.status, entry.reason, headers, len(entry.body)),
        now,
        rules=rules,
        ask=ask,
        signals=signals,
        annotation=annotation,
        requested_at=requested_at,
    )
    if not decision.store:
        return Freshened(headers, decision, entry)
    if decision.vary != tuple(name for name, _ in entry.vary):
        # It would have to be found by other fields than those it was stored by.
        return Freshened(headers, Decision(store=False, reason=Reason.UNMATCHED), entry)
    tags = tuple(dict.fromkeys((*entry.tags, *decision.tags)))
    # Beside the two of its address.
    if len(tags) > rules.max_tags + 2:
        return Freshened(headers, Decision(store=False, reason=Reason.TOO_MANY_TAGS), entry)
    freshened = replace(
        entry,
        headers=decision.headers,
        stored_at=now,
        initial_age_s=decision.initial_age_s,
        lifetime_s=decision.lifetime_s,
        swr_s=decision.swr_s,
        sie_s=decision.sie_s,
        keep_s=decision.keep_s,
        sequence=sequence,
        tags=tags,
        flags=decision.flags | (entry.flags & OWN_ETAG if "etag" not in brought else 0),
    )
    return Freshened(headers, decision, freshened)


def head_confirms(entry: Entry, response: Response) -> bool:
    """Whether the answer to a HEAD may freshen the stored response to a GET; where not, that is to be taken for stale
    (RFC 9111, 4.3.5): each validator that the answer has must match, and so must its Content-Length."""
    if response.status != 200 or entry.status != 200:
        return False
    stored, fields = index(entry.headers), response.index()
    length, modified = fields.get("content-length"), fields.get("last-modified")
    if length is not None and length.strip(" \t") != str(len(entry.body)):
        return False
    if "etag" in fields and fields["etag"] != stored.get("etag"):
        return False
    return modified is None or _same_date(modified, stored.get("last-modified"), entry.stored_at)
