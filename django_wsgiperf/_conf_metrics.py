"""The table of `WSGIPERF["METRICS"]`: what is measured of each request, where it is kept, and for how long.

Each field is one option; conf.py reads, checks and shows them all alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from django_wsgiperf._conf_options import Format, Section, option


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings(Section):
    """`WSGIPERF["METRICS"]`: what is measured of each request, where it is kept, and for how long."""

    enabled: bool = option(True, "whether requests are measured at all", group="What is measured")
    cache_timing: bool = option(True, "whether calls of Django's caches are timed and counted")
    template_timing: bool = option(True, "whether the rendering of templates is timed")
    gc_timing: bool = option(True, "whether collections of garbage are timed")
    apdex_ms: float = option(500.0, "response time up to which a user is satisfied; four times it is tolerated", min=1)
    exclude: tuple[str, ...] = option(
        (), "beginnings of paths that are not measured, such as /healthz", format=Format.URL_PATH
    )
    route_namer: str = option(
        "",
        "dotted path of a function that is given the request and names its route, or returns None for the usual name",
        format=Format.DOTTED_PATH,
    )
    release: str = option("", "version of the project, shown where it changes; empty is none")
    host: str = option("", "name of this host in the numbers; empty is its own. Hosts of one name are counted as one")

    max_routes: int = option(
        200, "routes that are told apart; all further ones are (other)", group="Bounds", min=1, max=10_000
    )
    max_pending: int = option(
        20_000, "measured requests that may wait to be counted; more are dropped, and counted as such", min=100
    )

    max_hosts: int = option(
        16, "hosts that are told apart in one span of time; all further ones are (other)", min=1, max=1000
    )

    store: str = option(
        "database",
        "where the numbers are kept",
        group="Where they are kept, and how long",
        choices=("database", "redis", "memory"),
    )
    database: str = option("default", "alias in DATABASES of the store in a database")
    cache: str = option("default", "alias in CACHES of the store in Redis")
    interval_s: float = option(10.0, "time between two writings of the present minute", min=1, max=60)
    retention_1m_hours: int = option(26, "hours for which each minute is kept", min=1, max=24 * 31)
    retention_10m_days: int = option(15, "days for which every ten minutes are kept", min=1, max=366)
    retention_2h_days: int = option(400, "days for which every two hours are kept", min=1, max=3660)

    slow_samples: int = option(
        3, "slowest requests that are kept of each route and minute", group="Slow requests", min=0, max=20
    )
    max_spans: int = option(64, "queries, cache calls and renderings that are kept of one request", min=0, max=1000)
    stack_threshold_ms: float = option(
        1000.0, "running time after which a request's stack is sampled while it runs; 0 turns it off", min=0
    )
    n_plus_one_queries: int = option(5, "equal queries of one request that are shown as repeated", min=2)

    server_timing: str = option(
        "staff",
        "who is sent a Server-Timing header; with DEBUG everybody is, unless it is off",
        group="Headers",
        choices=("off", "staff", "all"),
    )
    request_id: bool = option(
        True, "whether every response has an X-Request-ID, the client's own where it is well-formed"
    )
    access_log: bool = option(
        False, "whether the logger django_wsgiperf.access is given a line for each request, its numbers as extra fields"
    )
    trust_request_start: bool = option(
        False, "whether the proxy's X-Request-Start is believed: only behind one that always sets it itself"
    )

    otlp: bool = option(
        False,
        "whether each process sends its numbers to an OpenTelemetry collector, by OTLP over HTTP",
        group="OpenTelemetry",
    )
    otlp_endpoint: str = option(
        "",
        "where they are sent to; empty is what OTEL_EXPORTER_OTLP_METRICS_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT "
        "says, else http://localhost:4318/v1/metrics",
        format=Format.HTTP_URL,
    )
    otlp_interval_s: float = option(60.0, "time between two sendings", min=1, max=3600)
