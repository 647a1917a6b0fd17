"""What /-/stats tells, as plain data: one worker's numbers of this moment, and the last published ones of all workers.

Reads the reactor, the pool and the scoreboard from outside; changes nothing. Paths are shown, never queries.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reactor import Reactor
    from .scoreboard import Scoreboard
    from .slots import Slot

SCHEMA = 1


def statistics(reactor: Reactor, board: Scoreboard, place: int, *, stacks: bool) -> dict[str, Any]:
    """Everything, ready for JSON. `stacks` adds to each running request where its thread is now."""
    pool, counters = reactor.pool, reactor.statistics
    slots = reactor.counters()
    return {
        "schema": SCHEMA,
        "pid": os.getpid(),
        "row": place,
        "threads": pool.size,
        "busy": pool.busy,
        "queued": pool.waiting,
        "computing": pool.permits.out,
        "compute_limit": pool.permits.limit,
        "queue_max": counters.queue_max,
        "connections": len(reactor.connections),
        "connections_max": counters.open_max,
        "accepted": counters.accepted,
        "requests": sum(slot.requests for slot in slots),
        "responses": {f"{digit}xx": sum(slot.statuses[digit] for slot in slots) for digit in range(1, 6)},
        "reserved": counters.reserved,
        "bad_requests": counters.bad_requests,
        "client_left_queue": counters.abandoned,
        "sent_away": counters.sent_away,
        "shed": dict(counters.shed),
        "timeouts": dict(counters.timeouts),
        "lost_threads": board.get(place, "lost_threads"),
        "received_bytes": counters.received_bytes,
        "sent_bytes": sum(slot.sent_bytes for slot in slots),
        "queue_seconds": sum(slot.queued_ns for slot in slots) / 1e9,
        "service_seconds": sum(slot.served_ns for slot in slots) / 1e9,
        "queue_histogram_us": merged([slot.queue_histogram for slot in slots]),
        "write_seconds": counters.written_ns / 1e9,
        "write_histogram_us": merged([counters.write_histogram]),
        "service_histogram_us": merged([slot.service_histogram for slot in slots]),
        "promotions": pool.promotions,
        "running": running(list(pool.slots), stacks=stacks),
        "workers": board.rows(),
    }


def running(slots: Sequence[Slot], *, stacks: bool) -> list[dict[str, Any]]:
    """What every busy slot runs now, for how long, and in which line of which function."""
    now = time.monotonic_ns()
    frames = sys._current_frames() if stacks else {}
    found: list[dict[str, Any]] = []
    for slot in slots:
        exchange = slot.task
        if exchange is None:
            continue
        entry = {
            "slot": slot.number,
            "method": exchange.request.method,
            "path": exchange.environ.get("PATH_INFO", ""),
            "age_s": round((now - slot.started_ns) / 1e9, 3),
            "streaming": slot.detached and not slot.aside,
            "lost": slot.abandoned,
        }
        if stacks and (frame := frames.get(slot.thread_id)) is not None:
            # The lines' text stays on disk: this is the leader, which waits for nothing.
            calls = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
            entry["stack"] = [f"{call.filename}:{call.lineno} in {call.name}" for call in reversed(calls)]
        found.append(entry)
    return found


def merged(histograms: Sequence[Sequence[int]]) -> dict[str, int]:
    """Counts by upper bound in microseconds, empty buckets left out."""
    totals = [sum(counts) for counts in zip(*histograms, strict=True)]
    return {str(1 << bucket): count for bucket, count in enumerate(totals) if count}
