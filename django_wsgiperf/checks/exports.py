"""Checks of the numbers for machines: what they are told with is installed.

Each takes the server's settings and yields (message, hint); its docstring explains it in docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from django_wsgiperf import conf
from django_wsgiperf.checks.facts import Finding
from django_wsgiperf.conf import ServerSettings

EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def otlp_exporter_is_installed(values: ServerSettings) -> Iterator[Finding]:
    """`METRICS["OTLP"]` sends the numbers by OpenTelemetry's own exporter, which is an extra.

    Without it nothing is sent, and each process says so in its log when it begins to serve.
    """
    if conf.current("METRICS").values.otlp and not _is_installed(EXPORTER):
        yield (
            "METRICS['OTLP'] is on, but OpenTelemetry's exporter is not installed.",
            "Run: pip install 'django-wsgiperf[otlp]'. Or remove OTLP.",
        )


def prometheus_client_is_installed(values: ServerSettings) -> Iterator[Finding]:
    """`METRICS_PATH` answers with 404 as long as prometheus-client, an extra, is not installed.

    Only looked at when `STATS_TOKEN` or `STATS_ALLOW` opens the page to somebody.
    """
    if values.metrics_path and (values.stats_token or values.stats_allow) and not _is_installed("prometheus_client"):
        yield (
            f"{values.metrics_path} is open, but there are no metrics without prometheus-client.",
            "Run: pip install 'django-wsgiperf[prometheus]'. Or set METRICS_PATH = '' if you do not use Prometheus.",
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # A part of the name is missing, or put out of the way.
        return False
