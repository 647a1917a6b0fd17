"""What the code of this moment is working on, for the reports of a pool: a request, by its method and route.

The middleware sets it; a context variable carries it from the event loop to the threads that work for a request.
"""

from __future__ import annotations

from contextvars import ContextVar


class Activity:
    """One request. `label` is known in full once it is routed; `leases` counts connections taken for it.

    `holds` says that its view asked to keep them until the response is closed."""

    __slots__ = ("holds", "label", "leases")

    def __init__(self, label: str) -> None:
        self.label = label
        self.leases = 0
        self.holds = False


current: ContextVar[Activity | None] = ContextVar("wsgiperf_activity", default=None)


def current_label() -> str:
    """What a connection that is taken now is taken for; empty outside of requests."""
    activity = current.get()
    if activity is None:
        return ""
    activity.leases += 1
    return activity.label
