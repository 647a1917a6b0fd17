"""What this process tells of itself: its memory and processor time, collector, pools, page cache, and what it counted.

The answer to the topic "exposition" of the control channel. Plain data that JSON can hold.
"""

from __future__ import annotations

import base64
import gc
import os
import sys
import threading
import time
from typing import Any

from django_wsgiperf.instance import instance
from django_wsgiperf.metrics import cumulative, payload, pipeline, providers
from django_wsgiperf.metrics.reports import resident_bytes

from . import seats

_started_s = time.time() - time.process_time()
"""About when this process began, until _began_s() has found out better."""


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """Everything. With a place in the server's ledger, what was counted is written there and not sent."""
    seat = cumulative.seat()
    if seat is None:
        tally = base64.b64encode(payload.pack_detail(cumulative.own())).decode()
    else:
        cumulative.publish()
        tally = ""
    return {
        "instance": instance(),
        "pid": os.getpid(),
        "server": cumulative.server_id(),
        "process": seats.number() if seat is None else seat,
        "tally": tally,
        "resources": resources(),
        "pools": pools(),
        "page_cache": page_cache(),
        "pipeline": pipeline_status(),
    }


def resources() -> dict[str, Any]:
    """Memory, processor time, threads and the collector's runs."""
    return {
        "started_s": _began_s(),
        "cpu_s": time.process_time(),
        "rss_bytes": resident_bytes(),
        "threads": threading.active_count(),
        "gc": [
            {"collections": each["collections"], "collected": each["collected"], "uncollectable": each["uncollectable"]}
            for each in gc.get_stats()
        ],
    }


def pools() -> list[dict[str, Any]]:
    """Pool.snapshot() of each pool of database connections."""
    found = providers.ask(providers.POOLS)
    if found is None and "django_wsgiperf.db.registry" in sys.modules:
        from django_wsgiperf.db import registry

        found = [pool.snapshot() for pool in registry.pools()]
    return [dict(each) for each in found or ()]


def page_cache() -> dict[str, Any] | None:
    """Engine.numbers() of the response cache; None where there is none."""
    found = providers.ask(providers.PAGE_CACHE)
    runtime = sys.modules.get("django_wsgiperf.cache.runtime")
    if found is None and runtime is not None:
        found = runtime.numbers()
    return dict(found) if found else None


def pipeline_status() -> dict[str, Any]:
    """How the metrics themselves fare."""
    return dict(pipeline.status())


def _began_s() -> float:
    """When this process began, in unix seconds: from the system where it tells, else about."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/stat", "rb") as file:
            booted = next(int(line.split()[1]) for line in file if line.startswith(b"btime "))
        return booted + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, ValueError, IndexError):
        return _started_s
