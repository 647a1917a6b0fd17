"""A slot: the right to run one task, and the record of what has been run with it.

Written only by the thread that holds it, read by anybody without a lock: a reader may see the numbers of one
request mixed with those of the next, never a torn number. The exception is interruption, guarded by `guard`.
"""

from __future__ import annotations

import operator
import threading
from typing import Any

HISTOGRAM_BUCKETS = 36
"""Powers of two of a microsecond: bucket n counts durations below 2**n us, the last one (about 9 hours) all others."""
_LAST_BUCKET = HISTOGRAM_BUCKETS - 1


class Slot:
    """`started_ns` is on the clock of time.monotonic_ns(); counters are since the worker started."""

    __slots__ = (
        "abandoned",
        "aside",
        "computes",
        "detached",
        "guard",
        "in_application",
        "interrupting",
        "number",
        "queue_histogram",
        "queued_ns",
        "received_bytes",
        "requests",
        "sent_bytes",
        "served_ns",
        "service_histogram",
        "started_ns",
        "statuses",
        "task",
        "thread_id",
        "worn_out",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.task: Any = None
        self.started_ns = 0
        self.thread_id = 0
        self.detached = False
        """The task keeps its thread beside the pool; another slot has taken this one's place."""
        self.aside = False
        """It is detached to wait for another request, and is no stream."""
        self.computes = False
        """The task has one of the pool's permits to compute."""
        self.worn_out = False
        """The task was interrupted: its thread is to end, for nobody knows what was left half done in it."""
        # -- interruption: see deadlines.py
        self.guard = threading.Lock()
        self.interrupting = False
        self.in_application = False
        self.abandoned = False
        # -- counters
        self.requests = 0
        self.queued_ns = 0
        self.served_ns = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.statuses = [0] * 10
        """Responses by the status code's first digit; 0 where the client had left."""
        self.queue_histogram = [0] * HISTOGRAM_BUCKETS
        self.service_histogram = [0] * HISTOGRAM_BUCKETS

    def count(self, digit: int, sent: int, queued_ns: int, took_ns: int) -> None:
        """One request more, whose status begins with `digit`."""
        self.requests += 1
        self.queued_ns += queued_ns
        self.served_ns += took_ns
        self.sent_bytes += sent
        self.statuses[digit] += 1
        bucket = (queued_ns // 1000).bit_length()
        self.queue_histogram[bucket if bucket < _LAST_BUCKET else _LAST_BUCKET] += 1
        bucket = (took_ns // 1000).bit_length()
        self.service_histogram[bucket if bucket < _LAST_BUCKET else _LAST_BUCKET] += 1

    def absorb(self, other: Slot) -> None:
        """Take over the counters of a slot that is given up."""
        self.requests += other.requests
        self.queued_ns += other.queued_ns
        self.served_ns += other.served_ns
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes
        for mine, theirs in (
            (self.statuses, other.statuses),
            (self.queue_histogram, other.queue_histogram),
            (self.service_histogram, other.service_histogram),
        ):
            mine[:] = map(operator.add, mine, theirs)
