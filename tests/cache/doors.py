"""A Django site behind the response cache, asked through each of its doors: the same requests, the same answers.

A test gives paths their views; the harness counts how often each was made. The clock is told; nothing sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import override_settings
from django.urls import re_path

from django_wsgiperf import conf
from django_wsgiperf.cache import runtime
from django_wsgiperf.cache.engine import Engine
from django_wsgiperf.cache.site import Site as ProjectSite
from django_wsgiperf.cache.stores import open_store
from django_wsgiperf.cache.wsgi import CachedApplication
from django_wsgiperf.server.at_once import MAX_BYTES

from .fakes import FakeClock

NOW = 1_795_435_200.0
HOST = "shop.example"
DOORS = ("wsgi", "ready", "middleware", "async")
"""`ready` is `wsgi` asked as `serve` asks it: before a thread is given to the request."""
View = Callable[..., Any]

MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
)
PLAIN_MIDDLEWARE = ("django.middleware.common.CommonMiddleware",)


class Pages:
    """The views of a test by path, and what they were asked."""

    def __init__(self) -> None:
        self.views: dict[str, View] = {}
        self.seen: dict[str, list[HttpRequest]] = {}
        self.lock = threading.Lock()

    def renders(self, path: str) -> int:
        return len(self.seen.get(path, ()))

    def last(self, path: str) -> HttpRequest:
        return self.seen[path][-1]


pages = Pages()


def dispatch(request: HttpRequest, path: str) -> HttpResponseBase:
    path = f"/{path}"
    with pages.lock:
        pages.seen.setdefault(path, []).append(request)
    view = pages.views.get(path)
    if view is None:
        raise Http404
    answer = view(request)
    return answer if isinstance(answer, HttpResponseBase) else page(answer)


urlpatterns = [re_path(r"^(?P<path>.*)$", dispatch)]


def page(
    text: object = "page", cache_control: str | None = "max-age=60", status: int = 200, **headers: str
) -> HttpResponse:
    """A response; `Content_Language="de"` becomes a field."""
    response = HttpResponse(str(text), status=status)
    if cache_control is not None:
        response["Cache-Control"] = cache_control
    for name, value in headers.items():
        response[name.replace("_", "-")] = value
    return response


@dataclass(slots=True)
class Answer:
    """What the client got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    fields: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.fields = {}
        for name, value in self.headers:
            name = name.lower()
            self.fields[name] = f"{self.fields[name]}, {value}" if name in self.fields else value

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def cache(self) -> str:
        """Cache-Status without the name of the cache."""
        return self.fields.get("cache-status", "").removeprefix("wsgiperf; ")

    @property
    def is_hit(self) -> bool:
        return self.cache.startswith("hit")


class Site:
    """One process's site, asked through one door."""

    def __init__(self, door: str, engine: Engine | None = None, clock: FakeClock | None = None) -> None:
        self.door = door
        engine = engine or runtime.engine()
        assert engine is not None
        self.engine: Engine = engine
        self.clock = clock or FakeClock(NOW)
        engine.now = self.clock
        self.pages = pages
        self.others: list[Site] = []
        if door == "async":
            self.handler = BaseHandler()
            self.handler.load_middleware(is_async=True)
        else:
            self.application: Any = WSGIHandler()
            if door in ("wsgi", "ready"):
                self.application = CachedApplication(self.application, engine)
            if door == "ready":
                # As after the first hit.
                self.application._recalls = True

    def another_process(self) -> Site:
        """The same site in another process, as far as the cache can tell: one that shares its store, and its clock."""
        values = conf.current("CACHE").values
        store = open_store(values.store, timeout_s=values.store_timeout_s, max_tags=values.max_tags)
        self.others.append(Site("wsgi", Engine(values, ProjectSite(values), store), self.clock))
        return self.others[-1]

    def stop_others(self) -> None:
        """End the threads of the other processes."""
        for other in self.others:
            other.engine.stop(20)

    def view(self, path: str, view: View | HttpResponseBase | str = "page") -> None:
        pages.views[path] = view if callable(view) and not isinstance(view, HttpResponseBase) else lambda request: view
        pages.seen.pop(path, None)

    def renders(self, path: str) -> int:
        return pages.renders(path)

    def get(self, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """Ask; `If_None_Match='"x"'` becomes a field."""
        fields = {"Host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
        if self.door == "async":
            return asyncio.run(self.aget(target, method, body, fields))
        return self._wsgi(target, method, body, fields)

    def post(self, target: str, **headers: str) -> Answer:
        return self.get(target, "POST", b"a=1", Content_Type="application/x-www-form-urlencoded", **headers)

    def _wsgi(self, target: str, method: str, body: bytes, fields: Mapping[str, str]) -> Answer:
        got: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], Any]:
            got.append((status, headers))
            return lambda data: None

        asked = environ(target, method, body, fields)
        found = self.application.recall(asked, MAX_BYTES) if self.door == "ready" and not body else None
        if found is not None:
            representation, status, headers, name = found
            named = [] if name is None else [("X-Request-ID", name)]
            return Answer(int(status[:3]), [*headers, *named], representation.body)
        result = self.application(asked, start_response)
        try:
            data = b"".join(result)
        finally:
            if hasattr(result, "close"):
                result.close()
        (status, headers), *more = got
        assert not more
        if method == "HEAD" or status[:3] in ("204", "304"):
            data = b""
        return Answer(int(status[:3]), headers, data)

    async def aget(self, target: str, method: str, body: bytes, fields: Mapping[str, str]) -> Answer:
        told = {**fields, "Content-Length": str(len(body))} if body else fields
        request = ASGIRequest(scope(target, method, told), io.BytesIO(body))
        response = await self.handler.get_response_async(request)
        try:
            pieces: Any = response
            data = b"".join([piece async for piece in pieces] if response.streaming else list(pieces))
        finally:
            response.close()
        cookies = [("Set-Cookie", cookie.output(header="")) for cookie in response.cookies.values()]
        if method == "HEAD":
            data = b""
        return Answer(response.status_code, [*response.items(), *cookies], data)


def scope(target: str, method: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """An ASGI scope as servers make it."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
        "client": ("192.0.2.7", 1234),
        "server": ("server", 80),
    }


def environ(
    target: str, method: str = "GET", body: bytes = b"", fields: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A WSGI environ as servers make it."""
    path, _, query = target.partition("?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "server",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": HOST,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if body:
        made["CONTENT_LENGTH"] = str(len(body))
    for name, value in (fields or {}).items():
        key = name.upper().replace("-", "_")
        made[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return made


@contextlib.contextmanager
def site(door: str, cache: Mapping[str, Any] | None = None, **settings: Any) -> Iterator[Site]:
    """A site behind one door; `cache` are keys of WSGIPERF["CACHE"]."""
    middleware = list(settings.pop("MIDDLEWARE", PLAIN_MIDDLEWARE))
    if door in ("middleware", "async"):
        middleware.insert(0, "django_wsgiperf.middleware.ResponseCacheMiddleware")
    options = {"JITTER": 0.0, "EARLY_REFRESH": 0.0, **(cache or {})}
    everything = {
        "ALLOWED_HOSTS": [HOST],
        "ROOT_URLCONF": "tests.cache.doors",
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        "MIDDLEWARE": middleware,
        "WSGIPERF": {"CACHE": options, "METRICS": {"ENABLED": False}},
        **settings,
    }
    with override_settings(**everything):
        runtime.reset()
        pages.views.clear()
        pages.seen.clear()
        made = Site(door)
        try:
            yield made
        finally:
            made.stop_others()
            runtime.reset()
