"""Numbers sent by OTLP to a collector on the loopback interface, which decodes what it gets."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import override_settings
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from django_wsgiperf import conf
from django_wsgiperf.instance import instance
from django_wsgiperf.metrics import exports, pipeline
from django_wsgiperf.metrics.exports import opentelemetry, otlp, own
from django_wsgiperf.metrics.exports.opentelemetry import Snapshot
from django_wsgiperf.metrics.histogram import Histogram, upper_s
from django_wsgiperf.metrics.record import Record

from .counted import ROUTE, cell, pool, tally


class Collector(ThreadingHTTPServer):
    """Keeps the requests that it takes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.taken: list[tuple[str, dict[str, str], ExportMetricsServiceRequest]] = []
        self.status = 200
        self.arrived = threading.Semaphore(0)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait(self) -> ExportMetricsServiceRequest:
        """The next request that has not been waited for."""
        assert self.arrived.acquire(timeout=40)
        return self.taken[-1][2]


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.server.status == 200:
            headers = {key.lower(): value for key, value in self.headers.items()}
            self.server.taken.append((self.path, headers, ExportMetricsServiceRequest.FromString(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.arrived.release()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    yield
    otlp.stop()


@pytest.fixture
def push(collector: Collector) -> Callable[..., ExportMetricsServiceRequest]:
    """Has the numbers sent once, and gives what arrived."""

    def once(**metrics: Any) -> ExportMetricsServiceRequest:
        options = {"STORE": "memory", "OTLP": True, "OTLP_ENDPOINT": f"{collector.address}/v1/metrics", **metrics}
        with override_settings(WSGIPERF={"METRICS": options}):
            record = Record("GET")
            record.route, record.status = ROUTE, 200
            record.ttfb_ns = record.total_ns = 20_000_000
            pipeline.submit(record)
            assert pipeline.flush(30)
            pusher = otlp.Pusher(conf.current("METRICS").values)
            assert pusher.push()
        return collector.wait()

    return once


def metrics_of(request: ExportMetricsServiceRequest) -> dict[str, Any]:
    [resource] = request.resource_metrics
    [scope] = resource.scope_metrics
    assert scope.scope.name == "django_wsgiperf"
    found = {metric.name: metric for metric in scope.metrics}
    assert len(found) == len(scope.metrics)
    return found


def resource_of(request: ExportMetricsServiceRequest) -> dict[str, Any]:
    return {
        attribute.key: attribute.value.string_value or attribute.value.int_value
        for attribute in request.resource_metrics[0].resource.attributes
    }


def attributes(point: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in point.attributes}


def test_requests_arrive_as_exponential_histograms(push: Callable[..., Any]) -> None:
    metric = metrics_of(push())["http.server.request.duration"]
    assert metric.unit == "s"
    histogram = metric.exponential_histogram
    assert histogram.aggregation_temporality == 2, "cumulative"
    [point] = histogram.data_points
    assert attributes(point) == {"http.route": ROUTE}
    assert (point.count, point.scale, point.zero_count) == (1, 3, 0)
    assert point.sum == point.min == point.max == pytest.approx(0.02)
    assert list(point.positive.bucket_counts) == [1]
    # OpenTelemetry's bucket i has values above 2**(i / 8) and up to 2**((i + 1) / 8).
    assert 2 ** (point.positive.offset / 8) < 0.02 <= 2 ** ((point.positive.offset + 1) / 8)
    assert 0 < point.start_time_unix_nano < point.time_unix_nano


def test_process_and_request_counts_arrive(push: Callable[..., Any]) -> None:
    found = metrics_of(push())
    [requests] = found["wsgiperf.http.server.requests"].sum.data_points
    assert attributes(requests) == {
        "http.route": ROUTE,
        "http.request.method": "GET",
        "http.response.status_code": 200,
    }
    assert found["wsgiperf.http.server.requests"].sum.is_monotonic
    modes = {attributes(point)["cpu.mode"] for point in found["process.cpu.time"].sum.data_points}
    assert modes == {"user", "system"}
    assert found["process.thread.count"].sum.data_points[0].as_int >= 1
    assert len(found["cpython.gc.collections"].sum.data_points) == 3


def test_resource_says_which_process_of_which_service(
    push: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = resource_of(push(RELEASE="1.2.3"))
    assert told["service.name"] == "tests"
    assert told["service.version"] == "1.2.3"
    assert told["service.instance.id"] == instance()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging,service.version=9")
    told = resource_of(push(RELEASE="1.2.3"))
    assert (told["service.name"], told["service.version"]) == ("shop", "9")
    assert told["deployment.environment.name"] == "staging"


def test_environment_gives_address_headers_and_compression(
    push: Callable[..., Any], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    assert "http.server.request.duration" in metrics_of(push(OTLP_ENDPOINT=""))
    path, headers, _ = collector.taken[-1]
    assert path == "/v1/metrics"
    assert headers["authorization"] == "Bearer abc"
    assert headers["content-encoding"] == "gzip"


def test_it_is_off_unless_turned_on(collector: Collector) -> None:
    with override_settings(WSGIPERF={"METRICS": {"OTLP_ENDPOINT": collector.address}}):
        exports.begin()
        otlp.start()
    assert otlp._pusher is None
    assert collector.taken == []


def test_thread_sends_at_its_interval_and_once_more_in_the_end(collector: Collector) -> None:
    options = {
        "STORE": "memory",
        "OTLP": True,
        "OTLP_ENDPOINT": f"{collector.address}/v1/metrics",
        "OTLP_INTERVAL_S": 1,
    }
    with override_settings(WSGIPERF={"METRICS": options}):
        exports.begin()
        exports.begin()
        assert sum(thread.name == "wsgiperf-otlp" for thread in threading.enumerate()) == 1
        collector.wait()
        collector.wait()
        otlp.stop()
        collector.wait()
    assert not any(thread.name == "wsgiperf-otlp" for thread in threading.enumerate())


def test_end_while_a_sending_waits_to_be_repeated_is_quiet(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "_LAST_S", 0.05)
    options = {
        "STORE": "memory",
        "OTLP": True,
        "OTLP_ENDPOINT": f"{collector.address}/v1/metrics",
        "OTLP_INTERVAL_S": 1,
    }
    collector.status = 503  # the exporter tries again after a second, two, four
    with override_settings(WSGIPERF={"METRICS": options}):
        exports.begin()
        (thread,) = (each for each in threading.enumerate() if each.name == "wsgiperf-otlp")
        assert collector.arrived.acquire(timeout=40)
        otlp.stop()
        thread.join(40)
    assert not thread.is_alive()
    assert "already shutdown" not in caplog.text


def test_collector_that_refuses_is_logged_when_that_changes(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"STORE": "memory", "OTLP": True, "OTLP_ENDPOINT": f"{collector.address}/v1/metrics"}
    with override_settings(WSGIPERF={"METRICS": options}), caplog.at_level(logging.INFO, "django_wsgiperf.metrics"):
        pusher = otlp.Pusher(conf.current("METRICS").values)
        collector.status = 400
        assert [pusher.push(), pusher.push()] == [False, False]
        collector.status = 200
        assert [pusher.push(), pusher.push()] == [True, True]
    ours = [record.message for record in caplog.records if record.name == "django_wsgiperf.metrics"]
    assert len(ours) == 2
    assert "does not take" in ours[0]
    assert "again" in ours[1]


def test_without_the_extra_it_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(otlp.__dict__, "_pusher", None)
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    with override_settings(WSGIPERF={"METRICS": {"OTLP": True}}):
        otlp.start()
    assert "pip install 'django-wsgiperf[otlp]'" in caplog.text


class TestConversion:
    def metrics(self, snapshot: Snapshot) -> dict[str, Any]:
        return {metric.name: metric for metric in snapshot.metrics}

    def test_buckets_are_the_histograms_own(self) -> None:
        histogram = Histogram()
        for ns in (0, 1_000, 1_000_000, 1_000_001, 30_000_000_000):
            histogram.record(ns)
        snapshot = Snapshot(1.0)
        snapshot.exponential("x", "", [({}, histogram)])
        [point] = self.metrics(snapshot)["x"].data.data_points
        counts = {
            point.positive.offset + place: count for place, count in enumerate(point.positive.bucket_counts) if count
        }
        assert counts == histogram.buckets
        assert point.zero_count == 1
        assert upper_s(max(counts)) >= 30

    def test_pools_keep_their_names(self) -> None:
        snapshot = Snapshot(1.0)
        opentelemetry.add_pools(snapshot, [pool()])
        found = self.metrics(snapshot)
        states = {
            point.attributes["db.client.connection.state"]: point.value
            for point in found["db.client.connection.count"].data.data_points
        }
        assert states == {"idle": 1, "used": 2}
        assert found["db.client.connection.timeouts"].data.is_monotonic
        [waits] = found["db.client.connection.wait_time"].data.data_points
        assert waits.count == sum(waits.bucket_counts) == 3
        assert len(waits.bucket_counts) == len(waits.explicit_bounds) + 1
        assert waits.explicit_bounds[0] == 0.001024
        assert waits.min <= 0.0009
        assert waits.max >= 80

    def test_sums_by_alias_part_and_outcome(self) -> None:
        snapshot = Snapshot(1.0)
        opentelemetry.add_requests(snapshot, tally(a=cell(), b=cell()), {"GET": 2})
        found = self.metrics(snapshot)
        [queries] = found["wsgiperf.db.queries"].data.data_points
        assert (queries.value, queries.attributes) == (12, {"wsgiperf.alias": "default"})
        [active] = found["http.server.active_requests"].data.data_points
        assert (active.value, active.attributes) == (2, {"http.request.method": "GET"})
        times = sum(point.value for point in found["wsgiperf.http.server.request.time"].data.data_points)
        assert times == pytest.approx(0.12)
        outcomes = {
            point.attributes["wsgiperf.outcome"] for point in found["wsgiperf.page_cache.requests"].data.data_points
        }
        assert outcomes == {"hit", "miss"}

    def test_nothing_to_tell_leaves_nothing_empty_behind(self) -> None:
        snapshot = Snapshot(1.0)
        opentelemetry.add_requests(snapshot, tally(), {})
        opentelemetry.add_pools(snapshot, [])
        opentelemetry.add_process(snapshot, {**own.resources(), "rss_bytes": None})
        assert all(metric.data.data_points for metric in snapshot.metrics)
        assert "process.memory.usage" not in self.metrics(snapshot)
