"""One request's way through the cache: look, wait for another that makes the same, have it made, keep it, answer.

Says what to do next and does none of it (effects.py); where things lie is shelf.py's, and what the standards allow
policy's. The fast path for plain requests, which most hits take, is Engine.recall(); all else comes through here.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from .effects import Call, Landing, Made, Pass, Render, Reply, Steps, Wait
from .expiry import is_due_early
from .held import HeaderList, Held, varying_by_coding
from .lease import Lease
from .messages import Request
from .policy import (
    ERROR_STATUSES,
    PLAIN,
    Ask,
    Forward,
    Reason,
    Verdict,
    answer,
    conditions,
    confirmed_by,
    covers_errors,
    current_age,
    freshen,
    head_confirms,
    judge,
    may_look_up,
)
from .policy.lookup import has_cookie
from .storage import Kept, jittered, keep, search_in
from .tags import Verdict as Purged
from .ticket import Role, Ticket, Why

if TYPE_CHECKING:
    from .engine import Door, Engine

_CONDITIONS: Final = ("if-none-match", "if-modified-since")
_MAX_ROUNDS: Final = 3
"""Looks at most, when what another request made does not suit this one."""


class Visit:
    """One request. steps() is to be taken once; `environ` is untouched, and read for nominated fields only."""

    __slots__ = (
        "ask",
        "began_at",
        "candidate",
        "counters",
        "door",
        "engine",
        "forward",
        "parks",
        "primary",
        "private",
        "reason",
        "replaces",
        "request",
        "sequence",
        "stripped",
    )

    def __init__(
        self, engine: Engine, request: Request, door: Door, *, replaces: Held | None = None, parks: bool = False
    ) -> None:
        self.engine = engine
        self.request = request
        self.door = door
        self.replaces = replaces
        """What the cache itself wants to have made anew; None for a client's request."""
        self.parks = parks
        """It waits without a thread."""
        self.counters = engine.counters if replaces is None else engine.background
        self.ask: Ask = PLAIN
        self.primary = b""
        self.candidate: Held | None = None
        """Stored, but not to be used without asking."""
        self.reason: Reason = Reason.OK
        self.forward = Forward.URI_MISS
        self.private = False
        self.sequence = engine.tags.sequence
        self.began_at = engine.now()
        self.stripped = False
        """The application was not shown the client's conditions."""

    def steps(self) -> Steps:
        """All of it."""
        engine, request = self.engine, self.request
        if not engine.site.allows(request.host):
            return (yield from self._bypass(Forward.BYPASS, Reason.HOST))
        self.ask = may_look_up(request, engine.site.rules)
        if not self.ask.use:
            return (yield from self._bypass(self.ask.forward, self.ask.reason))
        self.private = has_cookie(request.fields.get("cookie", ""), engine.site.rules.private_cookies)
        for left in reversed(range(_MAX_ROUNDS)):
            self.primary = engine.shelf.primary_of(request)
            reply = self._from(engine.shelf.find_for(self.primary, request))
            if reply is not None:
                return reply
            if self.ask.wishes.only_if_cached:
                return self._gateway_timeout()
            with self._ticket(alone=not left) as ticket:
                if ticket.is_following:
                    if self.replaces is not None:
                        raise Elsewhere
                    yield Wait(ticket)
                    if ticket.role is Role.SERVED:
                        assert ticket.result is not None
                        collapsed = self._collapsed(ticket.result)
                        if collapsed is not None:
                            return collapsed
                        continue
                return (yield from self._make(ticket))
        raise AssertionError("the last round waits for nobody")

    # -- answers from what is stored

    def _from(self, held: Held | None, *, store: bool = False) -> Reply | None:
        """The answer from a stored response, where it may be used at once; what to do about it otherwise is noted."""
        if held is None:
            # Its address may well be known, and only this variant of it not.
            self.forward = Forward.VARY_MISS if self.engine.shelf.varies(self.primary) else Forward.URI_MISS
            return None
        engine = self.engine
        now = engine.now()
        verdict, reason = self._assess(held, now)
        if self.replaces is not None and verdict < Verdict.VALIDATE:
            # Another process, or a client's request, may have been faster.
            if held.entry.stored_at > self.replaces.entry.stored_at and verdict is Verdict.FRESH:
                return self._reply(held, now, [], "hit")
            verdict = Verdict.VALIDATE
        if verdict is Verdict.FRESH:
            beta = engine.sending.early_refresh
            if beta and is_due_early(now, held.expires_at, held.entry.render_s, beta=beta):
                engine.refresh(held, self.request, self.door)
            self.counters.hits += 1
            return self._reply(held, now, engine.sending.status_of(held, now), "hit")
        if verdict is Verdict.REFRESH:
            engine.refresh(held, self.request, self.door)
            self.counters.stale_hits += 1
            return self._reply(held, now, engine.sending.status_of(held, now, Reason.STALE), "stale")
        self.reason = reason
        if verdict is Verdict.GONE:
            engine.shelf.discard(held)
            self.forward = Forward.STALE
        elif verdict is Verdict.UNFIT:
            self.forward = Forward.REQUEST
        else:
            self.candidate = held
            self.forward = Forward.REQUEST if self.ask.wishes is not PLAIN.wishes else Forward.STALE
        return None

    def _assess(self, held: Held, now: float) -> tuple[Verdict, Reason]:
        """What may be done with it for this request, after its age, the purges, and whose own it may be."""
        entry = held.entry
        purged = self.engine.tags.judge(entry)
        if purged is Purged.GONE:
            return Verdict.GONE, Reason.PURGED
        verdict, reason = judge(entry, now, self.ask)
        if purged is Purged.STALE and verdict is Verdict.FRESH:
            return (Verdict.REFRESH if entry.swr_s > 0 else Verdict.VALIDATE), Reason.PURGED
        return verdict, reason

    def _collapsed(self, landing: Landing) -> Reply | None:
        """The answer from what another request had made, if it suits this one."""
        held, engine = landing.held, self.engine
        names = tuple(name for name, _ in held.entry.vary)
        if held.entry.vary != engine.site.keys.values_of(names, self.request):
            return None
        now = engine.now()
        verdict, _ = self._assess(held, now)
        if verdict is Verdict.FRESH or (landing.stale and verdict in (Verdict.VALIDATE, Verdict.REFRESH)):
            self.counters.collapsed += 1
            status = engine.sending.status_of_forwarded(self.forward, None, collapsed=True)
            return self._reply(held, now, status, "collapsed")
        return None

    def _reply(self, held: Held, now: float, status: HeaderList, outcome: str, *, rendered: bool = False) -> Reply:
        """The stored response as the answer to this request, with its conditions and range."""
        request, entry = self.request, held.entry
        whole = "range" in request.fields and request.method == "GET"
        accepted = None if whole else request.fields.get("accept-encoding")
        representation = held.representation(accepted)
        sent = answer(request, entry.status, representation.headers, len(representation.body), entry.stored_at)
        end = len(representation.body) if sent.end is None else sent.end
        body = representation.body if (sent.first, end) == (0, len(representation.body)) else b""
        if not body and end > sent.first:
            body = representation.body[sent.first : end]
        headers = [*sent.headers, ("Age", str(int(current_age(entry, now)))), *status]
        reason = entry.reason if sent.status == entry.status else _REASONS[sent.status]
        held.hits += 1
        return Reply(sent.status, reason, headers, body, outcome, held, rendered)

    def _gateway_timeout(self) -> Reply:
        """Nothing stored will do, and the client wants nothing else (RFC 9111, 5.2.1.7)."""
        self.counters.misses += 1
        status = self.engine.sending.status_of_forwarded(Forward.REQUEST, Reason.ONLY_IF_CACHED)
        return Reply(504, "Gateway Timeout", [("Content-Length", "0"), *status], b"", "miss")

    # -- having it made

    def _ticket(self, *, alone: bool) -> Ticket[Landing]:
        """This request's part in making the page; alone where its answer is likely nobody else's."""
        engine, request = self.engine, self.request
        if (
            alone
            or request.method != "GET"
            or self.ask.authorized
            or not self.ask.store
            or ("range" in request.fields and self.candidate is None)
            or engine.site.is_excluded(request.path)
        ):
            return engine.flights.alone()
        if request.query and self.candidate is None and engine.hit_for_miss.is_marked(self._path_key()):
            # As the last answers of this path: searches, filters, whatever has a query that never comes again.
            return engine.flights.alone(Why.UNSHARED)
        key = engine.shelf.vary_key(self.primary, request).hex()
        # Who has a session may get a page of their own, and must not keep others from sharing theirs.
        return engine.flights.board(f"{key}-private" if self.private else key, parks=self.parks)

    def _path_key(self) -> str:
        """The key of the path with whatever query, in the eyes of those who have or have not a session."""
        address = self.engine.shelf.address(self.request).hex()
        return f"path:{address}-private" if self.private else f"path:{address}"

    def _make(self, ticket: Ticket[Landing]) -> Generator[Any, Any, Reply | Pass]:
        """Have the page made, unless it has turned up meanwhile."""
        engine = self.engine
        leads = ticket.is_leading
        if leads:
            # The one before may have landed between the look and board().
            held = engine.shelf.find_for(self.primary, self.request)
            reply = None if held is self.candidate else self._from(held)
            if reply is not None:
                return self._landed(reply, ticket)
        if leads or ticket.why is None:
            reply = None
            if engine.shelf.store is not None:
                held = yield Call(lambda: engine.shelf.fetch(self.request))
                self.primary = engine.shelf.primary_of(self.request)
                reply = self._from(held) if held is not None and held is not self.candidate else None
                if reply is not None:
                    engine.counters.store_hits += 1
            if reply is not None:
                return self._landed(reply, ticket)
        lease: Lease | None = None
        if leads and engine.leases is not None:
            found = yield from self._lease()
            if isinstance(found, Reply):
                return self._landed(found, ticket)
            lease = found
        engine.making[id(self)] = self.primary
        try:
            result = yield from self._render(ticket)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        finally:
            engine.making.pop(id(self), None)
        if lease is not None:
            yield Call(lease.release)
        return result

    def _landed(self, reply: Reply, ticket: Ticket[Landing]) -> Reply:
        """It has turned up; those who wait get it too."""
        if ticket.is_leading:
            assert reply.held is not None, "it is the answer from a stored response"
            ticket.land(Landing(reply.held))
        return reply

    def _lease(self) -> Generator[Any, Any, Lease | Reply | None]:
        """The lease among processes, or what the process that had it made meanwhile."""
        engine, leases = self.engine, self.engine.leases
        assert leases is not None
        key = engine.shelf.vary_key(self.primary, self.request).hex()
        lease = yield Call(lambda: leases.take(key))
        if lease is not None:
            return lease  # type: ignore[no-any-return]
        if self.replaces is not None:
            raise Elsewhere

        def find() -> Reply | None:
            held = engine.shelf.fetch(self.request)
            return None if held is None or held is self.candidate else self._from(held)

        return (yield Call(lambda: leases.take_or_find(key, find, limit_s=engine.flights.wait_s)))  # type: ignore[no-any-return]

    def _render(self, ticket: Ticket[Landing]) -> Generator[Any, Any, Reply | Pass]:
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
            return (yield from self._confirmed(made, ticket))
        render_s = engine.monotonic() - began_s
        if made.signals.failed or made.status in ERROR_STATUSES:
            covered = self._cover(made, ticket)
            if covered is not None:
                return covered
        if self.request.method == "HEAD":
            return (yield from self._head(made))
        kept = keep(engine, self, made, render_s)
        if kept.held is not None:
            if ticket.is_leading:
                ticket.land(Landing(kept.held))
            if self.request.query:
                engine.hit_for_miss.unmark(self._path_key())
            held = kept.held
            if engine.shelf.store is not None:
                yield Call(lambda: engine.shelf.store_entry(held, self.request, kept.search))
        else:
            yield from self._refused(made, kept, ticket)
        return self._pass(made, kept)

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
        self.stripped = any(name in self.request.fields for name in _CONDITIONS)
        return wanted if wanted or self.stripped else None

    def _confirmed(self, made: Made, ticket: Ticket[Landing]) -> Generator[Any, Any, Reply]:
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
        made.close()
        if freshened.decision.store:
            held = engine.shelf.put(jittered(freshened.entry, engine.jitter), self.request, search_in(made))
            engine.counters.stored += 1
            if ticket.is_leading:
                ticket.land(Landing(held))
            if engine.shelf.store is not None:
                yield Call(lambda: engine.shelf.store_entry(held, self.request))
        else:
            engine.counters.refuse(freshened.decision.reason)
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

    def _cover(self, made: Made | None, ticket: Ticket[Landing]) -> Reply | None:
        """A stale response in place of an error (RFC 5861, 4), if there is one that may."""
        engine, held = self.engine, self.candidate
        now = engine.now()
        if held is None or not covers_errors(held.entry, now) or engine.tags.judge(held.entry) is Purged.GONE:
            if ticket.is_leading and (made is None or made.signals.failed):
                ticket.fail()
            return None
        if made is not None:
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
        return self._pass(made, Kept(Reason.METHOD))

    def _refused(self, made: Made, kept: Kept, ticket: Ticket[Landing]) -> Generator[Any, Any, None]:
        """The answer is not shared: nobody is to wait for such, and what it takes the place of is no longer true."""
        engine, candidate = self.engine, self.candidate
        failed = made.signals.failed or made.status in ERROR_STATUSES
        if ticket.is_leading:
            if failed:
                ticket.fail()
            else:
                ticket.release(engine.hit_for_miss_s)
                if self.request.query and engine.hit_for_miss_s:
                    engine.hit_for_miss.mark(self._path_key(), engine.hit_for_miss_s)
        if candidate is not None and not failed and not self.private and self.ask is PLAIN:
            yield Call(lambda: engine.shelf.drop(candidate))

    # -- passing on

    def _pass(self, made: Made, kept: Kept) -> Reply | Pass:
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
            sent = answer(request, 200, headers, size, now)
            if sent.status != 200:
                made.close()
                body = made.body[sent.first : sent.end] if made.body is not None else b""
                return Reply(sent.status, _REASONS[sent.status], [*sent.headers, *status], body, "miss", held, True)
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


class Elsewhere(Exception):
    """Another thread or process makes at this moment what is to be made anew."""


_REASONS: Final = {
    200: "OK",
    206: "Partial Content",
    304: "Not Modified",
    416: "Range Not Satisfiable",
}


def _without(request: Request, name: str) -> Request:
    if name not in request.fields:
        return request
    return replace(request, fields={key: value for key, value in request.fields.items() if key != name})
