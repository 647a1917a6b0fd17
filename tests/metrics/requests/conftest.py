"""`measured`: requests to the views of site.py through Django's own handlers, and the records that they leave."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from django_wsgiperf.metrics import instruments, pipeline, sampling
from django_wsgiperf.metrics.record import Record
from tests.db.conftest import allowed_database, mysql, postgres, sqlite  # noqa: F401 - fixtures
from tests.db.databases import Database
from tests.db.sites import site

TIMING = "django_wsgiperf.middleware.RequestTimingMiddleware"
URLS = "tests.metrics.requests.site"
CACHES = {
    alias: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": alias}
    for alias in ("default", "other")
}
PAGE = "<p>{{ ask }}</p>{% include 'part.html' %}"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [("django.template.loaders.locmem.Loader", {"page.html": PAGE, "part.html": "{{ ask }}"})]
        },
    }
]


class Answer:
    """A response under way, as a server has it."""

    def __init__(self, handler: Any, environ: dict[str, Any]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = handler(environ, self._start)
        self._pieces = iter(self.body)

    def _start(self, status: str, headers: Any, exc_info: Any = None) -> None:
        self.status = int(status[:3])
        self.headers = dict(headers)

    def piece(self) -> bytes:
        piece: bytes = next(self._pieces)
        return piece

    def close(self) -> None:
        if hasattr(self.body, "close"):
            self.body.close()

    def read(self) -> bytes:
        try:
            return b"".join(self._pieces)
        finally:
            self.close()


class Measured:
    """A site, and what has been measured of it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.handler = WSGIHandler()

    def submit(self, record: Record) -> None:
        pipeline.running.pop(record, None)
        self.records.append(record)

    def begin(self, path: str, method: str = "GET", **environ: Any) -> Answer:
        path, _, query = path.partition("?")
        usual = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "wsgi.input": io.BytesIO(),
            "wsgi.url_scheme": "http",
        }
        return Answer(self.handler, {**usual, **environ})

    def ask(self, path: str, method: str = "GET", **environ: Any) -> Answer:
        answer = self.begin(path, method, **environ)
        answer.read()
        return answer

    def record(self, path: str, method: str = "GET", **environ: Any) -> Record:
        """The record of one request."""
        self.ask(path, method, **environ)
        return self.records[-1]

    async def ask_async(self, path: str) -> list[dict[str, Any]]:
        """What an ASGI server gets to send."""
        communicator = ApplicationCommunicator(ASGIHandler(), scope(path))
        await communicator.send_input({"type": "http.request", "body": b""})
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1]["type"] != "http.response.body" or messages[-1].get("more_body"):
            messages.append(await communicator.receive_output(timeout=60))
        await communicator.wait(timeout=60)
        return messages


def scope(path: str) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "http_version": "1.1"}


Measure = Callable[..., contextlib.AbstractContextManager[Measured]]


@contextlib.contextmanager
def measuring(*, middleware: tuple[str, ...] = (TIMING,), metrics: Any = None, **settings: Any) -> Iterator[Measured]:
    """For the time of the block requests are measured, with these settings; afterwards nothing is left of it."""
    before = sampling.sampler.threshold_ns
    options = {"STACK_THRESHOLD_MS": 0, **(metrics or {})}
    usual = {
        "ROOT_URLCONF": URLS,
        "CACHES": CACHES,
        "TEMPLATES": TEMPLATES,
        "MIDDLEWARE": list(middleware),
        "WSGIPERF": {"METRICS": options},
    }
    found: list[Measured] = []
    patch = pytest.MonkeyPatch()
    # What the middleware hands records to, it looks up when it is made.
    patch.setattr(pipeline, "submit", lambda record: found[0].submit(record))
    try:
        with override_settings(**{**usual, **settings}):
            measured = Measured()
            found.append(measured)
            yield measured
    finally:
        patch.undo()
        instruments.uninstall()
        sampling.configure(before / 1e6)
    assert not pipeline.running, "a request was never ended"


@pytest.fixture
def measured(db: None) -> Iterator[Measured]:
    """The site, with the usual settings and an SQLite database in memory."""
    with measuring() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database on each kind of server, in turn; the site of `measuring` uses it."""
    found: Database = request.getfixturevalue(request.param)
    with site(found, URLS, middleware=()):
        yield found


SERVICES = {"postgres": "postgres_url", "mysql": "mysql_url", "redis": "redis_url", "django-redis": "redis_url"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a parameter needs is not among a test's fixtures: name it, so that it is known where it is missing."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        names: list[str] = getattr(item, "fixturenames", [])
        for name in ("database", "backend"):
            service = SERVICES.get(str(params.get(name, "")))
            if service and service not in names and "tests/metrics/requests" in str(item.path):
                names.append(service)
