"""Times the collection of garbage, and charges it to the request in whose thread it happened to run.

The interpreter runs one collection at a time in a process, so what it is doing now has room in one object.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from .record import Record, current

SHORTEST_SPAN_NS: Final = 200_000
"""Collections that are shorter are summed, but no spans: there are many."""


class _Collection:
    """The one that runs now, if it runs for a request."""

    __slots__ = ("accounted_ns", "began_ns", "record")

    def __init__(self) -> None:
        self.record: Record | None = None
        self.began_ns = 0
        self.accounted_ns = 0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            record = current.get()
            # While another thread of the request is in an instrument, the time is that instrument's.
            if record is not None and record.enter():
                self.record = record
                self.accounted_ns = record.accounted_ns
                self.began_ns = perf_counter_ns()
            return
        record = self.record
        if record is not None:
            self.record = None
            whole_ns = perf_counter_ns() - self.began_ns
            # Objects may have had statements to run at their end.
            own_ns = whole_ns - (record.accounted_ns - self.accounted_ns)
            record.accounted_ns += own_ns
            record.gc_ns += own_ns
            record.gc_runs += 1
            if whole_ns >= SHORTEST_SPAN_NS:
                record.add_span("gc", self.began_ns, whole_ns, f"generation {info.get('generation', '?')}")
            record.leave()


def install() -> Callable[[], None]:
    """Time every collection from now on; the function that ends it."""
    collection = _Collection()
    gc.callbacks.append(collection)

    def uninstall() -> None:
        if collection in gc.callbacks:
            gc.callbacks.remove(collection)

    return uninstall
