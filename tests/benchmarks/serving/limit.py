"""The limit: the least server that can call the same handler under the same load. Not a server for any other use.

One thread, one epoll object that each connection is registered with once, one recv, a ready-made environ, the
handler, its body behind a ready-made head in one send. It parses nothing, so it serves one path; it has no other
thread, no time-outs and no defence. `python -m tests.benchmarks.serving.limit PORT WORKERS PATH`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Any

from tests.benchmarks.serving.environ import ready_made

REQUEST_BYTES = 4096


def head_of(application: Any, environ: dict[str, Any]) -> bytes:
    """Call the handler once, and give the status line and headers it answers with."""
    lines: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        lines.append(f"HTTP/1.1 {status}")
        lines.extend(f"{name}: {value}" for name, value in headers)

    result = application(environ.copy(), start_response)
    b"".join(result)
    result.close()
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def ignore_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    """Stand in for start_response: the head is ready made."""


def serve(application: Any, path: str, listener: socket.socket | None, arrivals: socket.socket | None) -> None:
    """Answer every request on every connection with `path`, for ever or until the parent has ended.

    Connections come from `listener`, or, when several processes share the load, over `arrivals` from the parent.
    """
    environ = ready_made(path)
    head = head_of(application, environ)
    ready = select.epoll()
    source = listener or arrivals
    assert source is not None
    source.setblocking(False)
    source_fd = source.fileno()
    ready.register(source_fd, select.EPOLLIN)
    connections: dict[int, tuple[Any, Any, Any]] = {}
    wait, copy, connection_of = ready.poll, environ.copy, connections.__getitem__

    def arrive() -> bool:
        """Take every connection that waits, lest one waits for others' requests; False when the parent has ended."""
        with contextlib.suppress(BlockingIOError):
            while True:
                if listener is not None:
                    connection = listener.accept()[0]
                else:
                    fds = socket.recv_fds(source, 1, 1)[1]
                    if not fds:
                        return False
                    connection = socket.socket(fileno=fds[0])
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = (connection.recv, connection.send, connection)
                ready.register(connection.fileno(), select.EPOLLIN)
        return True

    while True:
        for fd, _ in wait():
            if fd == source_fd:
                if not arrive():
                    return
                continue
            receive, send, connection = connection_of(fd)
            try:
                received = receive(REQUEST_BYTES)
            except ConnectionError:
                received = b""
            if not received:
                # While the parent has not closed its copy, to close ours does not take the connection out of the poll.
                ready.unregister(fd)
                del connections[fd]
                connection.close()
                continue
            result = application(copy(), ignore_response)
            reply = head + b"".join(result)
            result.close()
            try:
                sent = send(reply)
            except ConnectionError:
                continue
            if sent != len(reply):
                raise SystemExit(f"the limit sends each response at once, but the socket took {sent} of {len(reply)}")


def share_out(listener: socket.socket, children: Iterable[socket.socket]) -> None:
    """Accept, and deal the connections to the processes in turn, so that each has as many as the others."""
    listener.setblocking(True)
    children = list(children)
    turn = 0
    while True:
        connection = listener.accept()[0]
        with connection:
            socket.send_fds(children[turn % len(children)], [b"c"], [connection.fileno()])
        turn += 1


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    port, workers, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    application = importlib.import_module("benchsite.wsgi").application
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    if workers == 1:
        serve(application, path, listener, None)
    ours: list[socket.socket] = []
    for _ in range(workers):
        mine, theirs = socket.socketpair()
        if os.fork() == 0:
            mine.close()
            listener.close()
            serve(application, path, None, theirs)
            return
        theirs.close()
        ours.append(mine)
    share_out(listener, ours)


if __name__ == "__main__":
    main()
