"""The short way of most misses: a plain GET of an address that nothing is stored for, without a store to ask.

There is nothing to wait for and nothing to ask about, so it takes no steps (visit.py): the application is called, and
mostly its head says that nothing is to be kept. All else is done by the parts of a visit, by the same rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .effects import Landing, Made, Pass
from .held import HeaderList
from .messages import Annotation, Signals
from .policy import ERROR_STATUSES, Forward, Reason
from .policy.lookup import has_cookie
from .policy.reading import Reading
from .policy.storing import refused_by_head
from .storage import keep
from .ticket import Ticket
from .visit import Visit

if TYPE_CHECKING:
    from .engine import Door, Engine


class Plain:
    """One such request, from just before the application is called. end() has to be called, whatever happens."""

    __slots__ = (
        "_began_at",
        "_began_s",
        "_engine",
        "_environ",
        "_excluded",
        "_primary",
        "_sequence",
        "_ticket",
        "_varies",
        "private",
    )

    def __init__(
        self,
        engine: Engine,
        environ: dict[str, Any],
        primary: bytes,
        ticket: Ticket[Landing] | None,
        *,
        private: bool,
        excluded: bool = False,
        varies: bool = False,
    ) -> None:
        self._engine = engine
        # As it came: Django and what is inside of it change theirs.
        self._environ = environ.copy()
        self._primary = primary
        self._ticket = ticket
        """Of a leader; None where nobody is to wait for it."""
        self._excluded = excluded
        self._varies = varies
        self.private = private
        """It has a session."""
        engine.making[id(self)] = primary
        self._began_at = engine.now()
        self._began_s = engine.monotonic()
        # From here on it sees what purges have left.
        self._sequence = engine.tags.sequence

    @property
    def language(self) -> str:
        """The one that the key has, empty if none."""
        site, environ = self._engine.site, self._environ
        if site.language is None:
            return ""
        return site.keys.language_in(environ, environ.get("PATH_INFO", "") or "/")

    def refusal(self, status: int, reading: Reading, signals: Signals, annotation: Annotation) -> Reason | None:
        """Why an answer with this head is not kept; None where its body has to be seen."""
        if self._excluded:
            return Reason.EXCLUDED
        cookies = self._environ.get("HTTP_COOKIE", "")
        return refused_by_head(
            status, reading, cookies, self._engine.site.rules, signals=signals, annotation=annotation
        )

    def refuse(self, status: int, headers: HeaderList, reason: Reason, signals: Signals) -> HeaderList:
        """It is not kept: the head to send it with."""
        engine, ticket = self._engine, self._ticket
        if ticket is not None:
            if signals.failed or status in ERROR_STATUSES:
                ticket.fail()
            else:
                ticket.release(engine.hit_for_miss_s)
        counters = engine.counters
        counters.refuse(reason)
        counters.misses += 1
        return [*headers, *engine.sending.status_of_forwarded(self._forward, reason)]

    def keep(self, made: Made, reading: Reading, door: Door) -> HeaderList:
        """Keep it, unless its body is against it: the head to send it with."""
        engine = self._engine
        visit = Visit(engine, engine.site.request(self._environ), door)
        visit.began_at, visit.sequence = self._began_at, self._sequence
        visit.primary, visit.private, visit.forward = self._primary, self.private, self._forward
        ticket = engine.flights.alone() if self._ticket is None else self._ticket
        kept = keep(engine, visit, made, engine.monotonic() - self._began_s, reading)
        visit.settle(made, kept, ticket)
        passed = visit.passed(made, kept)
        assert isinstance(passed, Pass), "a plain request asks for no part and has no conditions"
        return passed.headers

    def end(self) -> None:
        """It is over. Who waits for an answer that did not come learns it now."""
        self._engine.making.pop(id(self), None)
        ticket = self._ticket
        if ticket is not None and ticket.is_leading:
            ticket.fail()

    @property
    def _forward(self) -> Forward:
        return Forward.VARY_MISS if self._varies else Forward.URI_MISS


def begin(engine: Engine, environ: dict[str, Any], primary: bytes) -> Plain | None:
    """The short way of a plain request (Engine.plain()) with this primary key; None where it takes a visit."""
    shelf, site, flights = engine.shelf, engine.site, engine.flights
    if shelf.store is not None or shelf.has_searches:
        return None
    private = has_cookie(environ.get("HTTP_COOKIE", ""), site.rules.private_cookies)
    key = primary
    if primary in shelf.memory:
        if shelf.find(primary, environ) is not None:
            return None
        key = shelf.vary_key_in(primary, environ)
    varies = key is not primary
    script = site.script(environ)
    if site.is_excluded(script + (environ.get("PATH_INFO", "") or "/"), len(script)):
        return Plain(engine, environ, primary, None, private=private, excluded=True, varies=varies)
    # As Visit has it.
    name = f"{key.hex()}-private" if private else key.hex()
    ticket = None
    if not flights.goes_alone(name):
        ticket = flights.board(name)
        if ticket.is_following:
            return None
        if not ticket.is_leading:
            ticket = None
        elif primary in shelf.memory:
            # The one before may have landed between the look and board().
            held = shelf.find(primary, environ)
            if held is not None:
                ticket.land(Landing(held))
                return None
            varies = True
    return Plain(engine, environ, primary, ticket, private=private, varies=varies)
