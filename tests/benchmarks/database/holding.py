"""Slow readers: clients that ask for a page of 1 MB and read on only after the others have counted who holds what."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import time
from collections.abc import Iterator

from tests import services
from tests.benchmarks.database.launching import Running
from tests.benchmarks.database.setups import vendor

READERS = 8
#: What a reader and the server's kernel may take of a page before the server has to wait.
RECEIVE_BUFFER, SEND_BUFFER = 4096, 16_384
SETTLE_S = 0.3
LOOKS, BETWEEN_LOOKS_S = 5, 0.05
READ_LIMIT_S = 30.0
SESSIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = '{name}'",
}


@contextlib.contextmanager
def slow_readers(running: Running, count: int, path: str) -> Iterator[list[socket.socket]]:
    """Clients that have asked, and have read the first bytes of the answer."""
    with contextlib.ExitStack() as opened:
        readers = []
        for _ in range(count):
            reader = opened.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            reader.settimeout(READ_LIMIT_S)
            reader.connect(("127.0.0.1", running.port))
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            readers.append(reader)
        yield readers


def held(running: Running) -> int:
    """How many connections are in use: as the pool says, or without one, how many sessions the server has."""
    by_pool = json.loads(running.get("/held"))["held"]
    if by_pool is not None:
        return int(by_pool)
    address = running.address
    administrator = address.with_database("mysql" if vendor(address) == "mysql" else "postgres")
    return int(services.execute(administrator, SESSIONS[vendor(address)].format(name=address.database)))


def measure(running: Running, readers: int = READERS) -> dict[str, float]:
    """The median of some looks, while `readers` have begun to read and wait. Raises OSError for a cut-off answer."""
    with slow_readers(running, readers, "/stream") as waiting:
        for reader in waiting:
            assert reader.recv(1)
        time.sleep(SETTLE_S)
        looks = []
        for _ in range(LOOKS):
            looks.append(held(running))
            time.sleep(BETWEEN_LOOKS_S)
        sizes = [read_to_the_end(reader) for reader in waiting]
    cut_off = sum(size < 1_000_000 for size in sizes)
    return {"readers": readers, "held": statistics.median(looks), "held_max": max(looks), "failed": cut_off}


def read_to_the_end(reader: socket.socket) -> int:
    """Read on without a pause; how many bytes came."""
    size = 0
    while piece := reader.recv(262_144):
        size += len(piece)
    return size
