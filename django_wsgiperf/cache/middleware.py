"""`ResponseCacheMiddleware`: the cache's door for projects that cannot put it before Django. The same engine and keys.

It has to be outermost, but for the request timing: what middleware outside of it adds to a response is not kept, and
not counted as a reason against keeping it. Behind the other door it does nothing. Works under WSGI and ASGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any, Final

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core import signals
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest, get_script_name
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from django_wsgiperf.metrics.record import current
from django_wsgiperf.request_state import state_of

from . import runtime
from .annotations import annotation_of
from .coded import uncoded_tags
from .effects import Made, Pass, Render, Reply, Steps, Wait, drive
from .held import Held
from .marking import DOOR, OUTCOME
from .messages import Request
from .policy import ERROR_STATUSES
from .sending import HeaderList
from .synthetic import environ_for
from .tells import route_of, signals_of
from .ticket import Role, Ticket
from .visit import Elsewhere, Visit

_KEYS: Final = {"if-none-match": "HTTP_IF_NONE_MATCH", "if-modified-since": "HTTP_IF_MODIFIED_SINCE"}


class ResponseCacheMiddleware:
    """Answers from the cache, and keeps what may be kept: `WSGIPERF["CACHE"]` says which."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        engine = runtime.engine()
        if engine is None:
            raise MiddlewareNotUsed("WSGIPERF['CACHE']['ENABLED'] is False")
        self.get_response = get_response
        self.engine = engine
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._serve_async(request)
        if DOOR in request.META:
            response: HttpResponseBase = self.get_response(request)
            return response
        self.engine.start(request.META)
        begun = self._begin(request)
        if isinstance(begun, HttpResponseBase):
            return begun
        call = _Call(self.engine, begun, request)
        result = drive(begun.steps(), lambda effect: call.made(self.get_response(call.ask(effect))))
        return self._finish(request, result, call)

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        if DOOR in request.META:
            response: HttpResponseBase = await self.get_response(request)
            return response
        if not self.engine.is_started:
            await sync_to_async(self.engine.start, thread_sensitive=False)(request.META)
        begun = self._begin(request)
        if isinstance(begun, HttpResponseBase):
            return begun
        call = _Call(self.engine, begun, request)

        async def render(effect: Render) -> Made:
            return call.made(await self.get_response(call.ask(effect)))

        return self._finish(request, await drive_async(begun.steps(), render), call)

    def _begin(self, request: HttpRequest) -> HttpResponseBase | Visit:
        """The answer, where it is there at once; else the way to it."""
        engine = self.engine
        environ = environ_of(request)
        request.META[DOOR] = True
        held = engine.recall(environ)
        if held is None:
            if "HTTP_IF_MATCH" in environ:
                _set(request, "HTTP_IF_MATCH", uncoded_tags(environ["HTTP_IF_MATCH"]))
            return Visit(engine, engine.site.request(environ), self, parks=self.is_async)
        representation = held.representation(environ.get("HTTP_ACCEPT_ENCODING"))
        held.hits += 1
        counters = engine.counters
        counters.hits += 1
        counters.hit_bytes += len(representation.body)
        note(request, "hit", held)
        headers = held.ready(representation, engine.now())
        return response_of(held.entry.status, held.entry.reason, headers, representation.body)

    def _finish(self, request: HttpRequest, result: Reply | Pass, call: _Call) -> HttpResponseBase:
        note(request, result.outcome, None if isinstance(result, Pass) or result.rendered else result.held)
        if isinstance(result, Reply):
            body = b"" if request.method == "HEAD" else result.body
            if result.held is not None and not result.rendered:
                self.engine.counters.hit_bytes += len(body)
            sent = response_of(result.status, result.reason, result.headers, body)
            if result.rendered and any(name.lower() == "set-cookie" for name, _ in result.headers):
                sent.cookies = call.cookies
                if call.own_cookie is not None:
                    sent.headers["Set-Cookie"] = call.own_cookie
            return sent
        response: HttpResponseBase = result.made.origin
        for name, value in folded(result.headers).items():
            if response.headers.get(name) != value:
                response.headers[name] = value
        return response

    def make_anew(self, held: Held, request: Request) -> bool | None:
        """Have a stored page made anew, in this thread, for nobody."""
        environ = environ_for(request, held.entry, self.engine.site)
        environ[DOOR] = True
        visit = Visit(self.engine, self.engine.site.request(environ), self, replaces=held)
        # As a handler does: what is connected to these signals looks after this thread's database connections.
        signals.request_started.send(sender=WSGIHandler, environ=environ)
        try:
            set_script_prefix(get_script_name(environ))
            call = _Call(self.engine, visit, WSGIRequest(environ))
            get_response = async_to_sync(self.get_response) if self.is_async else self.get_response
            try:
                result = drive(visit.steps(), lambda effect: call.made(get_response(call.ask(effect))))
            except Elsewhere:
                return None
            if isinstance(result, Reply):
                return True
            result.made.close()
            return not (result.made.signals.failed or result.made.status in ERROR_STATUSES)
        finally:
            signals.request_finished.send(sender=WSGIHandler)


class _Call:
    """The calls of the application for one request."""

    __slots__ = ("_engine", "_own", "_request", "_visit", "cookies", "own_cookie")

    def __init__(self, engine: Any, visit: Visit, request: HttpRequest) -> None:
        self._engine = engine
        self._visit = visit
        self._request = request
        self._own: dict[str, str | None] = {}
        self.cookies: SimpleCookie = SimpleCookie()
        """Of the last answer: Django's responses have them beside their head."""
        self.own_cookie: str | None = None
        """The one that it has in its head all the same."""

    def ask(self, effect: Render) -> HttpRequest:
        """The request as the application is to see it."""
        request, meta = self._request, self._request.META
        if self._visit.replaces is None:
            meta[OUTCOME] = "miss" if effect.buffer else "bypass"
        if effect.conditions is not None:
            for field, key in _KEYS.items():
                self._own.setdefault(key, meta.get(key))
                _set(request, key, effect.conditions.get(field))
        return request

    def made(self, response: HttpResponseBase) -> Made:
        """What it answered."""
        request = self._request
        for key, value in self._own.items():
            _set(request, key, value)
        site = self._engine.site
        body = None if response.streaming else response.content  # type: ignore[attr-defined]
        if body is not None and len(body) > site.rules.max_body_bytes:
            body = None
        self.cookies, self.own_cookie = response.cookies, response.headers.get("Set-Cookie")
        cookies = [("Set-Cookie", cookie.output(header="")) for cookie in response.cookies.values()]
        status = response.status_code
        return Made(
            status,
            response.reason_phrase,
            (*response.items(), *cookies),
            body,
            signals_of(
                request.META,
                request,
                status,
                has_session=self._visit.private,
                time_zones=site.time_zones,
                language=site.keys.language_of(self._visit.request),
            ),
            annotation_of(request),
            route_of(request, status),
            response,
            lambda: discard(response),
            is_whole=not response.streaming,
        )


def _set(request: HttpRequest, key: str, value: str | None) -> None:
    if request.META.get(key) == value:
        return
    if value is None:
        del request.META[key]
    else:
        request.META[key] = value
    # Made of META when it was first asked for.
    request.__dict__.pop("headers", None)


async def drive_async(steps: Steps, render: Callable[[Render], Awaitable[Made]]) -> Reply | Pass:
    """As effects.drive(), without blocking the event loop."""
    try:
        effect = next(steps)
        while True:
            try:
                if isinstance(effect, Render):
                    value: Any = await render(effect)
                elif isinstance(effect, Wait):
                    value = await _role_of(effect.ticket)
                else:
                    value = await sync_to_async(effect.function, thread_sensitive=False)()
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(value)
    except StopIteration as end:
        result: Reply | Pass = end.value
        return result


async def _role_of(ticket: Ticket[Any]) -> Role:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def wake(_: object) -> None:
        loop.call_soon_threadsafe(over.set)

    if ticket.call_when_over(wake):
        while not over.is_set():
            try:
                await asyncio.wait_for(over.wait(), ticket.waits_s)
            except TimeoutError:
                if ticket.is_late():
                    break
    return ticket.role


def environ_of(request: HttpRequest) -> dict[str, Any]:
    """The environ as it came: Django has decoded the path of its own, and under ASGI there is none."""
    meta = request.META
    path, script = meta.get("PATH_INFO", ""), meta.get("SCRIPT_NAME", "")
    if "wsgi.url_scheme" in meta and path.isascii() and script.isascii():
        return meta
    return {
        **meta,
        "wsgi.url_scheme": meta.get("wsgi.url_scheme") or getattr(request, "_get_scheme", lambda: "http")(),
        "PATH_INFO": path.encode().decode("latin-1"),
        "SCRIPT_NAME": script.encode().decode("latin-1"),
    }


def note(request: HttpRequest, outcome: str, held: Held | None) -> None:
    """Tell the metrics what the cache did, and the route of the page that no view has made."""
    request.META[OUTCOME] = outcome
    record = current.get()
    if record is not None:
        record.page_cache = outcome
        if held is not None and held.entry.route:
            state_of(request).route = held.entry.route


def folded(headers: HeaderList) -> dict[str, str]:
    """The head as Django's responses have it: one line for each name, and no cookies, which they keep apart."""
    fields: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower == "set-cookie":
            continue
        name = names.setdefault(lower, name)
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def response_of(status: int, reason: str, headers: HeaderList, body: bytes) -> HttpResponse:
    """A stored response, or a part of it, as Django's."""
    fields = folded(headers)
    response = HttpResponse(body, status=status, reason=reason, headers=fields)
    if not any(name.lower() == "content-type" for name in fields):
        del response.headers["Content-Type"]
    return response


def discard(response: HttpResponseBase) -> None:
    """Close what the response has open. Not close() itself, which says that the request is over."""
    closers: list[Callable[[], Any]] = response._resource_closers  # type: ignore[attr-defined]
    for closer in closers:
        closer()
    closers.clear()
