"""One started server: launched, waited for, verified, and ended. Measurements in scenarios.py run inside it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.common.asking import WrongAnswer, ask
from tests.benchmarks.common.places import PROJECT, ROOT
from tests.benchmarks.common.processes import Program, free_port
from tests.benchmarks.serving.servers import Launch, Server

ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """What the handler answers at `path`, called without any server, and what that costs."""

    path: str
    sha256: str
    size: int
    wall_us: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Session:
    """A running server that has answered correctly."""

    server: Server
    launch: Launch
    program: Program

    def url(self, path: str) -> str:
        return f"http://{self.launch.address}{path}"


@dataclass(frozen=True, slots=True)
class Starter:
    """What every start has in common: environment, expected pages, where logs go, and whether to pin to core 0."""

    env: Mapping[str, str]
    pages: Mapping[str, Page]
    logs: Path
    pinned: bool = False

    @contextlib.contextmanager
    def running(self, server: Server, *, workers: int, paths: Sequence[str], idle: int = 0) -> Iterator[Session]:
        """Start `server` and check every one of `paths`. Raises StartError or WrongAnswer."""
        launch = Launch(port=free_port(), workers=workers, path=paths[0], idle=idle)
        command = server.command(launch)
        if self.pinned:
            command = ["taskset", "--cpu-list", "0", *command]
        env = {**self.env, "BENCHMARK_IDLE": str(idle)}
        with Program(server.title, command, self.logs / f"{server.name}.log", env, PROJECT) as program:
            program.wait_for_port(launch.port)
            for path in paths:
                verify(launch.port, self.pages[path], program)
            yield Session(server, launch, program)


def environment(database: str) -> dict[str, str]:
    """Give the variables that put this tree and the benchmark project on every server's path."""
    return {
        "PYTHONPATH": f"{ROOT}:{PROJECT}",
        "DJANGO_SETTINGS_MODULE": "benchsite.settings",
        "BENCHMARK_DATABASE": database,
        "NO_COLOR": "1",
    }


def verify(port: int, page: Page, program: Program) -> None:
    """Ask for `page` once and compare. Raises WrongAnswer."""
    body = ask(port, page.path, program, ANSWER_S).body
    if hashlib.sha256(body).hexdigest() != page.sha256:
        raise WrongAnswer(
            f"{program.name} answered {page.path} with another body than the handler's: "
            f"{len(body)} bytes, not {page.size}"
        )
