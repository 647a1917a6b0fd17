"""The text for Prometheus, read back by prometheus-client's own parsers in both forms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from django_wsgiperf.metrics.exports import exposition, exposition_processes
from django_wsgiperf.metrics.exports.gather import Gathered, Process
from django_wsgiperf.metrics.histogram import Histogram
from django_wsgiperf.metrics.results import BREAKDOWN
from django_wsgiperf.metrics.tally import Tally

from .counted import ROUTE, cell, gathered, pool, said, tally

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FORMS = pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(numbers: Gathered, accept: str = OPENMETRICS) -> Samples:
    """Name and labels -> value, as whoever scrapes reads them. Each may be there once."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exposition.Collector(numbers))
    encode, content_type = choose_encoder(accept)
    assert ("openmetrics" in content_type) == ("openmetrics" in accept)
    text = encode(registry).decode()
    families: Iterable[Any] = (parse_openmetrics if "openmetrics" in accept else parse_text)(text)
    found: Samples = {}
    for family in families:
        assert family.documentation, family.name
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@FORMS
def test_requests_are_told_by_route_method_and_status(accept: str) -> None:
    found = samples(gathered(), accept)
    assert value(found, "wsgiperf_http_requests_total", process="0", route=ROUTE, method="GET", status="200") == 3
    by_route = {
        "wsgiperf_http_request_cpu_seconds_total": 0.03,
        "wsgiperf_http_request_db_queries_total": 6,
        "wsgiperf_http_request_n_plus_one_total": 1,
        "wsgiperf_http_request_aborted_total": 1,
        "wsgiperf_http_response_body_bytes_total": 3000,
    }
    assert {name: value(found, name, process="0", route=ROUTE) for name in by_route} == pytest.approx(by_route)
    assert (
        value(
            found, "wsgiperf_http_request_exceptions_total", process="0", route=ROUTE, exception="shop.errors.SoldOut"
        )
        == 1
    )
    assert value(found, "wsgiperf_page_cache_requests_total", process="0", route=ROUTE, outcome="hit") == 1
    assert value(found, "wsgiperf_metrics_dropped_requests_total", process="0") == 0


@FORMS
def test_parts_of_the_time_add_up(accept: str) -> None:
    found = samples(gathered(), accept)
    parts = {
        dict(labels)["part"]: seconds
        for (name, labels), seconds in found.items()
        if name == "wsgiperf_http_request_time_seconds_total"
    }
    assert set(parts) <= set(BREAKDOWN)
    assert sum(parts.values()) == pytest.approx(0.06)


@FORMS
def test_durations_are_cumulative_up_to_infinity(accept: str) -> None:
    found = samples(gathered(), accept)
    name = "wsgiperf_http_request_duration_seconds"
    # 20 ms is above 2**-6 and at most 2**-5 seconds.
    assert value(found, f"{name}_bucket", process="0", route=ROUTE, le="0.015625") == 0
    assert value(found, f"{name}_bucket", process="0", route=ROUTE, le="0.03125") == 3
    assert value(found, f"{name}_bucket", process="0", route=ROUTE, le="+Inf") == 3
    assert value(found, f"{name}_count", process="0", route=ROUTE) == 3
    assert value(found, f"{name}_sum", process="0", route=ROUTE) == pytest.approx(0.06)
    assert value(found, "wsgiperf_http_queue_duration_seconds_count", process="0") == 3


@given(st.lists(st.integers(min_value=-5, max_value=200_000_000_000), max_size=60))
def test_every_bucket_counts_exactly_what_is_at_most_its_bound(durations: list[int]) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    for text, counted in exposition.classic(histogram):
        assert counted == sum(max(0, ns) / 1e9 <= float(text) for ns in durations), text


def test_powers_of_two_belong_to_the_bucket_that_they_bound() -> None:
    histogram = Histogram()
    for exponent in range(exposition.FIRST, exposition.LAST + 1):
        if exponent >= -9:  # Below, a power of two of seconds is no whole number of nanoseconds.
            histogram.record(round(2.0**exponent * 1e9))
    counts = dict(exposition.classic(histogram))
    assert counts[str(2.0**-9)] == 1
    assert counts[str(2.0**-8)] == 2
    assert counts["64.0"] == counts["+Inf"] == 16


@FORMS
def test_databases_and_caches_are_told_by_alias(accept: str) -> None:
    numbers = gathered()
    numbers.tallies = {0: tally(a=cell(), b=cell())}
    found = samples(numbers, accept)
    assert value(found, "wsgiperf_db_queries_total", process="0", alias="default") == 12
    assert value(found, "wsgiperf_db_rows_total", process="0", alias="default") == 30
    assert value(found, "wsgiperf_db_execute_seconds_total", process="0", alias="default") == pytest.approx(0.012)
    assert value(found, "wsgiperf_db_wait_seconds_total", process="0", alias="default") == pytest.approx(0.002)
    assert value(found, "wsgiperf_db_errors_total", process="0", alias="default") == 2
    assert value(found, "wsgiperf_cache_calls_total", process="0", alias="default") == 6
    assert value(found, "wsgiperf_cache_hits_total", process="0", alias="default") == 4
    assert value(found, "wsgiperf_cache_misses_total", process="0", alias="default") == 2


@FORMS
def test_processes_and_the_collector(accept: str) -> None:
    numbers = gathered()
    numbers.unreachable = 1
    found = samples(numbers, accept)
    assert value(found, "wsgiperf_process_resident_memory_bytes", process="0") == 50_000_000
    assert value(found, "wsgiperf_process_cpu_seconds_total", process="0") == 12.5
    assert value(found, "wsgiperf_process_threads", process="0") == 9
    assert value(found, "wsgiperf_process_start_time_seconds", process="0") == 1_790_000_000.5
    assert value(found, "wsgiperf_gc_collections_total", process="0", generation="0") == 30
    assert value(found, "wsgiperf_gc_collected_total", process="0", generation="1") == 40
    assert value(found, "wsgiperf_gc_uncollectable_total", process="0", generation="1") == 1
    assert value(found, "wsgiperf_processes_unreachable") == 1
    assert value(found, "wsgiperf_metrics_pending", process="0") == 2
    assert value(found, "wsgiperf_metrics_cpu_seconds_total", process="0") == 0.25


@FORMS
def test_pools_have_the_names_of_the_semantic_conventions(accept: str) -> None:
    found = samples(gathered(pools=[pool()]), accept)
    which = {"process": "0", "db_client_connection_pool_name": "default"}
    count = "db_client_connection_count"
    assert value(found, count, **which, db_client_connection_state="idle") == 1
    assert value(found, count, **which, db_client_connection_state="used") == 2
    assert value(found, "db_client_connection_max", **which) == 8
    assert value(found, "db_client_connection_pending_requests", **which) == 2
    assert value(found, "db_client_connection_timeouts_total", **which) == 2
    waits = "db_client_connection_wait_time_seconds"
    assert value(found, f"{waits}_count", **which) == value(found, f"{waits}_bucket", **which, le="+Inf") == 3
    assert value(found, f"{waits}_bucket", **which, le="0.001024") == 1
    assert value(found, f"{waits}_bucket", **which, le="67.108864") == 2
    assert value(found, f"{waits}_sum", **which) == pytest.approx(80.0059)
    assert value(found, "wsgiperf_db_pool_created_total", **which) == 4
    assert value(found, "wsgiperf_db_pool_closed_total", **which, reason="lifetime") == 1


@FORMS
def test_the_response_cache_tells_of_its_memory_store_and_work(accept: str) -> None:
    cache = {
        "stored": 9,
        "refusals": {"private": 4, "set-cookie": 2},
        "memory": {"bytes": 5000, "entries": 7, "evictions": 3},
        "store": {"is_reachable": False},
    }
    found = samples(gathered(page_cache=cache), accept)
    name = "wsgiperf_page_cache"
    assert value(found, f"{name}_memory_bytes", process="0") == 5000
    assert value(found, f"{name}_memory_entries", process="0") == 7
    assert value(found, f"{name}_evictions_total", process="0") == 3
    assert value(found, f"{name}_store_reachable", process="0") == 0
    assert value(found, f"{name}_stored_total", process="0") == 9
    assert value(found, f"{name}_refusals_total", process="0", reason="set-cookie") == 2
    without_store = samples(gathered(page_cache={**cache, "store": None}), accept)
    assert (f"{name}_store_reachable", frozenset({("process", "0")})) not in without_store


def test_the_response_caches_real_numbers_are_all_told() -> None:
    from django_wsgiperf.cache import runtime

    with override_settings(WSGIPERF={}):
        numbers = runtime.numbers()
    found = {name for name, _ in samples(gathered(page_cache=numbers))}
    known = {
        f"wsgiperf_page_cache_{name}" for name, _, keys in exposition_processes._CACHE_GAUGES if keys[0] != "store"
    }
    known |= {f"wsgiperf_page_cache_{name}_total" for name, _, _ in exposition_processes._CACHE_COUNTERS}
    assert known <= found


@FORMS
def test_labels_come_back_as_they_were(accept: str) -> None:
    odd = 'a"b\\c\nd <int:pk> {x="y"} \u00e9\U0001f600'
    numbers = gathered()
    numbers.tallies = {0: tally(**{odd: cell()})}
    found = samples(numbers, accept)
    assert value(found, "wsgiperf_http_requests_total", process="0", route=odd, method="GET", status="200") == 3


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_label_breaks_the_format(route: str, alias: str) -> None:
    try:
        (route + alias).encode()
    except UnicodeEncodeError:
        return
    one = cell()
    one.databases = {alias: [1, 1, 1, 1, 1, 0]}
    numbers = gathered()
    numbers.tallies = {0: tally(**{route: one})}
    found = samples(numbers)
    assert ("wsgiperf_db_queries_total", frozenset({("process", "0"), ("alias", alias)})) in found


def test_a_server_has_one_series_and_other_processes_one_each() -> None:
    several = gathered()
    several.tallies = {0: tally(**{ROUTE: cell()}), 1: tally(**{ROUTE: cell(5)})}
    found = samples(several)
    counts = {
        dict(labels)["process"]: count
        for (name, labels), count in found.items()
        if name == "wsgiperf_http_requests_total"
    }
    assert counts == {"0": 3, "1": 5}
    server = gathered()
    server.tallies = {None: tally(**{ROUTE: cell(8)})}
    assert value(samples(server), "wsgiperf_http_requests_total", route=ROUTE, method="GET", status="200") == 8


def test_nothing_counted_and_nothing_said_is_valid_too() -> None:
    empty = Gathered()
    empty.tallies = {None: Tally()}
    empty.processes = [Process(0, {})]
    for accept in ("text/plain", OPENMETRICS):
        assert value(samples(empty, accept), "wsgiperf_metrics_dropped_requests_total") == 0


def test_series_are_as_many_as_routes_and_no_more() -> None:
    """A hundred routes, as many as a large site has, in four processes' gauges: a text that is scraped quickly."""
    numbers = gathered()
    numbers.tallies = {None: tally(**{f"/route/{n}/": cell() for n in range(100)})}
    numbers.processes = [Process(n, said(process=n)) for n in range(4)]
    per_route = sum("route" in dict(labels) for _, labels in samples(numbers)) / 100
    # A histogram of 20 bounds with sum and count, and twelve counters.
    assert per_route <= 36
