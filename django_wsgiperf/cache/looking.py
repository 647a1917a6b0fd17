"""One request, and what is stored for it: whether that may answer, and the answer from it.

The first third of a visit: making.py has the page made, visit.py says when which is done. What the standards allow is
policy's to say; here it comes together with purges, and with what was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .effects import Landing, Reply
from .expiry import is_due_early
from .held import Held
from .hit_for_miss import ALWAYS
from .messages import Request
from .policy import PLAIN, Ask, Forward, Reason, Verdict, answer, current_age, judge, may_look_up
from .sending import HeaderList
from .synthetic import is_anybodys
from .tags import Verdict as Purged

if TYPE_CHECKING:
    from .engine import Door, Engine

REASONS: Final = {
    200: "OK",
    206: "Partial Content",
    304: "Not Modified",
    416: "Range Not Satisfiable",
}
"""Of the statuses that policy.answer() makes."""


class Looking:
    """One request: what is known of it so far."""

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

    def _from(self, held: Held | None) -> Reply | None:
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
        if verdict is Verdict.REFRESH and not is_anybodys(held.entry):
            verdict = Verdict.VALIDATE
        if verdict is Verdict.FRESH:
            beta = engine.sending.early_refresh
            is_due = beta and is_due_early(now, held.expires_at, held.entry.render_s, beta=beta)
            if is_due and is_anybodys(held.entry):
                engine.refresh(held, self.request, self.door)
            self.counters.hits += 1
            return self._reply(held, now, engine.sending.status_of(held, now), "hit")
        if verdict is Verdict.REFRESH:
            engine.refresh(held, self.request, self.door)
            self.counters.stale_hits += 1
            return self._reply(held, now, engine.sending.status_of(held, now, Reason.STALE), "stale")
        self.reason = reason
        if verdict is Verdict.GONE:
            if held.is_shared:
                # As long as it lay here one could see that.
                engine.known_shared.renew(held.key, ALWAYS)
            engine.shelf.discard(held)
            self.forward = Forward.STALE
        elif verdict is Verdict.UNFIT:
            self.forward = Forward.REQUEST
        else:
            self.candidate = held
            self.forward = Forward.REQUEST if self.ask.wishes is not PLAIN.wishes else Forward.STALE
        return None

    def at_hand(self) -> Reply | None:
        """The hit that a client's request gets from memory, where nothing has to be waited for or compressed; None for
        all else. Nothing is changed, so that a visit may follow."""
        engine, request = self.engine, self.request
        self.ask = may_look_up(request, engine.site.rules)
        if not self.ask.use or not engine.site.allows(request.host):
            return None
        held, now = engine.shelf.find_for(engine.shelf.primary_of(request), request), engine.now()
        if held is None or now >= held.calm_until or self._assess(held, now)[0] is not Verdict.FRESH:
            return None
        known, accepted = request.fields.get("if-none-match"), self._accepted
        coding = held.coding_known_to(known) if known else None
        if not (held.has(coding) if coding is not None else held.at_hand(accepted)):
            return None
        self.counters.hits += 1
        return self._reply(held, now, engine.sending.status_of(held, now), "hit")

    @property
    def _accepted(self) -> str | None:
        """The codings that it may get: ranges are of the whole, and a client may want it as it was made (RFC 9111,
        5.2.1.6)."""
        request = self.request
        is_part = "range" in request.fields and request.method == "GET"
        return None if is_part or self.ask.wishes.no_transform else request.fields.get("accept-encoding")

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
        known = request.fields.get("if-none-match")
        representation = (known and held.known_to(known)) or held.representation(self._accepted)
        sent = answer(request, entry.status, representation.headers, len(representation.body), entry.stored_at)
        end = len(representation.body) if sent.end is None else sent.end
        body = representation.body[sent.first : end]
        headers = [*sent.headers, ("Age", str(int(current_age(entry, now)))), *status]
        reason = entry.reason if sent.status == entry.status else REASONS[sent.status]
        held.hits += 1
        return Reply(sent.status, reason, headers, body, outcome, held, rendered)

    def _gateway_timeout(self) -> Reply:
        """Nothing stored will do, and the client wants nothing else (RFC 9111, 5.2.1.7)."""
        self.counters.misses += 1
        status = self.engine.sending.status_of_forwarded(Forward.REQUEST, Reason.ONLY_IF_CACHED)
        return Reply(504, "Gateway Timeout", [("Content-Length", "0"), *status], b"", "miss")
