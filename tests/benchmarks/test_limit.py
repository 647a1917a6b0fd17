"""The limit of the serving benchmark: the program that the servers are compared with."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable
from typing import Any

from tests.benchmarks.serving import limit


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> io.BytesIO:
    start_response("200 OK", [("Content-Length", "4")])
    return io.BytesIO(b"body")


def test_client_that_leaves_before_the_parent_has_let_go_of_it_ends_no_worker() -> None:
    ours, theirs = socket.socketpair()
    worker = threading.Thread(target=limit.serve, args=(application, "/", None, theirs))
    with theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        worker.start()
        with ours:

            def dealt() -> tuple[socket.socket, socket.socket]:
                """A client, and the parent's copy of its connection, which the worker has been sent."""
                client = socket.create_connection(listener.getsockname(), timeout=60)
                copy = listener.accept()[0]
                socket.send_fds(ours, [b"c"], [copy.fileno()])
                return client, copy

            leaving, kept = dealt()
            leaving.close()
            with kept:
                client, copy = dealt()
                copy.close()
                with client:
                    for _ in range(3):
                        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                        assert client.recv(4096).endswith(b"body")
        worker.join(60)
        assert not worker.is_alive(), "it ends with its parent"
