"""This process's numbers in OpenTelemetry's data model, under the names of its semantic conventions where it has any.

Sums since the process began, as OpenTelemetry wants them; adding up processes is the collector's work. The exponential
histograms are those that the requests were counted in, scale 3, bucket for bucket. Nothing is sent from here.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as ExplicitHistogram
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from django_wsgiperf import __version__
from django_wsgiperf.instance import host, instance
from django_wsgiperf.metrics.histogram import SCALE, Histogram
from django_wsgiperf.metrics.results import BREAKDOWN
from django_wsgiperf.metrics.tally import Tally

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_ALIAS: Final = "wsgiperf.alias"
_POOL: Final = "db.client.connection"
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.30.0"

Attributes = dict[str, str | int]


def resource(release: str) -> Resource:
    """What this process is. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come first where they differ."""
    told: dict[str, str | int] = {
        "service.name": os.environ.get("DJANGO_SETTINGS_MODULE", "").partition(".")[0] or "django",
        "service.version": release,
        "host.name": host(),
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
    }
    environment = Resource.create()
    known = {
        key: value for key, value in environment.attributes.items() if not str(value).startswith("unknown_service")
    }
    own = {key: value for key, value in told.items() if value and key not in known}
    return environment.merge(Resource({**own, "service.instance.id": instance(), "process.pid": os.getpid()}))


class Snapshot:
    """Builds metrics for one moment."""

    def __init__(self, started_s: float) -> None:
        self._start = int(started_s * 1e9)
        self._now = time.time_ns()
        self.metrics: list[Metric] = []

    def counter(self, name: str, unit: str, help: str, points: Iterable[tuple[Attributes, float]]) -> None:
        """What only goes up."""
        self._sum(name, unit, help, points, is_monotonic=True)

    def up_down(self, name: str, unit: str, help: str, points: Iterable[tuple[Attributes, float]]) -> None:
        """What can be added up over processes, and falls."""
        self._sum(name, unit, help, points, is_monotonic=False)

    def gauge(self, name: str, unit: str, help: str, points: Iterable[tuple[Attributes, float]]) -> None:
        self._add(name, unit, help, Gauge(self._numbers(points)))

    def _sum(
        self, name: str, unit: str, help: str, points: Iterable[tuple[Attributes, float]], *, is_monotonic: bool
    ) -> None:
        self._add(name, unit, help, Sum(self._numbers(points), _CUMULATIVE, is_monotonic))

    def _numbers(self, points: Iterable[tuple[Attributes, float]]) -> list[NumberDataPoint]:
        return [NumberDataPoint(attributes, self._start, self._now, value) for attributes, value in points]

    def exponential(self, name: str, help: str, points: Iterable[tuple[Attributes, Histogram]]) -> None:
        """Durations in seconds."""
        data = [self._exponential(attributes, histogram) for attributes, histogram in points if histogram.count]
        self._add(name, "s", help, ExponentialHistogram(data, _CUMULATIVE))

    def _exponential(self, attributes: Attributes, histogram: Histogram) -> ExponentialHistogramDataPoint:
        buckets = histogram.buckets
        first = min(buckets, default=0)
        counts = [buckets.get(index, 0) for index in range(first, max(buckets, default=first - 1) + 1)]
        return ExponentialHistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=self._start,
            time_unix_nano=self._now,
            count=histogram.count,
            sum=histogram.sum_ns / 1e9,
            scale=SCALE,
            zero_count=histogram.zeros,
            positive=Buckets(first, counts),
            negative=Buckets(0, []),
            flags=0,
            min=histogram.min_ns / 1e9,
            max=histogram.max_ns / 1e9,
        )

    def doubling(self, name: str, help: str, points: Iterable[tuple[Attributes, Mapping[str, Any]]]) -> None:
        """Durations of a pool: counts by upper bound in microseconds, each twice the one before."""
        data = [self._doubling(attributes, told) for attributes, told in points if told.get("count")]
        self._add(name, "s", help, ExplicitHistogram(data, _CUMULATIVE))

    def _doubling(self, attributes: Attributes, told: Mapping[str, Any]) -> HistogramDataPoint:
        counts = {int(bound).bit_length() - 1: count for bound, count in told["buckets_us"].items()}
        bits = range(min(counts), max(counts) + 1)
        return HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=self._start,
            time_unix_nano=self._now,
            count=told["count"],
            sum=told["sum_s"],
            bucket_counts=[*(counts.get(bit, 0) for bit in bits), 0],
            explicit_bounds=[(1 << bit) / 1e6 for bit in bits],
            # As near as the buckets tell.
            min=(1 << bits[0]) / 2e6 if bits[0] else 0.0,
            max=(1 << bits[-1]) / 1e6,
        )

    def _add(self, name: str, unit: str, help: str, data: Any) -> None:
        if data.data_points:
            self.metrics.append(Metric(name, help, unit, data))

    def data(self, resource: Resource) -> MetricsData:
        scope = InstrumentationScope("django_wsgiperf", __version__)
        return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, self.metrics, _SCHEMA)], _SCHEMA)])


def add_requests(snapshot: Snapshot, tally: Tally, active: Mapping[str, int]) -> None:
    """`active`: requests that run now, by method."""
    routes = tally.routes.items()
    snapshot.exponential(
        "http.server.request.duration",
        "Time from a request's arrival to the first byte of its response.",
        (({"http.route": route}, cell.response) for route, cell in routes),
    )
    snapshot.up_down(
        "http.server.active_requests",
        "{request}",
        "Requests that run now.",
        (({"http.request.method": method}, count) for method, count in active.items()),
    )
    snapshot.counter(
        "wsgiperf.http.server.requests",
        "{request}",
        "Requests.",
        (
            ({"http.route": route, "http.request.method": method, "http.response.status_code": status}, count)
            for route, cell in routes
            for (method, status), count in cell.outcomes.items()
        ),
    )
    snapshot.counter(
        "wsgiperf.http.server.exceptions",
        "{exception}",
        "Exceptions that views let through.",
        (
            ({"http.route": route, "error.type": exception}, count)
            for route, cell in routes
            for exception, count in cell.exceptions.items()
        ),
    )
    snapshot.counter(
        "wsgiperf.http.server.request.time",
        "s",
        "Time of requests by part; the parts exclude each other.",
        (
            ({"http.route": route, "wsgiperf.part": part}, cell[f"{part}_ns"] / 1e9)
            for route, cell in routes
            for part in BREAKDOWN
            if cell[f"{part}_ns"]
        ),
    )
    snapshot.counter(
        "wsgiperf.http.server.response.body.bytes",
        "By",
        "Bytes of responses' bodies.",
        (({"http.route": route}, cell["bytes"]) for route, cell in routes),
    )
    snapshot.exponential(
        "wsgiperf.http.server.queue.duration", "Time that requests waited for a thread.", [({}, _queues(tally))]
    )
    snapshot.counter(
        "wsgiperf.page_cache.requests",
        "{request}",
        "Requests by what the response cache did.",
        (
            ({"http.route": route, "wsgiperf.outcome": outcome}, count)
            for route, cell in routes
            for outcome, count in cell.page_cache.items()
        ),
    )
    for name, unit, help, index, divisor in (
        ("wsgiperf.db.queries", "{query}", "Database queries of requests.", 0, 1),
        ("wsgiperf.db.rows", "{row}", "Rows that queries gave or changed.", 1, 1),
        ("wsgiperf.db.time", "s", "Time in statements.", 2, 1e9),
        ("wsgiperf.db.wait_time", "s", "Time that requests waited for a connection.", 3, 1e9),
        ("wsgiperf.db.errors", "{error}", "Database errors in requests.", 4, 1),
    ):
        snapshot.counter(name, unit, help, _by_alias(tally, "databases", index, divisor))
    for name, unit, help, index, divisor in (
        ("wsgiperf.cache.calls", "{call}", "Calls of Django's caches by requests.", 0, 1),
        ("wsgiperf.cache.hits", "{key}", "Keys that were found.", 1, 1),
        ("wsgiperf.cache.misses", "{key}", "Keys that were not found.", 2, 1),
        ("wsgiperf.cache.time", "s", "Time in calls of Django's caches.", 3, 1e9),
    ):
        snapshot.counter(name, unit, help, _by_alias(tally, "caches", index, divisor))
    snapshot.counter("wsgiperf.metrics.dropped", "{request}", "Requests that were not counted.", [({}, tally.dropped)])


def _queues(tally: Tally) -> Histogram:
    whole = Histogram()
    for cell in tally.routes.values():
        whole.merge(cell.queue)
    return whole


def _by_alias(tally: Tally, name: str, index: int, divisor: float) -> Iterable[tuple[Attributes, float]]:
    sums: dict[str, int] = {}
    for cell in tally.routes.values():
        for alias, numbers in getattr(cell, name).items():
            sums[alias] = sums.get(alias, 0) + numbers[index]
    return [({_ALIAS: alias}, value / divisor if divisor != 1 else value) for alias, value in sums.items()]


def add_pools(snapshot: Snapshot, pools: Iterable[Mapping[str, Any]]) -> None:
    """Pool.snapshot() of each, whose names are OpenTelemetry's already."""
    named: list[tuple[Attributes, Mapping[str, Any]]] = [
        ({f"{_POOL}.pool.name": str(pool[f"{_POOL}.pool.name"])}, pool) for pool in pools
    ]
    snapshot.up_down(
        f"{_POOL}.count",
        "{connection}",
        "Connections by state.",
        (
            ({**name, f"{_POOL}.state": state}, number)
            for name, pool in named
            for state, number in pool[f"{_POOL}.count"].items()
        ),
    )
    for key, unit, help in (
        ("max", "{connection}", "The most connections that the pool may hold."),
        ("idle.min", "{connection}", "Idle connections that are kept ready."),
        ("idle.max", "{connection}", "The most idle connections."),
        ("pending_requests", "{request}", "Threads that wait for a connection."),
    ):
        snapshot.up_down(f"{_POOL}.{key}", unit, help, ((name, pool[f"{_POOL}.{key}"]) for name, pool in named))
    snapshot.counter(
        f"{_POOL}.timeouts",
        "{timeout}",
        "Waits for a connection that took too long.",
        ((name, pool[f"{_POOL}.timeouts"]) for name, pool in named),
    )
    for key, help in (
        ("create_time", "Time that it took to open a connection."),
        ("wait_time", "Time that it took to be lent a connection."),
        ("use_time", "Time that connections were lent."),
    ):
        snapshot.doubling(f"{_POOL}.{key}", help, ((name, pool[f"{_POOL}.{key}"]) for name, pool in named))


def add_process(snapshot: Snapshot, told: Mapping[str, Any]) -> None:
    """`told` is own.resources()."""
    times = os.times()
    snapshot.counter(
        "process.cpu.time",
        "s",
        "Processor time.",
        [({"cpu.mode": "user"}, times.user), ({"cpu.mode": "system"}, times.system)],
    )
    if told.get("rss_bytes") is not None:
        snapshot.up_down("process.memory.usage", "By", "Resident memory.", [({}, told["rss_bytes"])])
    snapshot.up_down("process.thread.count", "{thread}", "Python threads.", [({}, told["threads"])])
    snapshot.gauge("process.uptime", "s", "Time since the process began.", [({}, time.time() - told["started_s"])])
    for name, key, unit in (
        ("cpython.gc.collections", "collections", "{collection}"),
        ("cpython.gc.collected_objects", "collected", "{object}"),
        ("cpython.gc.uncollectable_objects", "uncollectable", "{object}"),
    ):
        snapshot.counter(
            name,
            unit,
            "Of Python's garbage collector.",
            (({"cpython.gc.generation": n}, generation[key]) for n, generation in enumerate(told["gc"])),
        )
