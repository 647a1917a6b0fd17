"""The door before Django: a WSGI application around the project's, which answers hits from the environ alone.

`serve` and django_wsgiperf.wsgi put it there. What it may answer is the engine's to say; here is only PEP 3333.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter_ns
from typing import Any, Final

from .annotations import annotation_of
from .capture import Capture, HeaderList, StartResponse
from .effects import Made, Pass, Render, Reply, drive
from .engine import Engine
from .held import Held
from .marking import DOOR, OUTCOME, REPORT, mark_requests_of, request_in
from .messages import Request
from .metering import Meter
from .policy import ERROR_STATUSES, Forward, Reason
from .synthetic import environ_for
from .tells import route_of, signals_of
from .visit import Elsewhere, Visit

WSGIApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
_KEYS: Final = {"if-none-match": "HTTP_IF_NONE_MATCH", "if-modified-since": "HTTP_IF_MODIFIED_SINCE"}


class CachedApplication:
    """`application` behind the cache of this process."""

    def __init__(self, application: WSGIApplication, engine: Engine) -> None:
        self.application = application
        self.engine = engine
        self.meter = Meter()
        mark_requests_of(application)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        engine = self.engine
        began_ns = perf_counter_ns()
        held = engine.recall(environ)
        if held is None or DOOR in environ:
            return self._visit(environ, start_response, began_ns)
        representation = held.representation(environ.get("HTTP_ACCEPT_ENCODING"))
        body = representation.body
        start_response(held.status, held.ready(representation, engine.now()))
        held.hits += 1
        counters = engine.counters
        counters.hits += 1
        counters.hit_bytes += len(body)
        environ[REPORT] = held.report
        self.meter.hit(held.entry, environ, len(body), began_ns)
        return [body]

    def _visit(self, environ: dict[str, Any], start_response: StartResponse, began_ns: int) -> Iterable[bytes]:
        if DOOR in environ:
            return self.application(environ, start_response)
        environ[DOOR] = True
        engine = self.engine
        engine.start()
        visit = Visit(engine, engine.site.request(environ), self)
        call = _Call(self, visit, environ, start_response)
        result = drive(visit.steps(), call.render)
        environ[OUTCOME] = result.outcome
        if isinstance(result, Pass):
            capture: Capture = result.made.origin
            return capture.commit(result.headers)
        return self._send(result, environ, start_response, began_ns)

    def _send(
        self, reply: Reply, environ: dict[str, Any], start_response: StartResponse, began_ns: int
    ) -> Iterable[bytes]:
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else reply.body
        start_response(f"{reply.status} {reply.reason}", reply.headers)
        if reply.held is not None and not reply.rendered:
            self.engine.counters.hit_bytes += len(body)
            held, outcome = reply.held, reply.outcome
            environ[REPORT] = lambda: held.report(outcome)
            self.meter.reply(reply, environ, len(body), began_ns)
        return [body] if body else []

    def make_anew(self, held: Held, request: Request) -> bool | None:
        """Have a stored page made anew, in this thread, for nobody."""
        engine = self.engine
        environ = environ_for(request, held.entry, engine.site)
        environ[DOOR] = True
        visit = Visit(engine, engine.site.request(environ), self, replaces=held)
        call = _Call(self, visit, environ, _nobody)
        try:
            result = drive(visit.steps(), call.render)
        except Elsewhere:
            return None
        if isinstance(result, Reply):
            return True
        result.made.close()
        return not (result.made.signals.failed or result.made.status in ERROR_STATUSES)


class _Call:
    """The calls of the application for one request."""

    __slots__ = ("_again", "_door", "_environ", "_start_response", "_visit")

    def __init__(
        self, door: CachedApplication, visit: Visit, environ: dict[str, Any], start_response: StartResponse
    ) -> None:
        self._door = door
        self._visit = visit
        self._environ = environ
        self._start_response = start_response
        self._again: dict[str, Any] | None = None

    def render(self, effect: Render) -> Made:
        environ = self._environ
        # What the request timing inside notes.
        environ[OUTCOME] = "miss" if effect.buffer else "bypass"
        if effect.conditions is not None:
            # Django changes its environ: what may be needed a second time is kept as it came.
            if self._again is None:
                self._again = environ.copy()
            else:
                environ = self._again
            for field, key in _KEYS.items():
                environ.pop(key, None)
                if field in effect.conditions:
                    environ[key] = effect.conditions[field]
        site = self._door.engine.site
        capture = Capture(self._start_response, site.rules.max_body_bytes, self._headers)
        capture.call(self._door.application, environ)
        body = capture.body() if effect.buffer else None
        code, _, reason = capture.status.partition(" ")
        status = int(code)
        request = request_in(environ)
        annotation = annotation_of(request)
        return Made(
            status,
            reason,
            tuple(capture.headers),
            body,
            signals_of(
                environ,
                request,
                status,
                has_session=self._visit.private,
                time_zones=site.time_zones,
                language=site.keys.language_of(self._visit.request),
            ),
            annotation,
            route_of(request, status),
            capture,
            capture.close,
        )

    def _headers(self, headers: HeaderList) -> HeaderList:
        """The head of an answer that is passed on before it is known as a whole."""
        sending = self._door.engine.sending
        return [*headers, *sending.status_of_forwarded(Forward.MISS, Reason.STREAMING)]


def _nobody(status: str, headers: HeaderList, exc_info: Any = None) -> Callable[[bytes], Any]:
    """The start_response of a request that no client waits for."""
    return lambda data: None
