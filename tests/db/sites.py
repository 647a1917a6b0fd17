"""A Django site on one database of the tests: requests through Django's own handlers, in a thread each."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import override_settings

from tests.db.databases import Database

MIDDLEWARE = ("django_wsgiperf.db.middleware.ConnectionPoolMiddleware",)


@contextlib.contextmanager
def site(database: Database, urls: str, *, middleware: tuple[str, ...] = MIDDLEWARE, **settings: Any) -> Iterator[None]:
    """For the time of the block `connections` knows this database, in every thread, and `urls` are served."""
    usual = connections.settings
    kept = {alias: connections[alias] for alias in connections}
    connections.settings = {"default": database.entry(**settings)}
    for alias in kept:
        with contextlib.suppress(AttributeError):
            del connections[alias]
    try:
        with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=list(middleware)):
            yield
    finally:
        for wrapper in connections.all(initialized_only=True):
            wrapper.close()
            del connections[wrapper.alias]
        connections.settings = usual
        for alias, wrapper in kept.items():
            connections[alias] = wrapper


class Answer:
    """A response under way: its status, and its body as it is iterated. Close it as a server would."""

    def __init__(self, path: str) -> None:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "wsgi.input": io.BytesIO(),
            "wsgi.url_scheme": "http",
        }
        self.status = ""
        self.body: Any = WSGIHandler()(environ, self._start)
        self.chunks = iter(self.body)

    def _start(self, status: str, headers: Any, exc_info: Any = None) -> None:
        self.status = status

    def close(self) -> None:
        if hasattr(self.body, "close"):
            self.body.close()

    def read(self) -> bytes:
        """The whole body; the response is closed after it."""
        try:
            return b"".join(self.chunks)
        finally:
            self.close()


async def ask_async(path: str) -> list[dict[str, Any]]:
    """What an ASGI server gets to send for one request."""
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "http_version": "1.1"}
    communicator = ApplicationCommunicator(ASGIHandler(), scope)
    await communicator.send_input({"type": "http.request", "body": b""})
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["type"] != "http.response.body" or messages[-1].get("more_body"):
        messages.append(await communicator.receive_output(timeout=60))
    await communicator.wait(timeout=60)
    return messages
