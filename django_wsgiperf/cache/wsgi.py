"""The door before Django: a WSGI application around the project's, which answers hits from the environ alone.

`serve` and django_wsgiperf.wsgi put it there. What it may answer is the engine's to say; here is only PEP 3333.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from time import perf_counter_ns
from typing import Any, Final

from django.http import HttpRequest

from django_wsgiperf.request_state import NAME, RECORD

from .annotations import annotation_of
from .capture import Capture, HeaderList, StartResponse
from .coded import uncoded_tags
from .effects import Made, Pass, Render, Reply, drive
from .engine import Engine
from .held import Held, Representation
from .looking import Looking
from .marking import DOOR, OUTCOME, REPORT, mark_requests_of, request_in
from .messages import NO_ANNOTATION, Annotation, Request, Signals
from .metering import Meter, reporting
from .plain import Plain, begin
from .policy import ERROR_STATUSES, Forward, Reason
from .synthetic import environ_for
from .tells import route_of, signals_of
from .visit import Elsewhere, Visit

WSGIApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
_PRIMARY: Final = "wsgiperf.cache.primary"
"""The environ key for what recall() has found out: the key of the address."""
_UNKNOWN: Final = object()
_KEYS: Final = {"if-none-match": "HTTP_IF_NONE_MATCH", "if-modified-since": "HTTP_IF_MODIFIED_SINCE"}


class CachedApplication:
    """`application` behind the cache of this process."""

    def __init__(self, application: WSGIApplication, engine: Engine) -> None:
        self.application = application
        self.engine = engine
        self.meter = Meter()
        self._recalls = False
        """A hit was answered by a thread that may wait: what is made or imported by the first of them is there."""
        mark_requests_of(application)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        engine = self.engine
        began_ns = perf_counter_ns()
        primary = environ.pop(_PRIMARY, _UNKNOWN)
        if primary is _UNKNOWN:
            primary = engine.plain(environ)
        held = None if primary is None else engine.fresh(primary, environ)
        if held is None or DOOR in environ:
            return self._make(primary, environ, start_response, began_ns)
        representation = held.representation(environ.get("HTTP_ACCEPT_ENCODING"))
        body = representation.body
        headers = held.ready(representation, engine.now())
        name = self.meter.name(environ, headers)
        start_response(held.status, headers)
        held.hits += 1
        counters = engine.counters
        counters.hits += 1
        counters.hit_bytes += len(body)
        environ[REPORT] = held.report if name is None else reporting(held, "hit", name, environ)
        self.meter.hit(held.entry, environ, len(body), began_ns)
        if not self._recalls:
            self._recalls = self.meter.never_waits
        return [body]

    def recall(
        self, environ: dict[str, Any], max_bytes: int
    ) -> tuple[Representation, str, HeaderList, str | None] | None:
        """The hit that a request gets, for a server that has not given it to a thread yet: of server/at_once.py.

        Takes no lock, asks no store and compresses nothing. The environ is that of a call that may follow."""
        engine = self.engine
        if not self._recalls or not engine.is_started:
            return None
        began_ns = perf_counter_ns()
        primary = engine.plain(environ)
        if primary is None:
            environ[_PRIMARY] = None
            return self._recall_for(environ, max_bytes, began_ns)
        held = engine.fresh(primary, environ)
        representation = None if held is None else held.at_hand(environ.get("HTTP_ACCEPT_ENCODING"))
        if held is None or representation is None:
            environ[_PRIMARY] = primary
            return None
        size = len(representation.body)
        if size > max_bytes:
            return None
        headers = held.head(representation, engine.now())
        meter = self.meter
        name = None if meter.names is None else meter.name_of(environ)
        held.hits += 1
        counters = engine.counters
        counters.hits += 1
        counters.hit_bytes += size
        environ[REPORT] = held.report if name is None else reporting(held, "hit", name, environ)
        meter.hit_at_once(held.entry, environ, size, began_ns)
        return representation, held.status, headers, name

    def _recall_for(
        self, environ: dict[str, Any], max_bytes: int, began_ns: int
    ) -> tuple[Representation, str, HeaderList, str | None] | None:
        """As recall(), for HEAD, conditions, ranges and wishes."""
        engine = self.engine
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return None
        primary = engine.primary(environ)
        if primary is None or not engine.memory.has(primary):
            return None
        reply = Looking(engine, engine.site.request(environ), self).at_hand()
        if reply is None or reply.held is None or len(reply.body) > max_bytes:
            return None
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else reply.body
        name = self.meter.name_of(environ)
        engine.counters.hit_bytes += len(body)
        environ["wsgiperf.queue_ns"] = 0
        environ[REPORT] = reporting(reply.held, reply.outcome, name, environ)
        self.meter.reply(reply, environ, len(body), began_ns)
        return Representation((), body), f"{reply.status} {reply.reason}", reply.headers, name

    def _make(
        self, primary: bytes | None, environ: dict[str, Any], start_response: StartResponse, began_ns: int
    ) -> Iterable[bytes]:
        if DOOR in environ:
            return self.application(environ, start_response)
        environ[DOOR] = True
        plain = None if primary is None else begin(self.engine, environ, primary)
        if plain is None:
            return self._visit(environ, start_response, began_ns)
        try:
            self.engine.making[plain] = plain.primary
            return self._pass(plain, environ, start_response)
        finally:
            try:
                plain.end()
            except BaseException:
                plain.end()
                raise

    def _pass(self, plain: Plain, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Have the page made by the short way, and pass it on."""
        site = self.engine.site
        environ[OUTCOME] = "miss"
        capture = Capture(start_response, site.rules.max_body_bytes, self.streaming_headers)
        is_whole = capture.call(self.application, environ)
        # What is made while it is read may yet change what it tells.
        body = None if is_whole else capture.body()
        status, phrase = _status_of(capture.status)
        request = request_in(environ)
        signals = signals_of(
            environ,
            request,
            status,
            has_session=plain.private,
            time_zones=site.time_zones,
            language=plain.language if site.languages else "",
        )
        has_notes = request is not None and NAME in request.__dict__
        annotation = annotation_of(request) if has_notes else NO_ANNOTATION
        reason = plain.refusal(status, capture.headers, signals, annotation)
        if reason is not None:
            return capture.commit(plain.refuse(status, capture.headers, reason, signals))
        if is_whole:
            body = capture.whole()
        if body is not None:
            route = route_of(request, status)
            head = plain.keep_known(status, phrase, capture.headers, body, annotation, route)
            if head is not None:
                return capture.commit(head)
        made = _made(capture, body, signals, annotation, request)
        return capture.commit(plain.keep(made, self))

    def _visit(self, environ: dict[str, Any], start_response: StartResponse, began_ns: int) -> Iterable[bytes]:
        engine = self.engine
        engine.start(environ)
        if "HTTP_IF_MATCH" in environ:
            environ["HTTP_IF_MATCH"] = uncoded_tags(environ["HTTP_IF_MATCH"])
        visit = Visit(engine, engine.site.request(environ), self)
        call = _Call(self, visit, environ, start_response)
        result = drive(visit.steps(), call.render)
        environ[OUTCOME] = result.outcome
        if isinstance(result, Pass):
            capture: Capture = result.made.origin
            return capture.commit(result.headers)
        return self._send(result, environ, start_response, began_ns, call.record)

    def _send(
        self, reply: Reply, environ: dict[str, Any], start_response: StartResponse, began_ns: int, record: Any
    ) -> Iterable[bytes]:
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else reply.body
        name = self.meter.name(environ, reply.headers, record)
        start_response(f"{reply.status} {reply.reason}", reply.headers)
        if reply.held is not None and not reply.rendered:
            self.engine.counters.hit_bytes += len(body)
            held, outcome = reply.held, reply.outcome
            environ[REPORT] = reporting(held, outcome, name, environ)
            self.meter.reply(reply, environ, len(body), began_ns)
        return [body] if body else []

    def streaming_headers(self, headers: HeaderList) -> HeaderList:
        """The head of an answer that is passed on before it is known as a whole."""
        return [*headers, *self.engine.sending.status_of_forwarded(Forward.MISS, Reason.STREAMING)]

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

    __slots__ = ("_again", "_door", "_environ", "_start_response", "_visit", "record")

    def __init__(
        self, door: CachedApplication, visit: Visit, environ: dict[str, Any], start_response: StartResponse
    ) -> None:
        self._door = door
        self._visit = visit
        self._environ = environ
        self._start_response = start_response
        self._again: dict[str, Any] | None = None
        self.record: Any = None
        """What the request timing has noted of the last one."""

    def tell(self, outcome: str) -> None:
        """What the cache made of its answer."""
        if self.record is not None:
            self.record.page_cache = outcome

    def render(self, effect: Render) -> Made:
        environ = self._environ
        # What the request timing inside notes.
        if self._visit.replaces is None:
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
        capture = Capture(self._start_response, site.rules.max_body_bytes, self._door.streaming_headers)
        capture.call(self._door.application, environ)
        body = capture.body() if effect.buffer else None
        request = request_in(environ)
        signals = signals_of(
            environ,
            request,
            _status_of(capture.status)[0],
            has_session=self._visit.private,
            time_zones=site.time_zones,
            language=site.keys.language_of(self._visit.request),
        )
        self.record = None if request is None else request.__dict__.get(RECORD)
        made = _made(capture, body, signals, annotation_of(request), request)
        made.tell = self.tell
        return made


@lru_cache(256)
def _status_of(line: str) -> tuple[int, str]:
    """Status and reason, of which there are few."""
    code, _, reason = line.partition(" ")
    return int(code), reason


def _made(
    capture: Capture, body: bytes | None, signals: Signals, annotation: Annotation, request: HttpRequest | None
) -> Made:
    status, reason = _status_of(capture.status)
    return Made(
        status,
        reason,
        tuple(capture.headers),
        body,
        signals,
        annotation,
        route_of(request, status),
        capture,
        capture.close,
        is_whole=capture.is_whole,
    )


def _nobody(status: str, headers: HeaderList, exc_info: Any = None) -> Callable[[bytes], Any]:
    """The start_response of a request that no client waits for."""
    return lambda data: None
