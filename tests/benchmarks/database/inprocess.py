"""What each way costs without a server, in us: `python -m tests.benchmarks.database.inprocess ROUNDS SECONDS ENTRIES`.

ENTRIES is JSON, setup -> DATABASES entry; all are aliases of this one process, so that batches of all of them alternate
within fractions of a second. Prints one JSON line a round, setup -> {measurement -> us}. Nothing else runs meanwhile.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import django
from django.conf import settings

#: A round has so many batches of each setup, in turn; the median counts.
BATCHES = 15

#: What one repetition took, in ns, by what is measured.
Sample = dict[str, int]


def request(connection: Any) -> Sample:
    """What a request with one query does: take, ask, give back as request_finished does.

    `exchange_us` is taking and giving back alone, with the question to the server between them, as in any request:
    processors find code and data less ready after a system call than in a loop.
    """
    begun_ns = time.perf_counter_ns()
    connection.ensure_connection()
    taken_ns = time.perf_counter_ns()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    asked_ns = time.perf_counter_ns()
    connection.close_if_unusable_or_obsolete()
    given_ns = time.perf_counter_ns()
    return {"request_us": given_ns - begun_ns, "exchange_us": taken_ns - begun_ns + given_ns - asked_ns}


def loop(connection: Any) -> Sample:
    """Take and give back, and nothing else: `loop_us`. CONN_MAX_AGE=None finds its connection open."""
    begun_ns = time.perf_counter_ns()
    connection.ensure_connection()
    connection.close_if_unusable_or_obsolete()
    return {"loop_us": time.perf_counter_ns() - begun_ns}


MEASUREMENTS: Sequence[Callable[[Any], Sample]] = (request, loop)


def batch(step: Callable[[Any], Sample], connection: Any, seconds: float) -> dict[str, float]:
    """Repeat for so long; the median us of each number."""
    samples = [step(connection)]
    until_ns = time.perf_counter_ns() + int(seconds * 1e9)
    while time.perf_counter_ns() < until_ns:
        samples.append(step(connection))
    return {key: statistics.median(sample[key] for sample in samples) / 1000 for key in samples[0]}


def measure(connections: Mapping[str, Any], seconds: float) -> dict[str, dict[str, float]]:
    """One round of `seconds` for each measurement of each setup: the median of its batches, in us."""
    results: dict[str, dict[str, float]] = {name: {} for name in connections}
    for step in MEASUREMENTS:
        batches: dict[str, list[dict[str, float]]] = {name: [] for name in connections}
        for _ in range(BATCHES):
            for name, connection in connections.items():
                step(connection)
                batches[name].append(batch(step, connection, seconds / BATCHES))
        for name, values in batches.items():
            results[name] |= {key: statistics.median(value[key] for value in values) for key in values[0]}
    return results


def main() -> None:
    rounds, seconds, entries = int(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3])
    settings.configure(
        DATABASES={"default": {}, **entries},
        INSTALLED_APPS=["django_wsgiperf"],
        SECRET_KEY="only-for-benchmarks-" + "x" * 40,
        USE_TZ=True,
    )
    django.setup()
    from django.db import connections

    by_name = {name: connections[name] for name in entries}
    for connection in by_name.values():
        request(connection)
    for _ in range(rounds):
        print(json.dumps(measure(by_name, seconds)), flush=True)
    for connection in by_name.values():
        connection.close()
        getattr(connection, "close_pool", lambda: None)()


if __name__ == "__main__":
    main()
