"""What is measured, and in which order: rounds in which all that are compared take turns.

Rates are requests a second, times ms or us as their names say. Nothing is judged here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.common import turns, wrk
from tests.benchmarks.common.asking import Broken, WrongAnswer, json_lines
from tests.benchmarks.common.places import THREADS
from tests.benchmarks.common.results import Run
from tests.benchmarks.database import holding
from tests.benchmarks.database.launching import GTHREAD, SERVE, SERVERS, Launcher, Running
from tests.benchmarks.database.setups import CLOSE, OURS_TRANSACTION, SETUPS, Setup

#: A connection for three threads, and one for each.
SIZES = (THREADS // 3, THREADS)
INPROCESS, HELD = "inprocess", "held"
INPROCESS_LIMIT_S = 240.0
#: A round has many batches already.
INPROCESS_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort(turns.Effort):
    """How much load, and for how long."""

    rounds: int = 8
    seconds: float = 0.7
    warm_s: float = 0.2
    clients: int = 32
    readers: int = holding.READERS
    sizes: tuple[int, ...] = SIZES


SMOKE = Effort(rounds=1, seconds=0.3, warm_s=0.1, clients=8, readers=4, sizes=(4,))

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
    for scenario in (name for name in scenarios if name.startswith(HELD)):
        for setup in setups:
            if setup.name != OURS_TRANSACTION:
                count_held(setup, scenario.removeprefix(f"{HELD}-"), effort, launcher, run)
        run.finished.append(scenario)
    if pages := [name for name in scenarios if name in PAGES]:
        for group in groups(setups, effort):
            take_turns(group, pages, effort, launcher, run)
        run.finished += pages


def take_turns(group: Group, pages: Sequence[str], effort: Effort, launcher: Launcher, run: Run) -> None:
    """Start all servers of a group, and load one after another, in another order each round."""
    with contextlib.ExitStack() as started:
        running: dict[str, Running] = {}
        for setup in group.setups:
            try:
                running[setup.name] = started.enter_context(
                    launcher.running(setup, group.size, [f"/{page}" for page in pages])
                )
            except (WrongAnswer, OSError) as error:
                run.fail(f"{setup.title}, {group.size} connections: {error}")
        for page in pages:
            for round_, name in turns.turns(list(running), effort):
                setup, number = SETUPS[name], group.first_round + round_
                try:
                    values = load(running[name], page, effort)
                except wrk.LoadError as error:
                    run.fail(f"{setup.title}, {group.size} connections, {page}: {error}", page)
                else:
                    size = group.size if setup.is_pool else 0
                    run.add(page, name, number, values, size=size, title=setup.title)


def count_held(setup: Setup, server: str, effort: Effort, launcher: Launcher, run: Run) -> None:
    """Slow readers of one setup under one server, once: the count hardly changes, nor with the size of the pool."""
    size = max(effort.sizes)
    try:
        with launcher.running(setup, size, ["/stream"], server=server, send_buffer=holding.SEND_BUFFER) as running:
            values = holding.measure(running, effort.readers)
    except (WrongAnswer, OSError) as error:
        run.fail(f"{setup.title} under {SERVERS[server][0]}: {error}", f"{HELD}-{server}")
    else:
        size = size if setup.is_pool else 0
        run.add(f"{HELD}-{server}", setup.name, 0, values, size=size, title=setup.title)


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
    words = [str(min(effort.rounds, INPROCESS_ROUNDS)), str(effort.seconds), json.dumps(entries)]
    try:
        rounds = json_lines("tests.benchmarks.database.inprocess", words, limit_s=INPROCESS_LIMIT_S)
    except Broken as error:
        run.fail(str(error), INPROCESS)
        return
    for round_, line in enumerate(rounds):
        for name, values in line.items():
            setup = SETUPS[name]
            run.add(INPROCESS, name, round_, values, size=size if setup.is_pool else 0, title=setup.title)
    run.finished.append(INPROCESS)
