"""From what the application gave to what is kept of it: the decision, and the entry with its tags, ETag and lifetime.

Asks policy whether; the shelf keeps it. Nothing here calls the application or waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_128_hexdigest

from .addresses import TAGS_CHARS, tags_of
from .effects import Made
from .entry import MAX_ROUTE_CHARS, OWN_ETAG, TAG_BYTES, Entry, bytes_of
from .expiry import spread
from .headers import parse_no_vary_search
from .headers.structured import MATTERS
from .held import PAGE_BYTES, PAGE_LINE_BYTES, Held
from .messages import NO_SIGNALS
from .normalise import reads
from .policy import PLAIN, Reason, may_store
from .policy.heads import Known
from .policy.reading import Reading
from .policy.refusing import refused_by_form
from .policy.storing import plan
from .unseen import Nominated

if TYPE_CHECKING:
    from .engine import Engine
    from .looking import Looking

_DATE_BYTES: Final = PAGE_LINE_BYTES + len("Date") + len("Thu, 01 Jan 1970 00:00:00 GMT")
_ETAG_BYTES: Final = PAGE_LINE_BYTES + len("ETag")
_PAGE_BYTES: Final = PAGE_BYTES + TAGS_CHARS + 2 * TAG_BYTES + _DATE_BYTES
_MORE_LINE_BYTES: Final = PAGE_LINE_BYTES - 4
"""Beside the four that Known.chars() counts for each."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an answer: `held` where it is kept now, else why not."""

    reason: Reason
    held: Held | None = None
    search: str | None = None
    etag: str | None = None
    """The one that was made here."""

    def headers(self, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """The head of the answer itself, which others get a stored copy of."""
        return headers if self.etag is None else (*headers, ("ETag", self.etag))


def keep(engine: Engine, visit: Looking, made: Made, render_s: float, reading: Reading | None = None) -> Kept:
    """Keep the answer in memory, if it may be kept. `reading` is given where nothing in its head is against it, and its
    address is not excluded."""
    request, response, rules, now = visit.request, made.response, engine.site.rules, engine.now()
    if reading is None:
        if engine.site.is_excluded(request.path, request.script):
            return _refused(engine, visit, Reason.EXCLUDED)
        kept = _by_its_head(engine, visit, made, render_s)
        if kept is not None:
            return kept
        decision = may_store(
            request,
            response,
            now,
            rules=rules,
            ask=visit.ask,
            signals=made.signals,
            annotation=made.annotation,
            requested_at=visit.began_at,
        )
    else:
        reason = refused_by_form(response.status, response.headers, response.body_bytes, reading, rules)
        if reason is not None:
            return _refused(engine, visit, reason)
        decision = plan(
            request, response, reading, now, rules=rules, annotation=made.annotation, requested_at=visit.began_at
        )
    if not decision.store:
        return _refused(engine, visit, decision.reason)
    assert made.body is not None
    if len(decision.tags) > rules.max_tags:
        return _refused(engine, visit, Reason.TOO_MANY_TAGS)
    vary = engine.site.keys.values_of(decision.vary, request)
    encoding = made.fields.get("content-encoding")
    if encoding and not reads(dict(vary).get("accept-encoding"), encoding):
        # Encoded for who cannot read it: Django's GZipMiddleware takes `gzip;q=0` for a yes.
        return _refused(engine, visit, Reason.UNKNOWN_CODING)
    search = search_in(made)
    etag = None
    if engine.makes_etags and made.status == 200 and "etag" not in made.fields:
        etag = etag_of(made.body)
    entry = Entry(
        made.status,
        made.reason,
        decision.headers if etag is None else (*decision.headers, ("ETag", etag)),
        made.body,
        stored_at=now,
        initial_age_s=decision.initial_age_s,
        lifetime_s=spread(decision.lifetime_s, engine.jitter),
        swr_s=decision.swr_s,
        sie_s=decision.sie_s,
        keep_s=decision.keep_s,
        sequence=visit.sequence,
        tags=(*tags_of(engine.site.keys, request, search), *decision.tags),
        vary=vary,
        render_s=render_s,
        flags=decision.flags if etag is None else decision.flags | OWN_ETAG,
        route=made.route[:MAX_ROUTE_CHARS],
    )
    held = engine.shelf.put(entry, request, search)
    engine.counters.stored += 1
    return Kept(Reason.OK, held, search, etag)


def _by_its_head(engine: Engine, visit: Looking, made: Made, render_s: float) -> Kept | None:
    """As keep(), by what is known of the head of the answer; None where the rules have to be asked."""
    request = visit.request
    if visit.ask is not PLAIN or request.method != "GET" or made.signals is not NO_SIGNALS:
        return None
    cookies = request.fields.get("cookie", "")
    known = engine.heads.known(made.status, made.headers, visit.private, cookies, made.annotation)
    if known is None:
        return None
    if known.judgement.reason is not None:
        return _refused(engine, visit, known.judgement.reason)
    if made.body is None:
        return None
    keys, tags = engine.site.keys, made.annotation.tags
    kept = keep_known(
        engine,
        known,
        made.status,
        made.reason,
        made.headers,
        made.body,
        tags,
        made.route,
        render_s,
        keys.values_of(known.judgement.decision.vary, request),
        None if engine.site.language is None else tags_of(keys, request, None),
        keys.of_request(request),
        visit.sequence,
    )
    return None if kept is None else Kept(Reason.OK, kept[0], None, kept[1])


def keep_known(
    engine: Engine,
    known: Known,
    status: int,
    reason: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    tags: tuple[str, ...],
    route: str,
    render_s: float,
    vary: Nominated,
    address_tags: tuple[str, str] | None,
    primary: bytes,
    sequence: int,
) -> tuple[Held, str | None] | None:
    """As keep(), for an answer whose head is known and not refused: no rule has to be asked, unless something is
    against its form; then None. `tags` are those that the view has noted, `render_s` is what it took, `vary` are the
    values of the nominated fields, `address_tags` are given where the primary key does not tell them. With it the ETag
    made here."""
    clock, judgement, body_bytes = engine.now, known.judgement, len(body)
    now = clock()
    chars = known.chars(headers, body_bytes, engine.site.rules)
    if chars < 0:
        return None
    decision = judgement.decision
    if decision.tags:
        tags = tuple(dict.fromkeys((*tags, *decision.tags)))
    if tags and len(tags) > engine.site.rules.max_tags:
        return None
    if vary and judgement.encoding and not reads(dict(vary).get("accept-encoding"), judgement.encoding):
        return None
    own: int | tuple[tuple[str, str], ...] | None = known.at
    lines = len(headers)
    if own is None:
        own = tuple(known.stored(headers))
        if len(own) != lines:
            lines = len(own)
            chars = len("".join(chain.from_iterable(own))) + 4 * lines
    route = route[:MAX_ROUTE_CHARS]
    size = _PAGE_BYTES + body_bytes + chars + _MORE_LINE_BYTES * lines + len(reason) + len(route)
    etag = None
    if engine.makes_etags and status == 200 and "ETag" not in known.varying:
        etag = etag_of(body)
        size += _ETAG_BYTES + len(etag)
    sending = engine.sending
    if tags:
        size += len("".join(tags)) + TAG_BYTES * len(tags)
    if vary:
        size += bytes_of(vary)
    held = engine.shelf.place_unseen(
        (
            judgement,
            status,
            reason,
            own,
            body,
            etag,
            now,
            render_s,
            sequence,
            address_tags,
            tags,
            vary,
            route,
            engine.jitter,
        ),
        primary,
        vary,
        sending.codings if judgement.is_offered and body_bytes >= sending.min_bytes else (),
        size,
    )
    engine.counters.stored += 1
    return held, etag


def etag_of(body: bytes) -> str:
    """An ETag of a body: 128 bits of XXH3, which no two versions of a page have in common by chance.

    It is no protection against who searches for such versions: he would have made both of them."""
    return f'"{xxh3_128_hexdigest(body)}"'


def _refused(engine: Engine, visit: Looking, reason: Reason) -> Kept:
    engine.counters.refuse(reason, visit.primary)
    return Kept(reason)


def jittered(entry: Entry, share: float) -> Entry:
    """With a lifetime that pages confirmed together do not all have."""
    return replace(entry, lifetime_s=spread(entry.lifetime_s, share))


def search_in(made: Made) -> str | None:
    """The No-Vary-Search of an answer; None where it says nothing."""
    value = made.fields.get("no-vary-search")
    return None if value is None or parse_no_vary_search(value) == MATTERS else value
