"""The short way of most misses: a plain GET of an address that nothing is stored for, without a store to ask.

There is nothing to wait for and nothing to ask about, so it takes no steps (visit.py): the application is called, and
mostly its head says that nothing is to be kept. All else is done by the parts of a visit, by the same rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .addresses import tags_in
from .coded import VARY_BY_CODING, varying_by_coding
from .effects import Landing, Made, Pass
from .messages import NO_ANNOTATION, NO_SIGNALS, Annotation, Signals
from .policy import ERROR_STATUSES, Forward, Reason
from .policy.heads import Known
from .policy.lookup import has_cookie
from .policy.reading import read
from .policy.refusing import refused_at_a_glance, refused_by_head
from .sending import HeaderList
from .storage import keep, keep_known
from .ticket import FOLLOW, LEAD, Ticket, Why
from .visit import OF_SOMEBODY, Visit

if TYPE_CHECKING:
    from .engine import Door, Engine

# See ticket.py.
URI_MISS: Final = Forward.URI_MISS
VARY_MISS: Final = Forward.VARY_MISS


class Plain:
    """One such request, from just before the application is called. end() has to be called, whatever happens."""

    # What most never need costs nothing while it is as it is here.
    _known: Known | None = None
    """What is known of its answer's head; none where refusal() had to judge it by itself."""
    _ticket: Ticket[Landing] | None = None
    """Of a leader; None where nobody is to wait for it."""
    is_excluded = False
    unshared: bytes | None = None
    """The key that nobody waits for, since its last answer could not be shared."""

    def __init__(
        self,
        engine: Engine,
        environ: dict[str, Any],
        primary: bytes,
        private: bool,
        forward: Forward,
        ticket: Ticket[Landing] | None = None,
    ) -> None:
        self._engine = engine
        # As it came: Django and what is inside of it change theirs.
        self._environ = environ.copy()
        self.primary = primary
        self.private = private
        """It has a session."""
        self._forward = forward
        if ticket is not None:
            self._ticket = ticket
        now, monotonic = engine.now, engine.monotonic
        self._began_at = now()
        self._began_s = monotonic()
        # From here on it sees what purges have left.
        self._sequence = engine.tags.sequence

    def refusal(self, status: int, headers: HeaderList, signals: Signals, annotation: Annotation) -> Reason | None:
        """Why an answer with this head is not kept; None where its body has to be seen."""
        if self.is_excluded:
            return Reason.EXCLUDED
        engine, cookies = self._engine, self._environ.get("HTTP_COOKIE", "")
        if signals is NO_SIGNALS:
            known = self._known = engine.heads.known(status, headers, self.private, cookies, annotation)
            if known is not None:
                return known.judgement.reason
            if annotation is NO_ANNOTATION:
                reason = refused_at_a_glance(status, headers, self.private, engine.site.rules)
                if reason is not None:
                    return reason
        rules = engine.site.rules
        reading = read(headers, rules)
        return refused_by_head(status, reading, cookies, rules, signals=signals, annotation=annotation)

    @property
    def language(self) -> str:
        """The one that the key has, empty if none."""
        site, environ = self._engine.site, self._environ
        if site.language is None:
            return ""
        return site.keys.language_in(environ, environ.get("PATH_INFO", "") or "/")

    def refuse(self, status: int, headers: HeaderList, reason: Reason, signals: Signals) -> HeaderList:
        """It is not kept: the head to send it with."""
        engine, ticket = self._engine, self._ticket
        if ticket is not None:
            if signals.failed or status in ERROR_STATUSES:
                ticket.fail()
            else:
                ticket.release(engine.hit_for_miss_s)
        elif self.unshared is not None:
            engine.hit_for_miss.renew(self.unshared, engine.hit_for_miss_s)
        counters = engine.counters
        counters.refuse(reason, self.primary)
        counters.misses += 1
        return [*headers, *engine.sending.status_of_miss(reason, self._forward)]

    def keep_known(
        self, status: int, phrase: str, headers: HeaderList, body: bytes, annotation: Annotation, route: str
    ) -> HeaderList | None:
        """Keep an answer of which refusal() knew the head: the head to send it with. None where it takes keep()."""
        engine, known, ticket = self._engine, self._known, self._ticket
        if known is None:
            return None
        site, judgement, monotonic = engine.site, known.judgement, engine.monotonic
        nominated = judgement.decision.vary
        kept = keep_known(
            engine,
            known,
            status,
            phrase,
            headers,
            body,
            annotation.tags,
            route,
            monotonic() - self._began_s,
            site.keys.values(nominated, self._environ) if nominated else (),
            None if site.language is None else tags_in(site, self._environ, self.primary),
            self.primary,
            self._sequence,
        )
        if kept is None:
            return None
        held, etag = kept
        if not judgement.is_shared:
            if ticket is not None:
                ticket.release(engine.hit_for_miss_s)
        elif ticket is not None:
            if not ticket.lands_alone():
                ticket.land(Landing(held))
        elif self.unshared is not None:
            engine.hit_for_miss.unmark(self.unshared)
        engine.counters.misses += 1
        sent = headers.copy() if etag is None else [*headers, ("ETag", etag)]
        if held.offered:
            if judgement.has_vary:
                sent[:] = varying_by_coding(sent)
            else:
                sent.append(VARY_BY_CODING)
        sent += engine.sending.status_of_stored(held, self._forward, engine.now)
        return sent

    def keep(self, made: Made, door: Door) -> HeaderList:
        """Keep what refusal() says nothing against, unless its body is: the head to send it with."""
        engine = self._engine
        visit = Visit(engine, engine.site.request(self._environ), door)
        reading = read(made.headers, engine.site.rules)
        render_s = engine.monotonic() - self._began_s
        visit.began_at, visit.sequence = self._began_at, self._sequence
        visit.primary, visit.private, visit.forward = self.primary, self.private, self._forward
        ticket = self._ticket
        if ticket is None:
            unshared = self.unshared
            ticket = engine.flights.alone() if unshared is None else engine.flights.alone(Why.UNSHARED, unshared)
        kept = keep(engine, visit, made, render_s, reading)
        visit.settle(made, kept, ticket)
        passed = visit.passed(made, kept)
        assert isinstance(passed, Pass), "a plain request asks for no part and has no conditions"
        return passed.headers

    def end(self) -> None:
        """It is over. Who waits for an answer that did not come learns it now. To be called again where it was
        interrupted."""
        self._engine.making.pop(self, None)
        ticket = self._ticket
        if ticket is not None and not ticket.is_over:
            ticket.fail()


def begin(engine: Engine, environ: dict[str, Any], primary: bytes) -> Plain | None:
    """The short way of a plain request (Engine.plain()) with this primary key; None where it takes a visit."""
    shelf, site = engine.shelf, engine.site
    has, count_searches = shelf.memory.has, shelf.searches.count
    if shelf.store is not None or count_searches():
        return None
    cookies = environ.get("HTTP_COOKIE")
    private = cookies is not None and has_cookie(cookies, site.rules.private_cookies)
    key, forward = primary, URI_MISS
    if has(primary):
        if shelf.find(primary, environ) is not None:
            return None
        key, forward = shelf.vary_key_in(primary, environ), VARY_MISS
    waits = True
    if private:
        waits = engine.known_shared.is_marked(key)
        key += OF_SOMEBODY
    marked_until_s = engine.hit_for_miss.until_s
    until_s = marked_until_s(key)
    if until_s is not None and engine.monotonic() < until_s:
        engine.flights.unboarded += 1
        plain = Plain(engine, environ, primary, private, forward)
        plain.unshared = key
        return plain
    script = environ.get("SCRIPT_NAME", "") if site.is_direct else site.script(environ)
    if site.is_excluded(script + (environ.get("PATH_INFO", "") or "/"), len(script)):
        plain = Plain(engine, environ, primary, private, forward)
        plain.is_excluded = True
        return plain
    if not waits:
        engine.flights.unboarded += 1
        return Plain(engine, environ, primary, private, forward)
    ticket = engine.flights.board(key) if until_s is not None else engine.flights.board_unmarked(key)
    try:
        if ticket.role is not LEAD:
            if ticket.role is FOLLOW:
                return None
            plain = Plain(engine, environ, primary, private, forward)
            if ticket.why is Why.UNSHARED:
                plain.unshared = key
            return plain
        if has(primary):
            # The one before may have landed between the look and board().
            held = shelf.find(primary, environ)
            if held is not None:
                ticket.land(Landing(held))
                return None
            forward = VARY_MISS
        plain = Plain(engine, environ, primary, private, forward, ticket)
        return plain  # Not at once: an interruption in between would be past the block.
    except BaseException:
        # Interrupted: nobody else has the ticket.
        ticket.close()
        raise
