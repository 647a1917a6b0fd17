"""From what the application gave to what is kept of it: the decision, and the entry with its tags, ETag and lifetime.

Asks policy whether; the shelf keeps it. Nothing here calls the application or waits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from .addresses import tags_of
from .effects import Made
from .entry import MAX_ROUTE_CHARS, OWN_ETAG, Entry
from .expiry import spread
from .headers import parse_no_vary_search
from .headers.structured import MATTERS
from .held import Held
from .messages import Headers, index
from .policy import Decision, Reason, may_store

if TYPE_CHECKING:
    from .engine import Engine
    from .visit import Visit

_ETAG_BYTES: Final = 12
MAX_TAGS: Final = 256


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


def keep(engine: Engine, visit: Visit, made: Made, render_s: float) -> Kept:
    """Keep the answer in memory, if it may be kept."""
    request, now = visit.request, engine.now()
    if engine.site.is_excluded(request.path):
        return _refused(engine, Reason.EXCLUDED)
    decision = may_store(
        request,
        made.response,
        now,
        rules=engine.site.rules,
        ask=visit.ask,
        signals=made.signals,
        annotation=made.annotation,
        requested_at=visit.began_at,
    )
    if not decision.store:
        return _refused(engine, decision.reason)
    assert made.body is not None
    entry = _entry(engine, visit, made, decision, now, render_s)
    etag = None
    if engine.makes_etags and made.status == 200 and "etag" not in index(entry.headers):
        etag = f'"{blake2b(made.body, digest_size=_ETAG_BYTES).hexdigest()}"'
        entry = replace(entry, headers=(*entry.headers, ("ETag", etag)), flags=entry.flags | OWN_ETAG)
    search = search_in(made.headers)
    held = engine.shelf.put(entry, request, search)
    engine.counters.stored += 1
    return Kept(Reason.OK, held, search, etag)


def _refused(engine: Engine, reason: Reason) -> Kept:
    engine.counters.refuse(reason)
    return Kept(reason)


def _entry(engine: Engine, visit: Visit, made: Made, decision: Decision, now: float, render_s: float) -> Entry:
    request = visit.request
    nominated = engine.site.keys.values_of(decision.vary, request)
    assert made.body is not None
    entry = decision.entry(
        made.response, made.body, now, nominated=nominated, sequence=visit.sequence, render_s=render_s
    )
    tags = (*tags_of(engine.site.keys, request, search_in(made.headers)), *entry.tags[:MAX_TAGS])
    return replace(
        entry,
        tags=tags,
        route=made.route[:MAX_ROUTE_CHARS],
        lifetime_s=spread(entry.lifetime_s, engine.jitter),
    )


def jittered(entry: Entry, share: float) -> Entry:
    """With a lifetime that pages confirmed together do not all have."""
    return replace(entry, lifetime_s=spread(entry.lifetime_s, share))


def search_in(headers: Headers) -> str | None:
    """The No-Vary-Search of a response; None where it says nothing."""
    values = [value for name, value in headers if name.lower() == "no-vary-search"]
    if not values:
        return None
    value = ", ".join(values)
    return None if parse_no_vary_search(value) == MATTERS else value
