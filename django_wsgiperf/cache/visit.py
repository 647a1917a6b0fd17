"""One request's way through the cache: look, wait for another that makes the same, have it made, keep it, answer.

Says what to do next and does none of it (effects.py). looking.py and making.py are its parts; where things lie is
shelf.py's. The fast path for plain requests, which most hits take, is Engine.recall(); all else comes through here.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from .effects import Call, Landing, Pass, Reply, Steps, Wait
from .lease import Lease, Wish
from .making import Making
from .policy import Forward, Reason, may_look_up
from .policy.lookup import has_cookie
from .ticket import Role, Ticket, Why

OF_SOMEBODY: Final = b"-private"
"""Ends the keys of flights for those who have a session."""
_MAX_ROUNDS: Final = 3
"""Looks at most, when what another request made does not suit this one."""


class Visit(Making):
    """One request. steps() is to be taken once."""

    __slots__ = ()

    def steps(self) -> Steps:
        """All of it."""
        engine, request = self.engine, self.request
        if not engine.site.allows(request.host):
            return (yield from self._bypass(Forward.BYPASS, Reason.HOST))
        self.ask = may_look_up(request, engine.site.rules)
        if not self.ask.use:
            return (yield from self._bypass(self.ask.forward, self.ask.reason))
        self.private = has_cookie(request.fields.get("cookie", ""), engine.site.rules.private_cookies)
        left, aside = _MAX_ROUNDS, False
        while True:
            left -= 1
            self.primary = engine.shelf.primary_of(request)
            reply = self._from(engine.shelf.find_for(self.primary, request))
            if reply is not None:
                return reply
            if self.ask.wishes.only_if_cached:
                return self._gateway_timeout()
            ticket = self._ticket(alone=not left)
            try:
                if ticket.is_following:
                    if self.replaces is not None:
                        raise Elsewhere
                    ticket.is_aside = aside
                    yield Wait(ticket)
                    aside = ticket.is_aside
                    if ticket.role is Role.SERVED:
                        assert ticket.result is not None
                        collapsed = self._collapsed(ticket.result)
                        if collapsed is not None:
                            return collapsed
                        continue
                return (yield from self._make(ticket))
            finally:
                # No `with`, which an interruption could come before. One that comes here comes once.
                try:
                    ticket.close()
                except BaseException:
                    ticket.close()
                    raise

    def _ticket(self, *, alone: bool) -> Ticket[Landing]:
        """This request's part in making the page; alone where its answer is likely nobody else's."""
        engine, request = self.engine, self.request
        if (
            alone
            or request.method != "GET"
            or self.ask.authorized
            or not self.ask.store
            or ("range" in request.fields and self.candidate is None)
            or engine.site.is_excluded(request.path, request.script)
        ):
            return engine.flights.alone()
        if (
            engine.store is not None
            and request.query
            and self.candidate is None
            and len(engine.hit_for_miss)
            and engine.hit_for_miss.is_marked(self._path_key())
        ):
            # As the last answers of this path: searches, filters, whatever has a query that never comes again.
            return engine.flights.alone(Why.UNSHARED)
        key = engine.shelf.vary_key(self.primary, request)
        if self.private and self.candidate is None and not engine.known_shared.is_marked(key):
            # It is likely the page of a single user, as most are that users with a session ask for.
            engine.flights.unboarded += 1
            return engine.flights.alone()
        # Who has a session may get a page of their own, and must not keep others from sharing theirs.
        return engine.flights.board(key + OF_SOMEBODY if self.private else key, parks=self.parks)

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
            found = yield from self._lease(ticket)
            if isinstance(found, Reply):
                return self._landed(found, ticket)
            lease = found
        engine.making[self] = self.primary
        try:
            result = yield from self._render(ticket, lease)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        finally:
            engine.making.pop(self, None)
        if lease is not None and lease.is_known:
            yield Call(lease.release)
        return result

    def _landed(self, reply: Reply, ticket: Ticket[Landing]) -> Reply:
        """It has turned up; those who wait get it too."""
        if ticket.is_leading:
            assert reply.held is not None, "it is the answer from a stored response"
            ticket.land(Landing(reply.held))
        return reply

    def _lease(self, ticket: Ticket[Landing]) -> Generator[Any, Any, Lease | Reply | None]:
        """The lease among processes, or what the process that had it made meanwhile."""
        engine, leases = self.engine, self.engine.leases
        assert leases is not None
        key = engine.shelf.vary_key(self.primary, self.request).hex()
        # What makes a page anew in the background does not wait for another process that does the same.
        limit_s = leases.patience_s if self.replaces is None else 0.0
        waits = False

        def find(wish: Wish) -> Reply | None:
            nonlocal waits
            # What it is not making yet, nobody else here need try.
            ticket.goes_on()
            if waits:
                ticket.waits_elsewhere()
            waits = True
            held = engine.shelf.fetch(self.request, wish)
            return None if held is None or held is self.candidate else self._from(held)

        try:
            found: Lease | Reply | None = yield Call(lambda: leases.take_or_find(key, find, limit_s=limit_s))
        finally:
            ticket.waits_no_longer()
        if not isinstance(found, Reply):
            ticket.takes_its_turn()
        if found is None and self.replaces is not None:
            raise Elsewhere
        return found


class Elsewhere(Exception):
    """Another thread or process makes at this moment what is to be made anew."""
