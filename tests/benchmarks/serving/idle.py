"""Many keep-alive connections that have been used once and then say nothing, held by a process of their own.

`python -m tests.benchmarks.serving.idle PORT PATH COUNT` opens them, prints one JSON line, answers each line on
standard input with how many are still open, and ends when standard input does. The benchmark drives it by `Idle`.
"""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

AT_ONCE = 64
#: A source address has about 28,000 ports, some of them resting; this many each leaves room.
EACH_SOURCE = 4000
OPEN_S = 60.0
LIFETIME_S = 300
SPARE_FILES = 2000
#: From linux/in.h: choose the port when connecting, so that ports are shared between destinations.
IP_BIND_ADDRESS_NO_PORT = 24


def raise_file_limit(files: int) -> int:
    """Let this process and its children open at least `files` files where that is allowed; give the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, files)
    if wanted > hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        wanted = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Opener:
    """Opens the connections, AT_ONCE at a time, each with one request."""

    def __init__(self, port: int, path: str, count: int) -> None:
        self.port, self.count = port, count
        self.payload = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.selector = selectors.DefaultSelector()
        self.connections: list[socket.socket] = []
        self.failures: dict[str, int] = {}

    def open(self) -> None:
        """Open all, or as many as succeed within OPEN_S."""
        numbers, busy, until_s = iter(range(self.count)), 0, time.monotonic() + OPEN_S
        while time.monotonic() < until_s:
            while busy < AT_ONCE and (number := next(numbers, None)) is not None:
                busy += self.connect(f"127.0.0.{2 + number // EACH_SOURCE}")
            if not busy:
                break
            for key, _ in self.selector.select(1.0):
                busy -= self.react(key.fileobj)
        if busy:
            self.failures["no answer in time"] = busy

    def connect(self, source: str) -> bool:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
            sock.settimeout(5.0)
            sock.connect(("127.0.0.1", self.port))
            sock.sendall(self.payload)
        except OSError as error:
            return self.failed(sock, type(error).__name__)
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ)
        return True

    def react(self, sock: Any) -> bool:
        """Read a response; true when the connection is done with opening, well or badly."""
        try:
            received = sock.recv(65_536)
        except OSError as error:
            self.selector.unregister(sock)
            return not self.failed(sock, type(error).__name__)
        self.selector.unregister(sock)
        if not received.startswith(b"HTTP/1.1 200"):
            return not self.failed(sock, "closed" if not received else received[9:12].decode("latin-1"))
        if b"\r\nconnection: close\r\n" in received.lower():
            return not self.failed(sock, "not kept alive")
        self.connections.append(sock)
        return True

    def failed(self, sock: socket.socket, why: str) -> bool:
        sock.close()
        self.failures[why] = self.failures.get(why, 0) + 1
        return False

    def still_open(self) -> int:
        """Count the connections that the server has not closed."""
        return sum(map(_is_open, self.connections))


def _is_open(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


class Idle:
    """The process that holds the connections, as the benchmark sees it."""

    def __init__(self, process: subprocess.Popen[str], opened: dict[str, Any]) -> None:
        self.process, self.opened = process, opened["open"]
        self.failures: dict[str, int] = opened["failures"]

    def still_open(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        count: int = json.loads(self.process.stdout.readline())
        return count


@contextlib.contextmanager
def held(port: int, path: str, count: int, root: Path) -> Iterator[Idle]:
    """Hold `count` idle connections to 127.0.0.1:port for the length of a `with` block."""
    command = [sys.executable, "-m", "tests.benchmarks.serving.idle", str(port), path, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            yield Idle(process, json.loads(process.stdout.readline() or '{"open": 0, "failures": {"opener died": 1}}'))
        finally:
            process.kill()


def main() -> None:
    signal.alarm(LIFETIME_S)
    port, path, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    raise_file_limit(count + SPARE_FILES)
    opener = Opener(port, path, count)
    opener.open()
    print(json.dumps({"open": len(opener.connections), "failures": opener.failures}), flush=True)
    for _ in sys.stdin:
        print(opener.still_open(), flush=True)


if __name__ == "__main__":
    main()
