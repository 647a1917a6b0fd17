"""What the leader counts. Requests that were run are counted in slots.py, by the threads that run them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .slots import HISTOGRAM_BUCKETS


@dataclass(slots=True)
class ReactorStatistics:
    """Counters since the start; written by the leader, but for `shed` and `sent_away`, which any thread may add to."""

    accepted: int = 0
    open_max: int = 0
    open_peak: int = 0
    """As open_max, since whoever samples it has set it to 0; so is queue_peak."""
    queue_max: int = 0
    queue_peak: int = 0
    reserved: int = 0
    bad_requests: int = 0
    sent_away: int = 0
    """Connections that were ended for another worker to take over; any thread adds to it."""
    abandoned: int = 0
    """Queued requests whose client left before they were begun."""
    shed: dict[str, int] = field(default_factory=lambda: {"queue_length": 0, "queue_deadline": 0})
    timeouts: dict[str, int] = field(
        default_factory=lambda: {
            "header": 0,
            "body": 0,
            "write": 0,
            "keepalive": 0,
            "request": 0,
            "handshake": 0,
        }
    )
    received_bytes: int = 0
    written_ns: int = 0
    """Time that clients took for what their sockets did not take at once, after the thread was free again."""
    write_histogram: list[int] = field(default_factory=lambda: [0] * HISTOGRAM_BUCKETS)
    """Of responses that were left to the leader: durations as in Slot."""
