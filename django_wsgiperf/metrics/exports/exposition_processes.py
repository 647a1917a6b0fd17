"""Families of samples of processes, their pools of database connections and their response caches.

What is of the moment, or counted by a process alone: each sample has the process's small number. Names of pools are
those of OpenTelemetry's semantic conventions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from .gather import Gathered, Process


def families(gathered: Gathered) -> Iterator[Any]:
    """All of them."""
    yield from _processes(gathered)
    yield from _pools(gathered.processes)
    yield from _page_cache(gathered.processes)


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

_CACHE_GAUGES: Final = (
    ("memory_bytes", "Memory for pages in use.", ("memory", "bytes")),
    ("memory_max_bytes", "Memory for pages at most.", ("memory", "max_bytes")),
    ("memory_entries", "Pages in memory.", ("memory", "entries")),
    ("store_reachable", "Whether the shared store answers.", ("store", "is_reachable")),
)
_CACHE_COUNTERS: Final = (
    ("stored", "Pages that were stored.", ("stored",)),
    ("store_hits", "Pages that came from the shared store.", ("store_hits",)),
    ("refreshes", "Pages that were made anew in the background.", ("refreshes",)),
    ("refresh_failures", "Those of them that could not be.", ("refresh_failures",)),
    ("errors_covered", "Failures of the application that a client got a stale page for.", ("errors_covered",)),
    ("invalidations", "Addresses and groups that unsafe requests made invalid.", ("invalidations",)),
    ("evictions", "Pages that gave way to others in memory.", ("memory", "evictions")),
)


def _page_cache(processes: Iterable[Process]) -> Iterator[Any]:
    """Its memory and its work; what it did with requests is counted with the requests."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    caches = [(str(each.number), told) for each in processes if (told := each.get("page_cache"))]
    for kind, table in ((GaugeMetricFamily, _CACHE_GAUGES), (CounterMetricFamily, _CACHE_COUNTERS)):
        for name, help, keys in table:
            samples = [(number, found) for number, told in caches if (found := _number_at(told, keys)) is not None]
            if samples:
                family = kind(f"wsgiperf_page_cache_{name}", help, labels=["process"])
                for number, value in samples:
                    family.add_metric([number], value)
                yield family
    refusals = CounterMetricFamily(
        "wsgiperf_page_cache_refusals", "Answers that were not stored, by reason.", labels=["process", "reason"]
    )
    for number, told in caches:
        for reason, count in (told.get("refusals") or {}).items():
            refusals.add_metric([number, str(reason)], count)
    if caches:
        yield refusals


def _number_at(told: Any, keys: Iterable[str]) -> float | None:
    """What is there, key by key; None where there is no such number."""
    for key in keys:
        told = told.get(key) if isinstance(told, Mapping) else None
    return float(told) if isinstance(told, int | float) else None
