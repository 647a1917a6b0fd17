"""How long the first screen takes: `python -m tests.benchmarks.metrics.overview DATABASES ROUNDS REQUESTS BRIEF`.

DATABASES is JSON, title -> entry of DATABASES. Each is filled with thirty days of a hundred routes at REQUESTS a
minute, as the store has them; then `overview("30d")` is asked for in turn, ROUNDS times each, by a reader that
remembers nothing and by one that has just read. Prints a line with the size, then one a round: title -> {"first_ms",
"again_ms"}. With BRIEF 1, minutes and ten minutes reach back less far.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import django
from django.conf import settings

from tests.benchmarks.metrics.setups import OURS, SETUPS

BRIEF_S = {60: 3 * 3600, 600: 2 * 86400}


def main() -> None:
    databases: dict[str, Any] = json.loads(sys.argv[1])
    rounds, requests, is_brief = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"
    base = SETUPS[OURS].settings(":memory:")
    settings.configure(**{**base, "DATABASES": {**base["DATABASES"], **databases}})
    django.setup()
    from django.core.management import call_command
    from django.db import connections

    from django_wsgiperf.models import Bucket
    from tests.metrics import bulk

    for alias in databases:
        connections[alias].ensure_connection()
    if is_brief:
        bulk.KEPT_S.update(BRIEF_S)
    now_s = int(time.time())
    rows = [
        Bucket(
            level=row.level, start=row.start, owner=row.owner, host=row.host, rolled=row.rolled, closed=row.closed,
            version=row.version, summary=row.summary, detail=row.detail, samples=row.samples,
        )
        for row in bulk.rows(now_s, requests=requests)
    ]  # fmt: skip
    size = sum(len(row.summary) + len(row.detail) + len(row.samples) for row in rows)
    for alias in databases:
        call_command("migrate", "django_wsgiperf", database=alias, verbosity=0, skip_checks=True)
        for row in rows:
            row.pk = None
        Bucket.objects.using(alias).bulk_create(rows, batch_size=100)
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute("ANALYZE wsgiperf_bucket")
    print(json.dumps({"rows": len(rows), "megabytes": size / 1e6}), flush=True)
    for _ in range(rounds):
        print(json.dumps({alias: measured(alias, now_s) for alias in databases}), flush=True)


def measured(alias: str, now_s: int) -> dict[str, float]:
    """One round on one database. A new reader stands for a process that was just started."""
    from django.test import override_settings

    from django_wsgiperf.metrics import query

    with override_settings(WSGIPERF={"METRICS": {"DATABASE": alias}}):
        took: list[float] = []
        for _ in range(2):
            begun_s = time.perf_counter()
            overview = query.overview("30d", now=now_s)
            took.append((time.perf_counter() - begun_s) * 1000)
            if not overview.totals.requests or len(overview.top) < 10:
                raise SystemExit(f"{alias}: the overview shows {overview.totals.requests} requests")
    return {"first_ms": took[0], "again_ms": took[1]}


if __name__ == "__main__":
    main()
