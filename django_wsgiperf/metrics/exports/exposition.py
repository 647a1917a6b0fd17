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

from . import exposition_processes as processes
from .gather import Gathered

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
        yield from processes.families(self._gathered)


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
