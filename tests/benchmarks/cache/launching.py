"""Started servers with one cache each, checked before load comes: the right body, and the second answer a hit."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import services
from tests.benchmarks.cache import nginx
from tests.benchmarks.cache.setups import ORIGIN_SETUP, PAGE, RENDERS, Setup
from tests.benchmarks.common.asking import Answer, WrongAnswer, ask
from tests.benchmarks.common.places import PROJECT, ROOT, THREADS
from tests.benchmarks.common.processes import Program, free_port
from tests.benchmarks.serving.servers import APPLICATION

LOOKS, LOOK_AGAIN_S = 8, 0.25


@dataclass(frozen=True, slots=True)
class Running:
    """A server whose cache works. `origin` is the port of the server that makes the pages."""

    setup: Setup
    program: Program
    port: int
    origin: int

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str, port: int = 0) -> Answer:
        """Ask once. Raises WrongAnswer."""
        return ask(port or self.port, path, self.program)

    def renders(self) -> int:
        """How often the slow page was made so far."""
        renders: int = json.loads(self.get(RENDERS, self.origin).body)["renders"]
        return renders

    def verify_hit(self, path: str, body: bytes) -> None:
        """Have the page kept, and see that the answer after it is a hit, with the same body. Raises WrongAnswer."""
        self.get(path)
        answer = self.verify_still_hit(path)
        if answer.body != body:
            raise WrongAnswer(f"{self.setup.title}: the hit has another body, of {len(answer.body)} bytes")

    def verify_still_hit(self, path: str) -> Answer:
        """See that an answer is a hit: one of the next few, since the last of a load may still be under way.

        Raises WrongAnswer."""
        name, text = self.setup.hit
        for _ in range(LOOKS):
            answer = self.get(path)
            said = answer.fields.get(name)
            if said is not None and text in said:
                return answer
            time.sleep(LOOK_AGAIN_S)
        raise WrongAnswer(f"{self.setup.title}: {LOOKS} answers to {path} are no hits ({name}: {said})")


@dataclass(frozen=True, slots=True)
class Launcher:
    """What all starts have in common. `redis` is the address of an empty database, or nothing."""

    redis: str
    folder: Path

    def environment(self, setup: Setup) -> dict[str, str]:
        """The variables that the project needs."""
        return {
            "PYTHONPATH": f"{ROOT}:{PROJECT}",
            "DJANGO_SETTINGS_MODULE": "benchsite.cache_settings",
            "BENCHMARK_CACHE": json.dumps(setup.settings(self.redis)),
            "NO_COLOR": "1",
        }

    @contextlib.contextmanager
    def running(self, setup: Setup, body: bytes) -> Iterator[Running]:
        """Start the server, and the one behind it if it is a proxy. Raises StartError or WrongAnswer."""
        with contextlib.ExitStack() as started:
            port = origin = free_port()
            if setup.server == "nginx":
                started.enter_context(self._program(ORIGIN_SETUP, origin))
                port = free_port()
                command = nginx.command(services.nginx(), self.folder / "nginx", port, origin)
                program = started.enter_context(
                    Program(setup.title, command, self.folder / "logs" / "nginx.log", {}, self.folder)
                )
                program.wait_for_port(port)
            else:
                program = started.enter_context(self._program(setup, port))
            running = Running(setup, program, port, origin)
            running.verify_hit(PAGE, body)
            yield running

    @contextlib.contextmanager
    def _program(self, setup: Setup, port: int) -> Iterator[Program]:
        address = f"127.0.0.1:{port}"
        command = [sys.executable, "manage.py", "serve", address, "--threads", str(THREADS), "--workers", "1"]
        if setup.server == "gthread":
            command = [
                sys.executable, "-m", "gunicorn", "-k", "gthread", "-b", address, "--threads", str(THREADS),
                "-w", "1", "--log-level", "warning", APPLICATION,
            ]  # fmt: skip
        log = self.folder / "logs" / f"cache-{setup.name}.log"
        with Program(setup.title, command, log, self.environment(setup), PROJECT) as program:
            program.wait_for_port(port)
            yield program
