"""What is measured, and in which order: rounds in which all that are compared take turns.

Rates are requests a second, times ms or us as their names say. Nothing is judged here.
"""

from __future__ import annotations

import contextlib
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
from tests.benchmarks.database.setups import CLOSE, OURS_TRANSACTION, SETUPS, Setup
from tests.benchmarks.serving.servers import ROOT, THREADS

#: A connection for three threads, and one for each.
SIZES = (THREADS // 3, THREADS)
INPROCESS, HELD = "inprocess", "held"
INPROCESS_LIMIT_S = 240.0
#: A round has many batches already.
INPROCESS_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much load, and for how long."""

    rounds: int = 8
    seconds: float = 0.7
    warm_s: float = 0.2
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
class Group:
    """Setups that are measured together: their servers run side by side, and take turns under load."""

    size: int
    setups: Sequence[Setup]
    #: Number of its first round: those of one group alone are compared.
    first_round: int


def groups(setups: Sequence[Setup], effort: Effort) -> Iterator[Group]:
    """A group for each size. The server's connections bound what can run at a time."""
    for place, size in enumerate(effort.sizes):
        is_few = size == min(effort.sizes)
        members = [setup for setup in setups if is_few or setup.name not in (CLOSE, OURS_TRANSACTION)]
        yield Group(size, members, place * effort.rounds)


def execute(setups: Sequence[Setup], scenarios: Sequence[str], effort: Effort, launcher: Launcher, run: Run) -> None:
    """Measure all that was chosen; a setup that fails is noted, and the others go on."""
    if INPROCESS in scenarios:
        inprocess(setups, effort, launcher, run)
    for server in (name.removeprefix(f"{HELD}-") for name in scenarios if name.startswith(HELD)):
        for setup in setups:
            if setup.name != OURS_TRANSACTION:
                count_held(setup, server, effort, launcher, run)
    pages = [name for name in scenarios if name in PAGES]
    for group in groups(setups, effort) if pages else ():
        take_turns(group, pages, effort, launcher, run)


def take_turns(group: Group, pages: Sequence[str], effort: Effort, launcher: Launcher, run: Run) -> None:
    """Start all servers of a group, and load one after another, in another order each round.

    So those that are compared run within seconds: on a shared machine the speed of minutes apart says nothing."""
    with contextlib.ExitStack() as started:
        running: dict[str, Running] = {}
        for setup in group.setups:
            try:
                running[setup.name] = started.enter_context(
                    launcher.running(setup, group.size, [f"/{page}" for page in pages])
                )
            except (WrongAnswer, OSError) as error:
                fail(run, f"{setup.title}, {group.size} connections: {error}")
        for page in pages:
            for round_, order in enumerate(schedule(list(running), effort.rounds, effort.seed)):
                for name in order:
                    setup, number_ = SETUPS[name], group.first_round + round_
                    try:
                        values = load(running[name], page, effort)
                    except wrk.LoadError as error:
                        fail(run, f"{setup.title}, {group.size} connections, {page}: {error}")
                    else:
                        note(run, page, setup, group.size if setup.is_pool else 0, number_, values)


def count_held(setup: Setup, server: str, effort: Effort, launcher: Launcher, run: Run) -> None:
    """Slow readers of one setup under one server, once: the count hardly changes, nor with the size of the pool."""
    size = max(effort.sizes)
    try:
        with launcher.running(setup, size, ["/stream"], server=server, send_buffer=holding.SEND_BUFFER) as running:
            values = holding.measure(running, effort.readers)
    except (WrongAnswer, OSError) as error:
        fail(run, f"{setup.title} under {SERVERS[server][0]}: {error}")
    else:
        note(run, f"{HELD}-{server}", setup, size if setup.is_pool else 0, 0, values)


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
        str(min(effort.rounds, INPROCESS_ROUNDS)), str(effort.seconds), json.dumps(entries),
    ]  # fmt: skip
    try:
        said = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=INPROCESS_LIMIT_S, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        fail(run, f"in-process: {error.stderr.strip().splitlines()[-1:]}")
        return
    for round_, line in enumerate(said.stdout.splitlines()):
        for name, values in json.loads(line).items():
            note(run, INPROCESS, SETUPS[name], size if SETUPS[name].is_pool else 0, round_, values)


def note(run: Run, scenario: str, setup: Setup, size: int, round_: int, values: dict[str, float]) -> None:
    """Keep and show one measurement."""
    run.measurements.append(Measurement(scenario=scenario, setup=setup.name, size=size, round=round_, values=values))
    shown = "  ".join(f"{key} {number(value)}" for key, value in values.items())
    print(f"{round_ + 1}  {scenario:<13}{size or '':>3}  {setup.title:<38}{shown}", flush=True)


def fail(run: Run, text: str) -> None:
    """Keep and show one failure."""
    run.failures.append(text)
    print(f"FAILED {text}", flush=True)
