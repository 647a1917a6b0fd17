"""Sends this process's numbers to an OpenTelemetry collector, by OTLP over HTTP, from a thread of its own.

Off unless METRICS["OTLP"] is on. OpenTelemetry's own exporter does the protocol, and reads the OTEL_ variables for all
that METRICS does not say: address, headers, certificates, compression, time-out. A collector that is down costs a line
in the log when it goes and when it comes back; nothing is lost, since sums go on.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from django_wsgiperf import conf
from django_wsgiperf.metrics import pipeline

from . import own

if TYPE_CHECKING:
    from django_wsgiperf.conf import MetricsSettings

logger = logging.getLogger("django_wsgiperf.metrics")

_LAST_S: Final = 2.0
"""So long the end of the process may wait for the last numbers to be sent."""

_lock = threading.Lock()
"""Guards _pusher."""
_pusher: Pusher | None = None


def start() -> None:
    """Send from now on, if METRICS["OTLP"] is on and nothing does yet. Where the extra is missing, that is logged."""
    global _pusher
    settings = conf.current("METRICS").values
    if not settings.otlp:
        return
    with _lock:
        if _pusher is None:
            try:
                _pusher = Pusher(settings)
            except ImportError:
                logger.error(
                    "METRICS[OTLP] is on, but OpenTelemetry's exporter is not installed: "
                    "pip install 'django-wsgiperf[otlp]'"
                )
                return
            _pusher.start()


def stop() -> None:
    """Send once more, and no longer."""
    global _pusher
    with _lock:
        pusher, _pusher = _pusher, None
    if pusher is not None:
        pusher.stop()


class Pusher:
    """One thread that sends every `otlp_interval_s`. Raises ImportError where the extra is missing."""

    def __init__(self, settings: MetricsSettings) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        from . import opentelemetry

        self._settings = settings
        self._convert = opentelemetry
        self._exporter = OTLPMetricExporter(endpoint=settings.otlp_endpoint or None)
        self._resource = opentelemetry.resource(settings.release)
        self._stopping = threading.Event()
        self._is_given_up = False
        self._was_sent: bool | None = None
        self._thread = threading.Thread(target=self._run, name="wsgiperf-otlp", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_LAST_S)
        if self._thread.is_alive():
            # It waits before it tries once more: that ends it.
            self._is_given_up = True
            self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.otlp_interval_s):
            self.push()
        if not self._is_given_up:
            self.push()
        if not self._is_given_up:
            self._exporter.shutdown()

    def push(self) -> bool:
        """Send what there is now; whether it was taken. Never raises."""
        try:
            sent = self._exporter.export(self.numbers()).name == "SUCCESS"
        except Exception:
            logger.warning("The numbers could not be sent by OTLP", exc_info=self._was_sent is not False)
            self._was_sent = False
            return False
        if sent != self._was_sent:
            if not sent:
                logger.warning("The OpenTelemetry collector does not take the numbers; they are sent again and again")
            elif self._was_sent is False:
                logger.info("The OpenTelemetry collector takes the numbers again")
            self._was_sent = sent
        return sent

    def numbers(self) -> Any:
        """In OpenTelemetry's data model."""
        told = own.resources()
        snapshot = self._convert.Snapshot(told["started_s"])
        active = Counter(record.method for record in list(pipeline.running))
        self._convert.add_requests(snapshot, pipeline.cumulative(), active)
        self._convert.add_pools(snapshot, own.pools())
        self._convert.add_process(snapshot, told)
        return snapshot.data(self._resource)


def _after_fork_in_child() -> None:
    """The thread stayed behind; the child sends for itself once it is started there."""
    global _lock, _pusher
    _lock = threading.Lock()
    _pusher = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
