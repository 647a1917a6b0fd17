"""The pools under `serve`: warmed before the first request, empty-handed after each, gone with the process."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.db.databases import Database, value
from tests.server import processes
from tests.server.processes import Serve, get, write_project

SETTINGS = """
MIDDLEWARE = ["django_wsgiperf.db.middleware.ConnectionPoolMiddleware"]
DATABASES = {{"default": {entry!r}}}
"""
URLS = """
import json
from django.core.signals import request_finished
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django_wsgiperf.db import pools

def ask(**kwargs):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
request_finished.connect(ask, weak=False)

def numbers(request):
    return HttpResponse(json.dumps([pool.snapshot() for pool in pools()]))
def query(request):
    ask()
    return HttpResponse("done")
def large(request):
    def pieces():
        for number in range(16):
            ask()
            yield "x" * 65536
    return StreamingHttpResponse(pieces())
urlpatterns = [path("numbers", numbers), path("query", query), path("large", large)]
"""
LOADED = """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
from django.db import connection
connection.ensure_connection()
connection.close()
"""
Start = Callable[..., tuple[Serve, int]]


class ServingContract:
    """With each database that counts its sessions."""

    @pytest.fixture
    def start(self, database: Database, tmp_path: Path) -> Iterator[Start]:
        started: list[Serve] = []

        def start(pool: dict[str, Any], *arguments: str, loaded: bool = True) -> tuple[Serve, int]:
            project = write_project(tmp_path)
            settings = processes.PROJECT["site_settings.py"].replace("MIDDLEWARE =", "_UNUSED =")
            (project / "site_settings.py").write_text(settings + SETTINGS.format(entry=database.entry(pool=pool)))
            (project / "site_urls.py").write_text(URLS)
            if loaded:
                (project / "site_wsgi.py").write_text(LOADED)
            server = Serve(project, "--threads", "4", *arguments)
            started.append(server)
            port = server.wait_until_it_serves()
            # Answered by the worker itself, once it accepts.
            assert get(port, "/-/live")[0] == 200
            return server, port

        yield start
        for server in started:
            server.stop()

    @pytest.fixture
    def sessions(self, database: Database) -> Iterator[Callable[[], int]]:
        """How many sessions the server has in this database, the asking one left out."""
        asking = database.wrapper(stock=True)
        yield lambda: int(value(asking, self.SESSIONS)) - 1
        asking.close()

    SESSIONS: str

    def snapshot(self, port: int) -> dict[str, Any]:
        (found,) = json.loads(get(port, "/numbers")[1])
        snapshot: dict[str, Any] = found
        return snapshot

    def test_connections_are_there_before_the_first_request(self, start: Start, sessions: Callable[[], int]) -> None:
        server, port = start({"PREWARM": 3})
        # Those of the test before may take a moment to go.
        processes.eventually(lambda: sessions() == 3, "there are three")
        snapshot = self.snapshot(port)
        assert snapshot["db.client.connection.max"] == 4, "as many as there are threads"
        assert snapshot["created"] == 3
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        processes.eventually(lambda: sessions() == 0, "the sessions end with the process")

    def test_master_keeps_no_connection_from_loading_the_application(
        self, start: Start, sessions: Callable[[], int]
    ) -> None:
        server, port = start({"PREWARM": 0}, "--workers", "2")
        processes.eventually(lambda: sessions() == 0, "it is closed")
        assert "started threads" not in server.text, "the pool's own is gone by then"
        assert get(port, "/query") == (200, "done")
        processes.eventually(lambda: sessions() == 1, "one worker has connected")

    def test_nothing_is_held_after_a_request_not_even_by_its_last_signal(self, start: Start) -> None:
        _, port = start({"PREWARM": 0})
        for _ in range(5):
            assert get(port, "/query") == (200, "done")

        def all_idle() -> bool:
            return bool(self.snapshot(port)["db.client.connection.count"]["used"] == 0)

        processes.eventually(all_idle, "every connection is back")
        assert self.snapshot(port)["reclaimed"] == 0

    def test_server_starts_when_the_database_is_away(self, start: Start, database: Database) -> None:
        database.settings["PORT"] = "1"
        server, port = start({"PREWARM": 2, "ACQUIRE_TIMEOUT_S": 0.1}, loaded=False)
        server.says("0 of 2 connections opened ahead")
        assert get(port, "/query")[0] == 500

    def test_streamed_page_is_complete(self, start: Start) -> None:
        _, port = start({"MAX_SIZE": 1})
        assert len(get(port, "/large")[1]) == 16 * 65536


class TestPostgreSQL(ServingContract):
    SESSIONS = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"

    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres


class TestMariaDB(ServingContract):
    SESSIONS = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()"

    @pytest.fixture
    def database(self, mysql: Database) -> Database:
        return mysql
