"""What is measured, and by whom in which order: rounds that are interleaved, each setup started afresh in each.

Rates are requests a second, times ms or us as their names say. Nothing is judged here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.common import wrk
from tests.benchmarks.common.stats import schedule
from tests.benchmarks.common.tables import number
from tests.benchmarks.database import holding
from tests.benchmarks.database.launching import GTHREAD, SERVE, SERVERS, Launcher, Running, WrongAnswer
from tests.benchmarks.database.results import Measurement, Run
from tests.benchmarks.database.setups import OURS_TRANSACTION, SETUPS, Setup
from tests.benchmarks.serving.servers import ROOT, THREADS

#: A connection for each thread, and one for three threads.
SIZES = (THREADS, THREADS // 3)
INPROCESS, HELD = "inprocess", "held"
INPROCESS_LIMIT_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much load, and for how long."""

    rounds: int = 3
    seconds: float = 1.0
    warm_s: float = 0.3
    clients: int = 32
    readers: int = holding.READERS
    seed: int = 1
    sizes: tuple[int, ...] = SIZES


#: Page -> what it is. Each is loaded by keep-alive connections in a closed loop.
PAGES: Mapping[str, str] = {
    "one": "One query",
    "five": "A page with five queries",
    "sleep": "One query, then 20 ms elsewhere",
}
TITLES: Mapping[str, str] = {
    INPROCESS: "In-process, one thread",
    **PAGES,
    f"{HELD}-{SERVE}": f"Slow readers of a page of 1 MB under {SERVERS[SERVE][0]}",
    f"{HELD}-{GTHREAD}": f"Slow readers of a page of 1 MB under {SERVERS[GTHREAD][0]}",
}


@dataclass(frozen=True, slots=True)
class Task:
    """One start of a server, and what is measured in it."""

    setup: Setup
    size: int
    round: int
    scenarios: Sequence[str]

    @property
    def title(self) -> str:
        size = f", {self.size} connections" if self.setup.is_pool else ""
        return f"{self.setup.title}{size}, round {self.round + 1}"


def tasks(setups: Sequence[Setup], scenarios: Sequence[str], effort: Effort) -> Iterator[Task]:
    """All starts in their order: every setup and size once a round, shuffled."""
    pages = [name for name in scenarios if name in PAGES]
    held = [name for name in scenarios if name.startswith(HELD)]
    starts = [(setup.name, size) for setup in setups for size in (effort.sizes if setup.is_pool else (0,))]
    labels = {f"{name}:{size}": (name, size) for name, size in starts}
    for round_, order in enumerate(schedule(list(labels), effort.rounds, effort.seed)):
        for name, size in map(labels.__getitem__, order):
            if pages:
                yield Task(SETUPS[name], size, round_, pages)
            # How many are held does not change with the size of the pool, nor much from round to round.
            if size in (0, effort.sizes[0]) and round_ == 0 and name != OURS_TRANSACTION:
                for scenario in held:
                    yield Task(SETUPS[name], size, round_, [scenario])


def execute(setups: Sequence[Setup], scenarios: Sequence[str], effort: Effort, launcher: Launcher, run: Run) -> None:
    """Measure all that was chosen; a setup that fails is noted, and the others go on."""
    if INPROCESS in scenarios:
        inprocess(setups, effort, launcher, run)
    for task in tasks(setups, scenarios, effort):
        is_held = task.scenarios[0].startswith(HELD)
        server = task.scenarios[0].removeprefix(f"{HELD}-") if is_held else SERVE
        paths = ["/stream"] if is_held else [f"/{name}" for name in task.scenarios]
        buffer = holding.SEND_BUFFER if is_held else None
        try:
            with launcher.running(task.setup, task.size, paths, server=server, send_buffer=buffer) as running:
                for scenario in task.scenarios:
                    values = holding.measure(running, effort.readers) if is_held else load(running, scenario, effort)
                    note(run, scenario, task.setup, task.size, task.round, values)
        except (WrongAnswer, wrk.LoadError, OSError) as error:
            run.failures.append(f"{task.title}: {error}")
            print(f"FAILED {run.failures[-1]}", flush=True)


def load(running: Running, page: str, effort: Effort) -> dict[str, float]:
    """Load one page and give its rate and times."""
    url = running.url(f"/{page}")
    wrk.run(url, connections=effort.clients, seconds=effort.warm_s)
    before_s = running.program.cpu_s()
    done = wrk.run(url, connections=effort.clients, seconds=effort.seconds)
    cpu_s = running.program.cpu_s() - before_s
    return {
        "rate": done.rate,
        "p50_ms": done.p50_ms,
        "p99_ms": done.p99_ms,
        "cpu_us": cpu_s / max(1, done.requests) * 1e6,
        "failed": done.failed,
    }


def inprocess(setups: Sequence[Setup], effort: Effort, launcher: Launcher, run: Run) -> None:
    """All setups in one process of their own, without a server."""
    size = min(effort.sizes)
    entries = {setup.name: setup.database(launcher.address, size) for setup in setups}
    command = [
        sys.executable, "-m", "tests.benchmarks.database.inprocess",
        str(effort.rounds), str(effort.seconds), json.dumps(entries),
    ]  # fmt: skip
    try:
        said = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=INPROCESS_LIMIT_S, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        run.failures.append(f"in-process: {error.stderr.strip().splitlines()[-1:]}")
        return
    for round_, line in enumerate(said.stdout.splitlines()):
        for name, values in json.loads(line).items():
            note(run, INPROCESS, SETUPS[name], size if SETUPS[name].is_pool else 0, round_, values)


def note(run: Run, scenario: str, setup: Setup, size: int, round_: int, values: dict[str, float]) -> None:
    """Keep and show one measurement."""
    run.measurements.append(
        Measurement(scenario=scenario, setup=setup.name, size=size, round=round_, values=values)
    )  # fmt: skip
    shown = "  ".join(f"{key} {number(value)}" for key, value in values.items())
    print(f"{round_ + 1}  {scenario:<13}{size or '':>3}  {setup.title:<38}{shown}", flush=True)
