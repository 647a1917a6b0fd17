"""One started server with one setup: the benchmark's pages with another DATABASES. Checks each page before load comes.

The listener is made here and handed over (`fd://`, as systemd does), because slow readers need one whose connections
have small send buffers: on the loopback interface the kernel would swallow a whole page at once.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.common.asking import WrongAnswer, ask
from tests.benchmarks.common.places import PROJECT, ROOT, THREADS
from tests.benchmarks.common.processes import Program
from tests.benchmarks.database.setups import Setup
from tests.benchmarks.serving.servers import APPLICATION
from tests.services import Address

START_S, ATTEMPT_S, ANSWER_S = 20.0, 2.0, 10.0
SERVE, GTHREAD = "serve", "gthread"
SERVERS: Mapping[str, tuple[str, Sequence[str]]] = {
    SERVE: ("serve", ("manage.py", "serve", "fd://{fd}", "--threads", str(THREADS), "--workers", "1")),
    GTHREAD: (
        "gunicorn gthread",
        ("-m", "gunicorn", "-k", "gthread", "-b", "fd://{fd}", "--threads", str(THREADS), "-w", "1",
         "--log-level", "warning", APPLICATION),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has answered rightly."""

    program: Program
    port: int
    address: Address

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str, timeout_s: float = ANSWER_S) -> bytes:
        """Ask once. Raises WrongAnswer."""
        return ask(self.port, path, self.program, timeout_s).body

    def wait(self, path: str) -> None:
        """Wait for the first answer: the listener is not the server's own, so a connection is no sign of life.

        Raises WrongAnswer."""
        until_s = time.monotonic() + START_S
        while True:
            try:
                self.get(path, ATTEMPT_S)
                return
            except WrongAnswer:
                has_ended = self.program.process is None or self.program.process.poll() is not None
                if has_ended or time.monotonic() > until_s:
                    raise


@dataclass(frozen=True, slots=True)
class Launcher:
    """What all starts have in common."""

    address: Address
    logs: Path

    @contextlib.contextmanager
    def running(
        self, setup: Setup, size: int, paths: Sequence[str], *, server: str = SERVE, send_buffer: int | None = None
    ) -> Iterator[Running]:
        """Start the server with this setup and ask for each page once. Raises WrongAnswer."""
        title, words = SERVERS[server]
        facts = {"database": setup.database(self.address, size), "middleware": setup.middleware()}
        env = {
            "PYTHONPATH": f"{ROOT}:{PROJECT}",
            "DJANGO_SETTINGS_MODULE": "benchsite.database_settings",
            "BENCHMARK_SETUP": json.dumps(facts),
            "NO_COLOR": "1",
        }
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            if send_buffer is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            port: int = listener.getsockname()[1]
            command = [sys.executable, *(word.format(fd=listener.fileno()) for word in words)]
            name = f"{setup.title} under {title}"
            program = Program(name, command, self.logs / f"{setup.name}.log", env, PROJECT, keep=(listener.fileno(),))
            with program:
                running = Running(program, port, self.address)
                running.wait(paths[0])
                for path in paths:
                    running.get(path)
                yield running
