"""A crowd: so many clients ask for one page in the same moment, each on a connection that was open before."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass

from tests.benchmarks.common.openloop import parse

LIMIT_S = 60.0
RECEIVE_BYTES = 65_536


class CrowdError(RuntimeError):
    """Some of the crowd got no answer, or another one than the page."""


@dataclass(frozen=True, slots=True)
class Answers:
    """From the first request until each answer was whole, in ms, the fastest first."""

    times_ms: list[float]

    @property
    def slowest_ms(self) -> float:
        return self.times_ms[-1]


def ask(port: int, path: str, clients: int) -> Answers:
    """Let the crowd ask. Raises CrowdError."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with contextlib.ExitStack() as opened:
        selector = opened.enter_context(selectors.DefaultSelector())
        sockets = [opened.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT_S)) for _ in range(clients)]
        received = dict.fromkeys(sockets, b"")
        for sock in sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(sock, selectors.EVENT_READ)
        began_s = time.perf_counter()
        for sock in sockets:
            sock.sendall(request)
        times_ms: list[float] = []
        while len(times_ms) < clients:
            ready = selector.select(LIMIT_S)
            if not ready:
                raise CrowdError(f"{clients - len(times_ms)} of {clients} got no answer within {LIMIT_S:g} s")
            for key, _ in ready:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                data = sock.recv(RECEIVE_BYTES)
                received[sock] += data
                status, whole, _ = parse(received[sock])
                if whole and status == 200:
                    times_ms.append((time.perf_counter() - began_s) * 1000)
                    selector.unregister(sock)
                elif whole or not data:
                    raise CrowdError(f"an answer with status {status or 'missing'} instead of the page")
        return Answers(times_ms)
