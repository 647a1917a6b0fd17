"""The gathered numbers as families of samples for prometheus-client, which writes the text.

Names and help are a contract: docs/monitoring.md lists them. Labels are bounded: routes, methods, statuses, outcomes,
exceptions and aliases by the sums themselves, processes by their seats. Durations are seconds; histograms have bounds
at powers of two, which the exponential histograms that they come from hold exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from django_wsgiperf.metrics.histogram import Histogram
from django_wsgiperf.metrics.results import BREAKDOWN
from django_wsgiperf.metrics.tally import Cell, Tally

from .gather import Gathered, Process

FIRST, LAST = -12, 6
"""Exponents of the bounds: 2**-12 s, a quarter of a millisecond, to 2**6 s; what is beyond is in +Inf."""
BOUNDS: Final = tuple((2.0**exponent, str(2.0**exponent)) for exponent in range(FIRST, LAST + 1))

_SUMS: Final = (
    ("http_request_cpu_seconds", "Processor time of requests' threads.", lambda cell: cell["cpu_ns"] / 1e9),
    ("http_request_db_queries", "Database queries of requests.", lambda cell: cell["queries"]),
    (
        "http_request_n_plus_one",
        "Requests that repeated a query METRICS[N_PLUS_ONE_QUERIES] times.",
        lambda cell: cell["n_plus_one"],
    ),
    ("http_request_aborted", "Requests whose client left before the end.", lambda cell: cell["aborted"]),
    ("http_response_body_bytes", "Bytes of responses' bodies.", lambda cell: cell["bytes"]),
)
_BY_DATABASE: Final = (
    ("queries", "Database queries of requests.", 0, 1),
    ("rows", "Rows that queries gave or changed, where the driver tells.", 1, 1),
    ("execute_seconds", "Time in statements.", 2, 1e9),
    ("wait_seconds", "Time that requests waited for a connection.", 3, 1e9),
    ("errors", "Database errors in requests.", 4, 1),
)
_BY_CACHE: Final = (
    ("calls", "Calls of Django's caches by requests.", 0, 1),
    ("hits", "Keys that were found.", 1, 1),
    ("misses", "Keys that were not found.", 2, 1),
    ("seconds", "Time in calls of Django's caches.", 3, 1e9),
)


def encoded(gathered: Gathered, accept: str) -> tuple[str, bytes]:
    """Content type and text, in the format that the Accept field asks for."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(gathered))
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


class Collector:
    """prometheus-client's interface: collect() gives families of samples."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered

    def describe(self) -> list[Any]:
        return []  # Otherwise registration would collect once to learn the names.

    def collect(self) -> Iterator[Any]:
        yield from _requests(_Tallies(self._gathered.tallies))
        yield from _processes(self._gathered)
        yield from _pools(self._gathered.processes)
        yield from _page_cache(self._gathered.processes)


class _Tallies:
    """The tallies, with a label for the process where there is one for each."""

    def __init__(self, tallies: Mapping[int | None, Tally]) -> None:
        self.label = [] if None in tallies else ["process"]
        self._each = [([] if number is None else [str(number)], tally) for number, tally in tallies.items()]

    def __iter__(self) -> Iterator[tuple[list[str], Tally]]:
        return iter(self._each)

    def counter(
        self, name: str, help: str, labels: Iterable[str], values: Callable[[Tally], Iterable[tuple[list[str], float]]]
    ) -> Any:
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(f"wsgiperf_{name}", help, labels=[*self.label, *labels])
        for process, tally in self:
            for key, value in values(tally):
                family.add_metric([*process, *key], value)
        return family

    def histogram(
        self,
        name: str,
        help: str,
        labels: Iterable[str],
        values: Callable[[Tally], Iterable[tuple[list[str], Histogram]]],
    ) -> Any:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(f"wsgiperf_{name}", help, labels=[*self.label, *labels])
        for process, tally in self:
            for key, histogram in values(tally):
                family.add_metric([*process, *key], buckets=classic(histogram), sum_value=histogram.sum_ns / 1e9)
        return family


def classic(histogram: Histogram) -> list[tuple[str, float]]:
    """Upper bounds with the count of everything up to them. Exact: bounds are those of the histogram's own buckets."""
    bounds = [(exponent << 3) - 1 for exponent in range(FIRST, LAST + 1)]
    ascending = iter(histogram)
    counted = histogram.zeros
    waiting = next(ascending, None)
    buckets: list[tuple[str, float]] = []
    for last_index, (_, text) in zip(bounds, BOUNDS, strict=True):
        while waiting is not None and waiting[0] <= last_index:
            counted += waiting[1]
            waiting = next(ascending, None)
        buckets.append((text, counted))
    return [*buckets, ("+Inf", histogram.count)]


# -- requests


def _requests(tallies: _Tallies) -> Iterator[Any]:
    yield tallies.counter(
        "http_requests",
        "Requests by route, method and status; the status 0 stands for all beyond those that are told apart.",
        ["route", "method", "status"],
        lambda tally: (
            ([route, method, str(status)], count)
            for route, cell in tally.routes.items()
            for (method, status), count in cell.outcomes.items()
        ),
    )
    yield tallies.histogram(
        "http_request_duration_seconds",
        "Time from a request's arrival to the first byte of its response, the wait for a thread included.",
        ["route"],
        lambda tally: (([route], cell.response) for route, cell in tally.routes.items()),
    )
    yield tallies.histogram(
        "http_queue_duration_seconds",
        "Time that requests waited for a thread, where the server or a trusted proxy tells.",
        [],
        lambda tally: [([], queue)] if (queue := _queues(tally)).count else [],
    )
    yield tallies.counter(
        "http_request_time_seconds",
        f"Time of requests by part ({', '.join(BREAKDOWN)}); the parts exclude each other.",
        ["route", "part"],
        lambda tally: (
            ([route, part], cell[f"{part}_ns"] / 1e9)
            for route, cell in tally.routes.items()
            for part in BREAKDOWN
            if cell[f"{part}_ns"]
        ),
    )
    for name, help, value in _SUMS:
        yield tallies.counter(name, help, ["route"], _by_route(value))
    yield tallies.counter(
        "http_request_exceptions",
        "Exceptions that views let through, by class.",
        ["route", "exception"],
        lambda tally: (
            ([route, exception], count)
            for route, cell in tally.routes.items()
            for exception, count in cell.exceptions.items()
        ),
    )
    yield tallies.counter(
        "page_cache_requests",
        "Requests by what the response cache did.",
        ["route", "outcome"],
        lambda tally: (
            ([route, outcome], count)
            for route, cell in tally.routes.items()
            for outcome, count in cell.page_cache.items()
        ),
    )
    for name, help, index, unit in _BY_DATABASE:
        yield tallies.counter(f"db_{name}", help, ["alias"], _by_alias("databases", index, unit))
    for name, help, index, unit in _BY_CACHE:
        yield tallies.counter(f"cache_{name}", help, ["alias"], _by_alias("caches", index, unit))
    yield tallies.counter(
        "metrics_dropped_requests",
        "Requests that were served and not counted, because too many waited to be.",
        [],
        lambda tally: [([], tally.dropped)],
    )


def _by_route(value: Callable[[Cell], float]) -> Callable[[Tally], Iterable[tuple[list[str], float]]]:
    return lambda tally: (([route], value(cell)) for route, cell in tally.routes.items())


def _by_alias(name: str, index: int, unit: float) -> Callable[[Tally], Iterable[tuple[list[str], float]]]:
    def values(tally: Tally) -> Iterable[tuple[list[str], float]]:
        sums: dict[str, float] = {}
        for cell in tally.routes.values():
            for alias, numbers in getattr(cell, name).items():
                sums[alias] = sums.get(alias, 0) + numbers[index]
        return (([alias], total / unit if unit != 1 else total) for alias, total in sums.items())

    return values


def _queues(tally: Tally) -> Histogram:
    whole = Histogram()
    for cell in tally.routes.values():
        whole.merge(cell.queue)
    return whole


# -- processes


def _processes(gathered: Gathered) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    def each(family: Any, value: Callable[[Mapping[str, Any]], float | None]) -> Any:
        for process in gathered.processes:
            found = value(process.get("resources") or {})
            if found is not None:
                family.add_metric([str(process.number)], found)
        return family

    def gauge(name: str, help: str, key: str) -> Any:
        return each(GaugeMetricFamily(f"wsgiperf_process_{name}", help, labels=["process"]), lambda told: told.get(key))

    yield gauge("resident_memory_bytes", "Resident memory.", "rss_bytes")
    yield gauge("start_time_seconds", "When the process began, in unix seconds.", "started_s")
    yield gauge("threads", "Python threads.", "threads")
    yield each(
        CounterMetricFamily("wsgiperf_process_cpu_seconds", "Processor time.", labels=["process"]),
        lambda told: told.get("cpu_s"),
    )
    for key, help in (
        ("collections", "Runs of Python's garbage collector."),
        ("collected", "Objects that the collector freed."),
        ("uncollectable", "Objects that it found and could not free."),
    ):
        family = CounterMetricFamily(f"wsgiperf_gc_{key}", help, labels=["process", "generation"])
        for process in gathered.processes:
            for generation, told in enumerate((process.get("resources") or {}).get("gc", ())):
                family.add_metric([str(process.number), str(generation)], told.get(key, 0))
        yield family
    yield GaugeMetricFamily(
        "wsgiperf_processes_unreachable", "Processes that are there and did not answer in time.", gathered.unreachable
    )
    pending = GaugeMetricFamily("wsgiperf_metrics_pending", "Requests that wait to be counted.", labels=["process"])
    cpu = CounterMetricFamily(
        "wsgiperf_metrics_cpu_seconds", "Processor time of counting and writing.", labels=["process"]
    )
    for process in gathered.processes:
        told = process.get("pipeline") or {}
        pending.add_metric([str(process.number)], told.get("pending", 0))
        if "aggregate_cpu_s" in told:
            cpu.add_metric([str(process.number)], told["aggregate_cpu_s"])
    yield pending
    yield cpu


# -- pools of database connections, by the names of OpenTelemetry's semantic conventions

_POOL: Final = "db.client.connection"
_POOL_LABELS: Final = ("process", "db_client_connection_pool_name")
_POOL_GAUGES: Final = (
    ("max", "The most connections that the pool may hold."),
    ("idle.min", "Idle connections that are kept ready."),
    ("idle.max", "The most idle connections."),
    ("pending_requests", "Threads that wait for a connection."),
)
_POOL_TIMES: Final = (
    ("create_time", "Time that it took to open a connection."),
    ("wait_time", "Time that it took to be lent a connection."),
    ("use_time", "Time that connections were lent."),
)
_POOL_COUNTERS: Final = (
    ("created", "Connections that were opened."),
    ("connect_failures", "Connections that could not be opened."),
    ("pings", "Connections that were asked for life."),
    ("ping_failures", "Those of them that did not answer."),
    ("overloaded", "Requests for a connection that were refused since too many waited."),
    ("unavailable", "Requests for a connection that were refused because of an outage."),
    ("reclaimed", "Connections that their holders never gave back."),
)


def _pools(processes: Iterable[Process]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    pools = [
        ([str(process.number), str(pool.get(f"{_POOL}.pool.name", ""))], pool)
        for process in processes
        for pool in process.get("pools") or ()
    ]
    if not pools:
        return
    count = GaugeMetricFamily(
        "db_client_connection_count",
        "Connections by state.",
        labels=[*_POOL_LABELS, "db_client_connection_state"],
    )
    for key, pool in pools:
        for state, number in (pool.get(f"{_POOL}.count") or {}).items():
            count.add_metric([*key, state], number)
    yield count
    for name, help in _POOL_GAUGES:
        gauge = GaugeMetricFamily(f"db_client_connection_{name.replace('.', '_')}", help, labels=_POOL_LABELS)
        for key, pool in pools:
            gauge.add_metric(key, pool.get(f"{_POOL}.{name}", 0))
        yield gauge
    timeouts = CounterMetricFamily(
        "db_client_connection_timeouts", "Waits for a connection that took too long.", labels=_POOL_LABELS
    )
    for key, pool in pools:
        timeouts.add_metric(key, pool.get(f"{_POOL}.timeouts", 0))
    yield timeouts
    for name, help in _POOL_TIMES:
        family = HistogramMetricFamily(f"db_client_connection_{name}_seconds", help, labels=_POOL_LABELS)
        for key, pool in pools:
            told = pool.get(f"{_POOL}.{name}") or {}
            family.add_metric(key, buckets=_doubling(told.get("buckets_us") or {}), sum_value=told.get("sum_s", 0.0))
        yield family
    for name, help in _POOL_COUNTERS:
        counter = CounterMetricFamily(f"wsgiperf_db_pool_{name}", help, labels=_POOL_LABELS)
        for key, pool in pools:
            counter.add_metric(key, pool.get(name, 0))
        yield counter
    closed = CounterMetricFamily(
        "wsgiperf_db_pool_closed", "Connections that were closed, by reason.", labels=[*_POOL_LABELS, "reason"]
    )
    for key, pool in pools:
        for reason, number in (pool.get("closed") or {}).items():
            closed.add_metric([*key, reason], number)
    yield closed


def _doubling(counts: Mapping[str, int]) -> list[tuple[str, float]]:
    """Upper bounds in seconds from 16 us to 67 s, of counts by upper bound in microseconds."""
    by_bound = sorted((int(bound), count) for bound, count in counts.items())
    total = sum(count for _, count in by_bound)
    return [
        *(
            (repr((1 << bit) / 1e6), float(sum(count for bound, count in by_bound if bound <= 1 << bit)))
            for bit in range(4, 27)
        ),
        ("+Inf", float(total)),
    ]


# -- the response cache


def _page_cache(processes: Iterable[Process]) -> Iterator[Any]:
    """Its memory; what it did with requests is counted with the requests."""
    from prometheus_client.core import GaugeMetricFamily

    told = [(str(process.number), process.get("page_cache")) for process in processes]
    found = [(number, memory) for number, cache in told if cache and isinstance(memory := cache.get("memory"), Mapping)]
    for key, name, help in (
        ("bytes", "memory_bytes", "Memory for pages in use."),
        ("max_bytes", "memory_max_bytes", "Memory for pages at most."),
        ("entries", "memory_entries", "Pages in memory."),
    ):
        samples = [(number, memory[key]) for number, memory in found if isinstance(memory.get(key), int | float)]
        if samples:
            gauge = GaugeMetricFamily(f"wsgiperf_page_cache_{name}", help, labels=["process"])
            for number, value in samples:
                gauge.add_metric([number], value)
            yield gauge
