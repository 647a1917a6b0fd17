"""Sums as an aggregator would have made them, for tests that need some."""

from __future__ import annotations

from typing import Any

from django_wsgiperf.metrics.exports.gather import Gathered, Process
from django_wsgiperf.metrics.tally import INDEX, Cell, Tally

ROUTE = "/books/<int:pk>/"


def cell(requests: int = 3, *, each_ns: int = 20_000_000, status: int = 200) -> Cell:
    """A route's sums: so many requests of `each_ns`, a tenth of it in the database."""
    made = Cell()
    for name, value in {
        "requests": requests,
        "cpu_ns": requests * each_ns // 2,
        "python_ns": requests * each_ns * 9 // 10,
        "db_ns": requests * each_ns // 10,
        "queries": 2 * requests,
        "rows": 5 * requests,
        "cache_calls": requests,
        "cache_hits": requests - 1,
        "cache_misses": 1,
        "bytes": 1000 * requests,
        "n_plus_one": 1,
        "aborted": 1,
    }.items():
        made.sums[INDEX[name]] = value
    made.outcomes = {("GET", status): requests}
    made.page_cache = {"hit": 1, "miss": requests - 1}
    made.exceptions = {"shop.errors.SoldOut": 1}
    made.databases = {"default": [2 * requests, 5 * requests, requests * each_ns // 10, 1_000_000, 1, 0]}
    made.caches = {"default": [requests, requests - 1, 1, 500_000]}
    for _ in range(requests):
        made.response.record(each_ns)
        made.database.record(each_ns // 10)
        made.queue.record(1_000_000)
    return made


def tally(**routes: Cell) -> Tally:
    made = Tally()
    made.routes = dict(routes)
    return made


def said(**more: Any) -> dict[str, Any]:
    """What a process tells of itself."""
    return {
        "instance": "host:77:0123abcd",
        "pid": 77,
        "server": "",
        "process": 0,
        "resources": {
            "started_s": 1_790_000_000.5,
            "cpu_s": 12.5,
            "rss_bytes": 50_000_000,
            "threads": 9,
            "gc": [
                {"collections": 30, "collected": 400, "uncollectable": 0},
                {"collections": 3, "collected": 40, "uncollectable": 1},
            ],
        },
        "pools": [],
        "page_cache": None,
        "pipeline": {"pending": 2, "dropped": 0, "aggregate_cpu_s": 0.25},
        **more,
    }


def pool(name: str = "default") -> dict[str, Any]:
    """Pool.snapshot() of a pool with some use, by the real thing."""
    import threading

    from django_wsgiperf.db.config import PoolConfig
    from django_wsgiperf.db.statistics import PoolStatistics

    statistics = PoolStatistics(threading.Lock())
    statistics.created = 4
    statistics.timeouts = 2
    statistics.closed["lifetime"] += 1
    for ns in (900_000, 5_000_000, 80_000_000_000):
        statistics.wait_time.record(ns)
    return statistics.snapshot(name=name, config=PoolConfig(max_size=8), idle=1, opened=3, pending=2, outage="")


def gathered(**more: Any) -> Gathered:
    """Of one process that is no worker of `serve`, with one route."""
    made = Gathered()
    made.tallies = {0: tally(**{ROUTE: cell()})}
    made.processes = [Process(0, said(**more))]
    return made
