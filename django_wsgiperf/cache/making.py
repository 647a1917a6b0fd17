"""Having a page made for one request: called with which conditions, and what becomes of the answer.

It is kept, or refused, or confirms what is stored, or is covered by that when it is an error. The middle third of a
visit: looking.py answers from what is stored, visit.py says when which is done.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, Final

from .coded import varying_by_coding
from .effects import Call, Landing, Made, Pass, Render, Reply
from .held import Held
from .hit_for_miss import ALWAYS
from .lease import Lease
from .looking import REASONS, Looking
from .messages import Request
from .policy import (
    ERROR_STATUSES,
    Forward,
    Reason,
    Verdict,
    answer,
    conditions,
    confirmed_by,
    covers_errors,
    freshen,
    head_confirms,
    judge,
)
from .storage import Kept, jittered, keep, search_in
from .tags import Verdict as Purged
from .ticket import Ticket, Why

_NO_LONGER: Final = frozenset(
    {
        *(Reason.NEVER, Reason.EXCLUDED, Reason.STREAMING, Reason.STATUS, Reason.NOT_UNDERSTOOD, Reason.MALFORMED),
        *(Reason.NO_STORE, Reason.PRIVATE, Reason.NO_CACHE, Reason.NO_FRESHNESS, Reason.EXPIRED),
        *(Reason.VARY_STAR, Reason.VARY_TOO_WIDE, Reason.BODY_TOO_LARGE, Reason.HEAD_TOO_LARGE),
        Reason.TOO_MANY_TAGS,
    }
)
"""With these the page itself has become one that is not shared; the others are about this one visitor or request."""


class Making(Looking):
    """What the application is asked for this request, and what is made of it."""

    __slots__ = ()

    def _path_key(self) -> str:
        """The key of the path with whatever query, in the eyes of those who have or have not a session."""
        address = self.engine.shelf.address(self.request).hex()
        return f"path:{address}-private" if self.private else f"path:{address}"

    def _render(self, ticket: Ticket[Landing], lease: Lease | None = None) -> Generator[Any, Any, Reply | Pass]:
        engine = self.engine
        candidate = self.candidate
        wanted = self._conditions(ticket)
        began_s = engine.monotonic()
        # From here on it sees what purges have left: not before, since it may have waited for long.
        self.sequence = engine.tags.sequence
        confirmed = False
        try:
            made: Made = yield Render(wanted, buffer=True)
            if made.status == 304 and wanted and candidate is not None:
                confirmed = confirmed_by([candidate.entry], made.response) is not None
                if not confirmed:
                    # It speaks of another response than the one that was asked about: ask for the whole.
                    made.close()
                    made = yield Render({}, buffer=True)
        except Exception:
            covered = self._cover(None, ticket)
            if covered is not None:
                return covered
            raise
        if confirmed:
            return (yield from self._confirmed(made, ticket, lease))
        render_s = engine.monotonic() - began_s
        if _failed(made):
            covered = self._cover(made, ticket)
            if covered is not None:
                return covered
        if self.request.method == "HEAD":
            return (yield from self._head(made))
        kept = keep(engine, self, made, render_s)
        self.settle(made, kept, ticket)
        held = kept.held
        if held is not None:
            if engine.shelf.store is not None:
                yield Call(lambda: engine.shelf.store_entry(held, self.request, kept.search, lease))
        elif candidate is not None and kept.reason in _NO_LONGER and not (self.private or _failed(made)):
            yield Call(lambda: engine.shelf.drop(candidate))
        return self.passed(made, kept)

    def _conditions(self, ticket: Ticket[Landing]) -> dict[str, str] | None:
        """What to ask the application under; None for the client's own conditions."""
        if self.request.method != "GET" or not self.ask.store:
            return None
        if self.candidate is not None:
            wanted = conditions([self.candidate.entry])
        elif ticket.is_leading:
            wanted = {}
        else:
            return None
        fields = self.request.fields
        self.stripped = "if-none-match" in fields or "if-modified-since" in fields
        return wanted if wanted or self.stripped else None

    def _confirmed(self, made: Made, ticket: Ticket[Landing], lease: Lease | None = None) -> Generator[Any, Any, Reply]:
        """The application says that the stored response still holds (RFC 9111, 4.3.4)."""
        engine, candidate = self.engine, self.candidate
        assert candidate is not None
        now = engine.now()
        freshened = freshen(
            candidate.entry,
            self.request,
            made.response,
            now,
            rules=engine.site.rules,
            sequence=self.sequence,
            ask=self.ask,
            signals=made.signals,
            annotation=made.annotation,
            requested_at=self.began_at,
        )
        made.tell("revalidated")
        made.close()
        if freshened.decision.store:
            held = engine.shelf.put(jittered(freshened.entry, engine.jitter), self.request, search_in(made))
            engine.counters.stored += 1
            self._hand_over(held, ticket)
            if engine.shelf.store is not None:
                yield Call(lambda: engine.shelf.store_entry(held, self.request, lease=lease))
        else:
            engine.counters.refuse(freshened.decision.reason, self.primary)
            held = Held(
                replace(candidate.entry, headers=freshened.headers, stored_at=now, initial_age_s=0.0),
                candidate.key,
                candidate.primary,
                engine.sending,
            )
            yield Call(lambda: engine.shelf.drop(candidate))
            if ticket.is_leading:
                ticket.release(engine.hit_for_miss_s)
        self.counters.revalidated += 1
        status = engine.sending.status_of_forwarded(
            self.forward, None, status=304, stored=held if freshened.decision.store else None, now=now
        )
        return self._reply(held, now, status, "revalidated", rendered=True)

    def _hand_over(self, held: Held, ticket: Ticket[Landing]) -> None:
        """Those who wait for it get it, if they may use it: what is asked about each time is worth no waiting."""
        engine = self.engine
        verdict, _ = judge(held.entry, engine.now())
        if verdict is Verdict.FRESH:
            engine.known_shared.renew(held.key, ALWAYS)
            if ticket.is_leading:
                ticket.land(Landing(held))
            else:
                engine.hit_for_miss.unmark(ticket.key)
        elif ticket.is_leading:
            ticket.release(engine.hit_for_miss_s)

    def _cover(self, made: Made | None, ticket: Ticket[Landing]) -> Reply | None:
        """A stale response in place of an error (RFC 5861, 4), if there is one that may."""
        engine, held = self.engine, self.candidate
        now = engine.now()
        covers = held is not None and covers_errors(held.entry, now, self.ask)
        if held is None or not covers or engine.tags.judge(held.entry) is Purged.GONE:
            if ticket.is_leading and (made is None or made.signals.failed):
                ticket.fail()
            return None
        if made is not None:
            made.tell("stale")
            made.close()
        if ticket.is_leading:
            ticket.land(Landing(held, stale=True))
        self.counters.errors_covered += 1
        self.counters.stale_hits += 1
        status = engine.sending.status_of_forwarded(
            Forward.STALE, "stale-if-error", status=None if made is None else made.status
        )
        return self._reply(held, now, status, "stale", rendered=True)

    def _head(self, made: Made) -> Generator[Any, Any, Reply | Pass]:
        """What the answer to a HEAD says of the stored one to a GET (RFC 9111, 4.3.5)."""
        engine, candidate = self.engine, self.candidate
        if candidate is not None and made.status == 200:
            if head_confirms(candidate.entry, made.response):
                freshened = freshen(
                    candidate.entry,
                    self.request,
                    made.response,
                    engine.now(),
                    rules=engine.site.rules,
                    sequence=self.sequence,
                    ask=self.ask,
                    signals=made.signals,
                    annotation=made.annotation,
                    requested_at=self.began_at,
                )
                entry = freshened.entry if freshened.decision.store else None
            else:
                # Stale from now on, whatever its lifetime was.
                entry = replace(candidate.entry, lifetime_s=0.0, swr_s=0.0)
            if entry is not None:
                held = engine.shelf.put(entry, self.request, search_in(made))
                if engine.shelf.store is not None:
                    yield Call(lambda: engine.shelf.store_entry(held, self.request))
        return self.passed(made, Kept(Reason.METHOD))

    def settle(self, made: Made, kept: Kept, ticket: Ticket[Landing]) -> None:
        """Tell those who wait what became of the answer; for one that is not shared, nobody is to wait from now on."""
        engine = self.engine
        if kept.held is not None:
            self._hand_over(kept.held, ticket)
            if self.request.query and len(engine.hit_for_miss):
                engine.hit_for_miss.unmark(self._path_key())
        elif ticket.is_leading:
            if _failed(made):
                ticket.fail()
            else:
                ticket.release(engine.hit_for_miss_s)
                if self.request.query and engine.hit_for_miss_s and engine.store is not None:
                    engine.hit_for_miss.mark(self._path_key(), engine.hit_for_miss_s)
        elif ticket.why is Why.UNSHARED and not _failed(made):
            engine.hit_for_miss.renew(ticket.key or self._path_key(), engine.hit_for_miss_s)

    def passed(self, made: Made, kept: Kept) -> Reply | Pass:
        """What the application gave, as the answer to this request."""
        engine, held = self.engine, kept.held
        self.counters.misses += 1
        now = engine.now()
        status = engine.sending.status_of_forwarded(
            self.forward, None if held is not None else kept.reason, stored=held, now=now
        )
        headers = made.headers
        if held is not None:
            headers = kept.headers(headers)
            if held.offered:
                headers = varying_by_coding(headers)
        if made.status == 200 and (self.stripped or (held is not None and "range" in self.request.fields)):
            ranged = held is not None and made.body is not None
            size = len(made.body) if made.body is not None else 0
            request = self.request if ranged else _without(self.request, "range")
            if held is None and "last-modified" not in made.fields:
                # Only of what is stored may the time of its arrival be asked for instead (RFC 9110, 13.1.3).
                request = _without(request, "if-modified-since")
            sent = answer(request, 200, headers, size, now)
            if sent.status != 200:
                made.close()
                body = made.body[sent.first : sent.end] if made.body is not None else b""
                return Reply(sent.status, REASONS[sent.status], [*sent.headers, *status], body, "miss", held, True)
        return Pass(made, [*headers, *status], "miss")

    def _bypass(self, forward: Forward, reason: Reason) -> Generator[Any, Any, Pass]:
        """Nothing stored is used, and nothing is stored."""
        engine = self.engine
        self.counters.bypasses += 1
        made: Made = yield Render()
        if forward is Forward.METHOD:
            invalidation = engine.invalidation(self.request, made.response)
            if invalidation is not None:
                yield Call(invalidation)
        status = engine.sending.status_of_forwarded(forward, reason)
        return Pass(made, [*made.headers, *status], "bypass")


def _failed(made: Made) -> bool:
    return made.signals.failed or made.status in ERROR_STATUSES


def _without(request: Request, name: str) -> Request:
    if name not in request.fields:
        return request
    return replace(request, fields={key: value for key, value in request.fields.items() if key != name})
