"""What the server asks of the pools: connections before the first request, none left after a request, none to a child.

Called by server/worker.py and server/process.py; works with whatever engines the project has.
"""

from __future__ import annotations

from django.core.signals import request_finished

from . import registry


def begin() -> None:
    """In a worker, before it accepts: warm the pools, and see that nothing is left on a thread after a request."""
    registry.prewarm()
    # The last receiver to be connected runs last: those before it may query after Django has closed its connections.
    request_finished.connect(_release_what_is_left, dispatch_uid="django_wsgiperf.db.serving")


def _release_what_is_left(**_: object) -> None:
    from .release import wrappers_here

    for wrapper in wrappers_here():
        wrapper.release_early()
