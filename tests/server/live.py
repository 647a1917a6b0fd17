"""Our reactor and pool behind the interface that django.test.LiveServerTestCase has for its server.

The site's database is a file, so that each thread has a connection of its own, as on any real site. In memory it
would be one connection for all threads, as Django arranges it for its live server, and the sqlite3 module cannot do
that reliably: two threads that run the same statement at once now and then get "bad parameter or other API misuse".
"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import LiveServerTestCase
from django.test.testcases import LiveServerThread

from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.server.accepting import Listener, base_environ
from django_wsgiperf.server.accesslog import AccessLog
from django_wsgiperf.server.deadlines import DeadlineSupervisor
from django_wsgiperf.server.process import close_django_connections
from django_wsgiperf.server.reactor import Reactor
from django_wsgiperf.server.threadpool import ThreadPool

from .patience import PATIENT
from .validation import validated

STOP_S = 60.0


class PooledServer:
    """What LiveServerThread asks of a server."""

    validate = True
    options: ClassVar[dict[str, Any]] = {"threads": 4}

    def __init__(self, host: str, port: int) -> None:
        self._listening = socket.create_server((host, port))
        self._listening.setblocking(False)
        self._done = threading.Event()
        self.server_address = self._listening.getsockname()

    def set_app(self, application: Any) -> None:
        settings = ServerSettings(**{**PATIENT, **self.options})
        environ = base_environ(settings, self._listening, tls=False, multiprocess=False)
        if self.validate:
            application = validated(application)
        self.reactor = Reactor(settings, application, [Listener(self._listening, environ)])
        self.pool = self.reactor.pool = ThreadPool(
            self.reactor, settings.threads, on_thread_end=close_django_connections
        )
        # A test about threads that are given up has a supervisor that is less patient.
        self.supervisor = DeadlineSupervisor(self.reactor, grace_s=STOP_S)

    def serve_forever(self) -> None:
        self.pool.start()
        self._done.wait()

    def shutdown(self) -> None:
        assert self.pool.stop(STOP_S), "a pool thread did not end"
        self.reactor.shut_down()
        self._done.set()

    def server_close(self) -> None:
        self._listening.close()


@contextlib.contextmanager
def pooled_servers(*, validate: bool = True) -> Iterator[Callable[..., PooledServer]]:
    """Starts servers of Django's application, with the pool's options; all have ended after the block."""
    with contextlib.ExitStack() as started:

        def start(access_log: AccessLog | None = None, **options: Any) -> PooledServer:
            server = PooledServer("127.0.0.1", 0)
            server.validate = validate
            server.options = options
            server.set_app(WSGIHandler())
            server.reactor.access_log = access_log
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            for end in (server.server_close, thread.join, server.shutdown):  # In the opposite order.
                started.callback(end)
            return server

        yield start


class PooledServerThread(LiveServerThread):
    """`server_thread_class` of a LiveServerTestCase."""

    server_class: Any = PooledServer

    def _create_server(self, connections_override: Any = None) -> Any:
        assert not connections_override, "no two threads share a connection"
        return self.server_class(self.host, self.port)


class LiveSite(LiveServerTestCase):
    """Tests of a site that is served by us, from a database in a file."""

    server_thread_class = PooledServerThread
    port = 0

    @classmethod
    def setUpClass(cls) -> None:
        # Entered first, left last: the server's threads have ended by then.
        cls.enterClassContext(database_in_a_file())
        super().setUpClass()


@contextlib.contextmanager
def database_in_a_file() -> Iterator[None]:
    """For the time of the block `default` is a copy of the test database in a file, in every thread."""
    in_memory = connections["default"]
    entry = connections.settings["default"]
    with tempfile.TemporaryDirectory(prefix="wsgiperf-live-") as folder:
        file = Path(folder, "site.sqlite3")
        with contextlib.closing(sqlite3.connect(file)) as copy:
            in_memory.ensure_connection()
            in_memory.connection.backup(copy)
            # Who writes and who reads do not wait for each other.
            copy.execute("PRAGMA journal_mode = WAL")
        options = {"timeout": 60, "init_command": "PRAGMA synchronous = OFF"}
        connections.settings["default"] = {**entry, "NAME": str(file), "OPTIONS": options}
        del connections["default"]
        try:
            yield
        finally:
            connections["default"].close()
            connections.settings["default"] = entry
            connections["default"] = in_memory
