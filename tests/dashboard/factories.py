"""Results of queries as the screens are given them, for what real traffic does not bring about."""

from __future__ import annotations

import factory

from django_wsgiperf.dashboard.finding import Facts
from django_wsgiperf.metrics.results import (
    Live,
    Overview,
    Point,
    ProcessRow,
    Quantiles,
    RouteRow,
    Running,
    Sample,
    Totals,
)

NOW = 1_760_000_000


class TotalsFactory(factory.Factory):
    """A thousand good requests."""

    class Meta:
        model = Totals

    requests = 1000
    wall_s = 100.0
    cpu_s = 30.0
    parts_s = factory.LazyFunction(lambda: {"python": 60.0, "db": 40.0})
    quantiles = Quantiles(0.05, 0.2, 0.4, 0.9, 0.1)
    apdex = 0.99


class RowFactory(factory.Factory):
    class Meta:
        model = RouteRow

    route = factory.Sequence(lambda number: f"/route-{number}/")
    totals = factory.SubFactory(TotalsFactory)
    share = 0.1
    n_plus_one = 0


class PointFactory(factory.Factory):
    class Meta:
        model = Point

    start_s = factory.Sequence(lambda number: NOW - 3600 + 60 * number)
    totals = factory.SubFactory(TotalsFactory, requests=50)
    busy_share = 0.2


class OverviewFactory(factory.Factory):
    class Meta:
        model = Overview

    period = "1h"
    host = ""
    begin_s = NOW - 3600
    end_s = NOW
    step_s = 60
    totals = factory.SubFactory(TotalsFactory)
    previous = factory.SubFactory(TotalsFactory)
    series = factory.LazyFunction(lambda: tuple(PointFactory.build_batch(3)))
    marks = ()
    top = ()
    hosts = ("web-1",)
    releases = ("1",)
    previous_s = 3600


class ProcessFactory(factory.Factory):
    class Meta:
        model = ProcessRow

    instance = factory.Sequence(lambda number: f"web-1:{number}:0000abcd")
    host = "web-1"
    pid = factory.Sequence(int)
    release = "1"
    started_s = NOW - 86_400
    seen_s = NOW - 5
    threads = 12
    busy = 3
    queued = 0
    rss_bytes = 80 << 20
    requests = 5000
    server = None
    pools = ()
    page_cache = None
    pipeline = factory.LazyFunction(dict)
    reachable = True


class LiveFactory(factory.Factory):
    class Meta:
        model = Live

    at_s = float(NOW)
    processes = factory.LazyFunction(lambda: (ProcessFactory(),))
    running = ()


class RunningFactory(factory.Factory):
    class Meta:
        model = Running

    process = "web-1:1:0000abcd"
    slot = 3
    key = "7f-12"
    method = "GET"
    route = "/slow/"
    age_s = 12.5
    sql = "SELECT pg_sleep(%s)"
    stack = ("shop/views.py:12 in slow",)
    request_id = "abc"
    interruptible = True


class SampleFactory(factory.Factory):
    class Meta:
        model = Sample

    id = "1-2"
    at_s = float(NOW)
    route = "/books/"
    method = "GET"
    status = 200
    duration_s = 0.5
    parts_s = factory.LazyFunction(lambda: {"python": 0.2, "db": 0.3})
    spans = ()
    spans_dropped = 0
    repeated = ()
    stacks = ()
    queries = 3
    cpu_s = 0.1
    page_cache = ""
    exception = ""
    request_id = "r"
    trace_id = ""
    host = "web-1"


class FactsFactory(factory.Factory):
    class Meta:
        model = Facts

    overview = factory.SubFactory(OverviewFactory)
    live = factory.SubFactory(LiveFactory)
    troubles = ()


def pool_snapshot(**more: object) -> dict[str, object]:
    """What Pool.snapshot() says of a pool of four connections."""
    from threading import Lock

    from django_wsgiperf.db.config import PoolConfig
    from django_wsgiperf.db.statistics import PoolStatistics

    statistics = PoolStatistics(Lock())
    for microseconds in (0, 0, 900, 3000):
        statistics.wait_time.record(microseconds * 1000)
    found = statistics.snapshot(name="default", config=PoolConfig(max_size=4), idle=1, opened=3, pending=2, outage="")
    return {**found, **more}
