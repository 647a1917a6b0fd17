"""Our reactor and pool behind the interface that django.test.LiveServerTestCase has for its server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import connections
from django.test.testcases import LiveServerThread

from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.server.accepting import Listener, base_environ
from django_wsgiperf.server.deadlines import DeadlineSupervisor
from django_wsgiperf.server.process import close_django_connections
from django_wsgiperf.server.reactor import Reactor
from django_wsgiperf.server.threadpool import ThreadPool

from .validation import validated

STOP_S = 20.0


class PooledServer:
    """What LiveServerThread asks of a server. `overrides` are connections that all threads are to share."""

    validate = True
    options: ClassVar[dict[str, Any]] = {"threads": 4}

    def __init__(self, host: str, port: int, overrides: Mapping[str, Any] | None = None) -> None:
        self._listening = socket.create_server((host, port))
        self._listening.setblocking(False)
        self._overrides = overrides or {}
        self._done = threading.Event()
        self.server_address = self._listening.getsockname()

    def set_app(self, application: Any) -> None:
        settings = ServerSettings(**self.options)
        environ = base_environ(settings, self._listening, tls=False, multiprocess=False)
        if self.validate:
            application = validated(application)
        self.reactor = Reactor(settings, application, [Listener(self._listening, environ)])
        self.pool = self.reactor.pool = ThreadPool(
            self.reactor, settings.threads, on_thread_start=self._share, on_thread_end=close_django_connections
        )
        self.supervisor = DeadlineSupervisor(self.reactor, grace_s=0.3)

    def _share(self) -> None:
        for alias, connection in self._overrides.items():
            connections[alias] = connection

    def serve_forever(self) -> None:
        self.pool.start()
        self._done.wait()

    def shutdown(self) -> None:
        assert self.pool.stop(STOP_S), "a pool thread did not end"
        self.reactor.shut_down()
        self._done.set()

    def server_close(self) -> None:
        self._listening.close()


class PooledServerThread(LiveServerThread):
    """`server_thread_class` of a LiveServerTestCase."""

    server_class: Any = PooledServer

    def _create_server(self, connections_override: Any = None) -> Any:
        return self.server_class(self.host, self.port, connections_override)
