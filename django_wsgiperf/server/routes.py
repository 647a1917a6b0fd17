"""What is known of each route's requests: how long they keep their thread, and how much of that they compute.

Learnt from requests that took a third of a millisecond or more, by the thread that ran them; read by the leader for
each request.
A route is a path without its digits. Updates are not atomic: two threads that learn at once lose one lesson.
"""

from __future__ import annotations

_BLOCKING_NS = 1_000_000
SLOW_NS = 300_000
"""A request that took longer tells something of its route."""
_WAITING_NS = 200_000
_FORGOTTEN_NS = 125_000
_COMPUTING_NS = 1_000_000
_ROUTES_MAX = 4096
_DIGITS = b"0123456789"


class RouteCost:
    """One route. `usual_ns` is the wall time of a request, `cpu_ns` its thread's processor time, `waits_ns` the time
    in which others could use the interpreter lock, all averaged."""

    __slots__ = ("computes", "cpu_ns", "share", "usual_ns", "waits_ns")

    def __init__(self) -> None:
        self.usual_ns = 0
        self.cpu_ns = 0
        self.waits_ns = 0
        self.share = 0.0
        """How much of the processor a request took, by what it would have got if all that ran had only computed."""
        self.computes = False
        """Its requests want the interpreter lock most of the time: to run many at once makes all of them slower."""

    @property
    def blocks(self) -> bool:
        """A leader that runs such a request is to be replaced at once."""
        return self.usual_ns > _BLOCKING_NS or self.waits_ns > _WAITING_NS


class RouteCosts:
    """All routes that were ever slow."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[bytes, RouteCost] = {}
        """By route. Empty, as on most sites, it costs a request nothing to look."""

    def get(self, path: bytes) -> RouteCost | None:
        """What is known; None of a route that was never slow."""
        return self.known.get(path.translate(None, _DIGITS))

    def learn(self, path: bytes, took_ns: int, cpu_ns: int, runners: int) -> None:
        """A request took `took_ns`, of it `cpu_ns` of processor time (-1: unknown), beside `runners` - 1 others."""
        routes = self.known
        route = path.translate(None, _DIGITS)
        cost = routes.get(route)
        if cost is None:
            if len(routes) >= _ROUTES_MAX:
                routes.clear()
            cost = routes[route] = RouteCost()
            cost.usual_ns = min(took_ns, _BLOCKING_NS) >> 1
        elif took_ns >= cost.usual_ns:
            # Slow to rise: a short page that had to wait for the interpreter lock once is still a short page.
            cost.usual_ns += (took_ns - cost.usual_ns) >> 3
        else:
            cost.usual_ns = (took_ns + cost.usual_ns) >> 1
        if cpu_ns >= 0:
            # What the request would have taken if all that ran had only computed.
            alone_ns = cpu_ns * max(1, runners)
            share = min(1.0, alone_ns / max(1, took_ns))
            cost.waits_ns += (max(0, took_ns - alone_ns) - cost.waits_ns) >> 3
            if cost.cpu_ns:
                cost.cpu_ns += (cpu_ns - cost.cpu_ns) >> 2
                cost.share += (share - cost.share) / 4
            else:
                cost.cpu_ns, cost.share = cpu_ns, share
            # Leaving takes more than entering, so that a page in between does not go to and fro.
            least = 0.35 if cost.computes else 0.5
            cost.computes = cost.cpu_ns >= _COMPUTING_NS and cost.share >= least
        if cost.usual_ns <= _FORGOTTEN_NS:
            routes.pop(route, None)
