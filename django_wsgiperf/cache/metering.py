"""What the response cache tells the metrics of answers that never reach Django: under the route that made the page.

And what the request timing would have given them: an X-Request-ID, and a line in the access log that has it.

Metrics are asked for when the first answer is there; without them nothing is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter_ns
from typing import Any, Final

from django.conf import settings

from django_wsgiperf import conf

from .effects import Reply
from .entry import Entry
from .held import Held
from .sending import HeaderList

Report = Callable[[str, str, int, int, int, str, int], None]
_TIMING: Final = (
    "django_wsgiperf.middleware.RequestTimingMiddleware",
    "django_wsgiperf.metrics.middleware.RequestTimingMiddleware",
)


def _nothing(*_: object) -> None:
    """The metrics are off."""


class Meter:
    """For one door. `hit` is called by every hit."""

    def __init__(self) -> None:
        self._report: Report | None = None
        self._report_at_once: Callable[[str, int, int, int], None] | None = None
        self._excluded: tuple[str, ...] = ()
        """Beginnings of paths that are not measured."""
        self.names: Any = None
        """The module that gives X-Request-IDs, where answers have one."""

    def name(self, environ: Mapping[str, Any], headers: HeaderList, record: Any = None) -> str | None:
        """Put the request's X-Request-ID into the head, where answers have one, and say which: the one that its record
        has, or its own, or a new one."""
        name = self.name_of(environ, record)
        if name is not None:
            headers.append(("X-Request-ID", name))
        return name

    def name_of(self, environ: Mapping[str, Any], record: Any = None) -> str | None:
        """As name(), for who puts it into the head himself. None where answers have none."""
        if self._report is None:
            self._find()
        names = self.names
        if names is None or (self._excluded and environ["PATH_INFO"].startswith(self._excluded)):
            return None
        name: str
        if record is not None and record.request_id:
            name = record.request_id
        else:
            given = environ.get("HTTP_X_REQUEST_ID")
            name = names.next_request_id() if given is None else names.request_id_of(given)
        return name

    @property
    def never_waits(self) -> bool:
        """Whether to tell of a hit takes no time, once one was told: nobody but a thread of its own sums and writes."""
        if self._report is None:
            return False
        if self._report is _nothing:
            return True
        from django_wsgiperf.metrics import pipeline

        return pipeline.worker().mode in ("thread", "off")

    def hit(self, entry: Entry, environ: Mapping[str, Any], body_bytes: int, began_ns: int) -> None:
        """A fresh page was sent for a GET."""
        report = self._report or self._find()
        if report is not _nothing and not (self._excluded and environ["PATH_INFO"].startswith(self._excluded)):
            took_ns = perf_counter_ns() - began_ns
            report(entry.route, "GET", entry.status, body_bytes, took_ns, "hit", environ.get("wsgiperf.queue_ns", -1))

    def hit_at_once(self, entry: Entry, environ: Mapping[str, Any], body_bytes: int, began_ns: int) -> None:
        """As hit(), of a request that no thread was given, by the thread that all others wait for."""
        report = self._report_at_once
        if report is not None and not (self._excluded and environ["PATH_INFO"].startswith(self._excluded)):
            report(entry.route, entry.status, body_bytes, perf_counter_ns() - began_ns)

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
            from django_wsgiperf.metrics import headers, pipeline

            if values.request_id and any(name in settings.MIDDLEWARE for name in _TIMING):
                self.names = headers

            report = getattr(pipeline, "page_cache_hit", _nothing)
            self._report_at_once = pipeline.page_cache_hit_at_once
        self._report = report
        return report


def reporting(held: Held, outcome: str, name: str | None, environ: Mapping[str, Any]) -> Callable[[], dict[str, str]]:
    """What gives an access log what it may say of an answer from the cache, should it ask."""
    return partial(_report_of, held, outcome, name, environ.get("HTTP_TRACEPARENT", ""))


def _report_of(held: Held, outcome: str, name: str | None, traceparent: str) -> dict[str, str]:
    told = held.report(outcome)
    if name is None:
        return told
    from django_wsgiperf.metrics.headers import trace_id_of

    return {"request_id": name, "trace_id": trace_id_of(traceparent), **told}
