"""What is measured: hits under load, a crowd before one missing page, costs in-process, and a purge of many entries.

The servers of a scenario all run at once and are loaded one after another, in another order each round. So those that
are compared run within seconds: on a shared machine the speed of minutes apart says nothing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.cache import crowd
from tests.benchmarks.cache.launching import Launcher, Running
from tests.benchmarks.cache.setups import PAGE, SLOW, Setup
from tests.benchmarks.common import turns, wrk
from tests.benchmarks.common.asking import Broken, WrongAnswer, json_lines
from tests.benchmarks.common.places import PROJECT, ROOT
from tests.benchmarks.common.processes import StartError
from tests.benchmarks.common.results import Run

HITS, CROWD, INPROCESS, PURGE = "hits", "crowd", "inprocess", "purge"
CROWD_CLIENTS = 100
TITLES = {
    HITS: "Hits of a page of 10 KB, 32 connections",
    CROWD: f"{CROWD_CLIENTS} clients, one missing page that takes 200 ms",
    INPROCESS: "In-process, without a server",
    PURGE: "One tag purged",
}
PROGRAMS = {INPROCESS: "tests.benchmarks.cache.inprocess", PURGE: "tests.benchmarks.cache.purging"}
CLIENTS = 32
LIMIT_S = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort(turns.Effort):
    """How long and how often. `entries`: in the memory that is purged."""

    warm_s: float = 0.5
    entries: int = 1_000_000


SMOKE = Effort(rounds=1, seconds=0.4, warm_s=0.1, entries=20_000)


def execute(setups: Sequence[Setup], scenarios: Sequence[str], effort: Effort, launcher: Launcher, run: Run) -> None:
    """Measure all that was chosen; a setup that fails is noted, and the others go on."""
    served = [name for name in (HITS, CROWD) if name in scenarios]
    if served:
        take_turns(setups, served, effort, launcher, run)
    redis = [launcher.redis] if launcher.redis else []
    if INPROCESS in scenarios:
        for round_, values in enumerate(separately(INPROCESS, [str(effort.seconds), *redis], effort, run)):
            for way, us in values.items():
                run.add(INPROCESS, way, round_, {"us": us})
    if PURGE in scenarios:
        for round_, values in enumerate(separately(PURGE, [str(effort.entries), *redis], effort, run)):
            for way, ms in values.items():
                run.add(PURGE, way, round_, {"ms": ms, "entries": effort.entries})


def take_turns(setups: Sequence[Setup], scenarios: Sequence[str], effort: Effort, launcher: Launcher, run: Run) -> None:
    """Start all servers and put them to each scenario in turn."""
    body = page_body(launcher)
    with contextlib.ExitStack() as started:
        running: dict[str, Running] = {}
        for setup in setups:
            try:
                running[setup.name] = started.enter_context(launcher.running(setup, body))
            except (StartError, WrongAnswer, OSError) as error:
                run.fail(f"{setup.title}: {error}")
        for scenario in scenarios:
            names = [name for name, server in running.items() if scenario == HITS or server.setup.in_crowd]
            for round_, name in turns.turns(names, effort):
                server = running[name]
                try:
                    values = hits(server, effort) if scenario == HITS else before(server, round_)
                except (wrk.LoadError, crowd.CrowdError, WrongAnswer, OSError) as error:
                    run.fail(f"{server.setup.title}, {scenario}: {error}", scenario)
                else:
                    run.add(scenario, name, round_, values, title=server.setup.title)
            run.finished.append(scenario)


def page_body(launcher: Launcher) -> bytes:
    """The page as the view makes it, without any server."""
    source = "from benchsite.cache_views import PAGE; import sys; sys.stdout.buffer.write(PAGE)"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{PROJECT}"}
    return subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, check=True, timeout=60).stdout


def hits(server: Running, effort: Effort) -> dict[str, float]:
    """Load the page that is kept."""
    wrk.run(server.url(PAGE), connections=CLIENTS, seconds=effort.warm_s)
    before_s = server.program.cpu_s()
    done = wrk.run(server.url(PAGE), connections=CLIENTS, seconds=effort.seconds)
    cpu_s = server.program.cpu_s() - before_s
    server.verify_still_hit(PAGE)
    return {
        "rate": done.rate,
        "p50_ms": done.p50_ms,
        "p99_ms": done.p99_ms,
        "cpu_us": cpu_s / max(1, done.requests) * 1e6,
        "failed": done.failed,
    }


def before(server: Running, round_: int) -> dict[str, float]:
    """A crowd before a page that nobody has asked for yet."""
    made = server.renders()
    answers = crowd.ask(server.port, f"{SLOW}?round={round_}", CROWD_CLIENTS)
    return {
        "renders": server.renders() - made,
        "fastest_ms": answers.times_ms[0],
        "median_ms": answers.times_ms[len(answers.times_ms) // 2],
        "slowest_ms": answers.slowest_ms,
    }


def separately(scenario: str, words: Sequence[str], effort: Effort, run: Run) -> list[Mapping[str, float]]:
    """The rounds that a process of its own prints; none when it fails, which is then noted."""
    rounds: list[Mapping[str, float]] = []
    try:
        rounds = json_lines(PROGRAMS[scenario], [str(effort.rounds), *words], limit_s=LIMIT_S)
    except Broken as error:
        run.fail(str(error), scenario)
    else:
        run.finished.append(scenario)
    return rounds
