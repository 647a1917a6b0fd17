"""What sums and their writing cost: `python -m tests.benchmarks.metrics.aggregation RATE SECONDS DATABASE`.

Hands over RATE finished records a second, of a hundred routes with three queries each, as requests would, and prints as
JSON which share of a core the metrics' thread took, writing and rolling up included, and by how much the process grew.
"""

from __future__ import annotations

import json
import random
import sys
import time

import django
from django.conf import settings

from tests.benchmarks.metrics.setups import OURS, SETUPS

ROUTES = 100
TURN_S = 0.02


def main() -> None:
    rate, seconds = int(sys.argv[1]), float(sys.argv[2])
    settings.configure(**SETUPS[OURS].settings(sys.argv[3]))
    django.setup()
    from django.core.management import call_command

    from django_wsgiperf.metrics import pipeline
    from django_wsgiperf.metrics.reports import resident_bytes
    from tests.metrics.making import MS, record

    call_command("migrate", verbosity=0, skip_checks=True)
    chance = random.Random(1)
    # A record and a writing of each kind, so that what is loaded then is not counted.
    pipeline.submit(record("/", at_s=time.time()))
    if not pipeline.flush(30):
        raise SystemExit("the store does not take what is written")
    began_cpu_s = pipeline.status()["aggregate_cpu_s"]
    before = largest = resident_bytes() or 0
    begun_s = time.monotonic()
    handed_over = 0
    while (passed_s := time.monotonic() - begun_s) < seconds:
        while handed_over < passed_s * rate:
            number = min(ROUTES - 1, int(chance.expovariate(1 / 20)))
            ttfb_ns = int(chance.lognormvariate(2.5, 1.0) * MS)
            pipeline.submit(
                record(
                    f"/shop/{number}/<int:pk>/", at_s=time.time() - ttfb_ns / 1e9, ttfb_ns=ttfb_ns, queue_ns=200_000,
                    cpu_ns=ttfb_ns // 3, db_ns=ttfb_ns // 4, queries=3, cache_ns=ttfb_ns // 50,
                )
            )  # fmt: skip
            handed_over += 1
        largest = max(largest, resident_bytes() or 0)
        time.sleep(TURN_S)
    if not pipeline.flush(30):
        raise SystemExit("the store does not take what is written")
    told = pipeline.status()
    took_s = time.monotonic() - begun_s
    print(
        json.dumps(
            {
                "share": (told["aggregate_cpu_s"] - began_cpu_s) / took_s,
                "megabytes": (largest - before) / 1e6,
                "records": told["records"] - 1,
                "dropped": told["dropped"],
                "rate": handed_over / took_s,
            }
        )
    )


if __name__ == "__main__":
    main()
