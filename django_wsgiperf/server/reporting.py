"""What this worker tells the metrics of itself: its threads and queue, its statistics, and who may be interrupted.

The metrics know no server; they ask by the names of metrics/providers.py. Any thread may ask.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from django_wsgiperf.metrics import providers

from .gateway import Exchange
from .statistics import statistics

if TYPE_CHECKING:
    from .deadlines import DeadlineSupervisor
    from .reactor import Reactor
    from .scoreboard import Scoreboard


def begin(reactor: Reactor, board: Scoreboard, place: int, supervisor: DeadlineSupervisor) -> None:
    """Tell from now on."""

    def load() -> dict[str, int]:
        pool = reactor.pool
        return {
            "threads": pool.size,
            "busy": pool.busy,
            "queued": pool.waiting,
            # Of the second before the worker last published, which it does each second.
            "queue_peak": max(board.get(place, "queue_peak"), pool.waiting),
        }

    def server() -> dict[str, Any]:
        told = statistics(reactor, board, place, stacks=False)
        # Those of the others are in their own reports, and what runs is in the live view.
        return {key: value for key, value in told.items() if key not in ("workers", "running")}

    def slots() -> dict[int, tuple[int, bool]]:
        return {
            slot.thread_id: (slot.number, slot.in_application and not slot.abandoned)
            for slot in list(reactor.pool.slots)
            if isinstance(slot.task, Exchange)
        }

    def step_aside() -> bool:
        mine = threading.get_ident()
        for slot in list(reactor.pool.slots):
            if slot.thread_id == mine and isinstance(slot.task, Exchange):
                slot.aside = True
                reactor.pool.detach(slot)
                return slot.detached
        return False

    providers.provide(providers.ASIDE, step_aside)
    providers.provide(providers.LOAD, load)
    providers.provide(providers.SERVER, server)
    providers.provide(providers.SLOTS, slots)
    providers.provide(providers.INTERRUPT, supervisor.interrupt)
