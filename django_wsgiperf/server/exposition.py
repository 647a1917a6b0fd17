"""The scoreboard as Prometheus metrics: the whole server's, whichever worker is asked. And the project's beside it.

prometheus-client does the format; its own registries, and its mode for several processes, are not used: the numbers
are on the scoreboard already. Counters include those of workers that are gone, so that they never fall. What the
project's requests did is added by metrics/exports/exposition.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .slots import HISTOGRAM_BUCKETS

if TYPE_CHECKING:
    from .scoreboard import Scoreboard

_GAUGES = {
    "threads": "Threads that run requests.",
    "busy": "Threads that run a request now.",
    "queued": "Complete requests that wait for a thread.",
    "queue_max": "The most requests that have waited at once.",
    "queue_peak": "The most requests that have waited at once in the last second.",
    "connections": "Open connections.",
    "connections_max": "The most connections that were open at once.",
    "connections_peak": "The most connections that were open at once in the last second.",
    "rss_bytes": "Resident memory.",
}
_COUNTERS = {
    "requests": "Requests that were run.",
    "accepted": "Connections accepted.",
    "reserved": "Requests for the server's own pages.",
    "bad_requests": "Requests refused because they were not valid HTTP.",
    "client_left_queue": "Queued requests whose client left before they were run.",
    "sent_away": "Connections ended after a response, for another worker that had less to do.",
    "lost_threads": "Threads given up because of stuck requests.",
    "received_bytes": "Bytes received.",
    "sent_bytes": "Bytes of responses.",
}
_LABELLED = {
    "responses": ("class", "Responses by the class of their status."),
    "shed": ("reason", "Requests refused with 503 because the queue was too long or too slow."),
    "timeouts": ("kind", "Time-outs by kind."),
}
_HISTOGRAMS = {
    "queue": "Time that requests waited for a thread.",
    "service": "Time that requests took, from their start to the last byte handed over.",
    "write": "Time that clients took for the rest of responses that their sockets did not take at once.",
}
_SUMS = {"queue": "queued_ns", "service": "served_ns", "write": "written_ns"}
_FIRST_BUCKET, _LAST_BUCKET = 6, 26
"""From 64 us to 67 s; what is beyond is counted in the first, and in +Inf."""


def is_available() -> bool:
    """Whether prometheus-client is installed. Imports it: call this before anything is served."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        return False
    return True


def format_of(accept: str) -> str:
    """One of the few Accept fields that stand for all: what prometheus-client answers this one with."""
    from prometheus_client.exposition import choose_encoder

    return str(choose_encoder(accept)[1])


def expose(board: Scoreboard, accept: str, gathered: Any = None) -> tuple[str, bytes]:
    """Content type and text of the metrics, in the format that the Accept field asks for.

    `gathered` are the project's numbers, of metrics/exports/gather.py; None where there are none."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_BoardCollector(board))
    if gathered is not None:
        from django_wsgiperf.metrics.exports.exposition import Collector

        registry.register(Collector(gathered))
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


class _BoardCollector:
    """prometheus-client's interface: collect() gives families of samples."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board

    def describe(self) -> list[Any]:
        return []  # Otherwise registration would collect once to learn the names.

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        rows = self._board.rows()
        counters, histograms = self._board.totals()
        workers = GaugeMetricFamily("wsgiperf_server_workers", "Worker processes by state.", labels=["state"])
        for state in ("serving", "draining"):
            workers.add_metric([state], sum(row["state"] == state for row in rows))
        yield workers
        for name, help_text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"wsgiperf_server_{name}", help_text, labels=["worker"])
            for row in rows:
                # Places on the board are taken again; process ids would make series without end.
                gauge.add_metric([str(row["row"])], row[name])
            yield gauge
        for name, help_text in _COUNTERS.items():
            yield CounterMetricFamily(f"wsgiperf_server_{name}", help_text, value=counters[name])
        for name, (label, help_text) in _LABELLED.items():
            family = CounterMetricFamily(f"wsgiperf_server_{name}", help_text, labels=[label])
            for key, value in counters.items():
                if key.startswith(f"{name}_"):
                    family.add_metric([key.removeprefix(f"{name}_")], value)
            yield family
        for name, help_text in _HISTOGRAMS.items():
            seconds = counters[_SUMS[name]] / 1e9
            buckets = _buckets(histograms[f"{name}_histogram"])
            yield HistogramMetricFamily(
                f"wsgiperf_server_{name}_seconds", help_text, buckets=buckets, sum_value=seconds
            )


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Upper bounds in seconds with the count of everything up to them."""
    total = 0
    buckets: list[tuple[str, float]] = []
    for bucket in range(HISTOGRAM_BUCKETS):
        total += counts[bucket]
        if _FIRST_BUCKET <= bucket <= _LAST_BUCKET:
            buckets.append((repr((1 << bucket) / 1e6), total))
    return [*buckets, ("+Inf", total)]
