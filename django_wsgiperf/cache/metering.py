"""What the response cache tells the metrics of answers that never reach Django: under the route that made the page.

Metrics are asked for when the first answer is there; without them nothing is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any

from django_wsgiperf import conf

from .effects import Reply
from .entry import Entry

Report = Callable[[str, str, int, int, int, str, int], None]


def _nothing(*_: object) -> None:
    """The metrics are off."""


class Meter:
    """For one door. `hit` is called by every hit."""

    def __init__(self) -> None:
        self._report: Report | None = None
        self._excluded: tuple[str, ...] = ()
        """Beginnings of paths that are not measured."""

    def hit(self, entry: Entry, environ: Mapping[str, Any], body_bytes: int, began_ns: int) -> None:
        """A fresh page was sent for a GET."""
        report = self._report or self._find()
        if report is not _nothing and not (self._excluded and environ["PATH_INFO"].startswith(self._excluded)):
            took_ns = perf_counter_ns() - began_ns
            report(entry.route, "GET", entry.status, body_bytes, took_ns, "hit", environ.get("wsgiperf.queue_ns", -1))

    def reply(self, reply: Reply, environ: Mapping[str, Any], body_bytes: int, began_ns: int) -> None:
        """Something stored was sent."""
        report = self._report or self._find()
        if report is _nothing or (self._excluded and environ["PATH_INFO"].startswith(self._excluded)):
            return
        if reply.held is not None:
            took_ns = perf_counter_ns() - began_ns
            report(
                reply.held.entry.route,
                environ["REQUEST_METHOD"],
                reply.status,
                body_bytes,
                took_ns,
                reply.outcome,
                environ.get("wsgiperf.queue_ns", -1),
            )

    def _find(self) -> Report:
        report: Report = _nothing
        try:
            values = conf.current("METRICS").values
        except conf.ConfigurationError:  # The system checks say so; pages are answered all the same.
            self._report = _nothing
            return _nothing
        if values.enabled:
            self._excluded = values.exclude
            from django_wsgiperf.metrics import pipeline

            report = getattr(pipeline, "page_cache_hit", _nothing)
        self._report = report
        return report
