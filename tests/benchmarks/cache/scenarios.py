"""What is measured: hits under load, a crowd before one missing page, costs in-process, and a purge of many entries.

The servers of a scenario all run at once and are loaded one after another, in another order each round. So those that
are compared run within seconds: on a shared machine the speed of minutes apart says nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.cache import crowd
from tests.benchmarks.cache.launching import Launcher, Running, WrongAnswer
from tests.benchmarks.cache.results import Measurement, Run
from tests.benchmarks.cache.setups import PAGE, SLOW, Setup
from tests.benchmarks.common import wrk
from tests.benchmarks.common.processes import StartError
from tests.benchmarks.common.stats import schedule
from tests.benchmarks.common.tables import number
from tests.benchmarks.serving.servers import PROJECT, ROOT

HITS, CROWD, INPROCESS, PURGE = "hits", "crowd", "inprocess", "purge"
CROWD_CLIENTS = 100
TITLES = {
    HITS: "Hits of a page of 10 KB, 32 connections",
    CROWD: f"{CROWD_CLIENTS} clients, one missing page that takes 200 ms",
    INPROCESS: "In-process, without a server",
    PURGE: "One tag purged",
}
CLIENTS = 32
LIMIT_S = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long and how often. `entries`: in the memory that is purged."""

    rounds: int = 5
    seconds: float = 4.0
    warm_s: float = 0.5
    entries: int = 1_000_000
    seed: int = 1


SMOKE = Effort(rounds=1, seconds=0.4, warm_s=0.1, entries=20_000)


def execute(setups: Sequence[Setup], scenarios: Sequence[str], effort: Effort, launcher: Launcher, run: Run) -> None:
    """Measure all that was chosen; a setup that fails is noted, and the others go on."""
    served = [name for name in (HITS, CROWD) if name in scenarios]
    if served:
        take_turns(setups, served, effort, launcher, run)
    if INPROCESS in scenarios:
        words = [str(effort.rounds), str(effort.seconds), *([launcher.redis] if launcher.redis else [])]
        for round_, values in enumerate(separately("tests.benchmarks.cache.inprocess", words, run)):
            for way, us in values.items():
                note(run, INPROCESS, way, round_, {"us": us})
    if PURGE in scenarios:
        words = [str(effort.rounds), str(effort.entries), *([launcher.redis] if launcher.redis else [])]
        for round_, values in enumerate(separately("tests.benchmarks.cache.purging", words, run)):
            for way, ms in values.items():
                note(run, PURGE, way, round_, {"ms": ms, "entries": effort.entries})


def take_turns(setups: Sequence[Setup], scenarios: Sequence[str], effort: Effort, launcher: Launcher, run: Run) -> None:
    """Start all servers and put them to each scenario in turn."""
    body = page_body(launcher)
    with contextlib.ExitStack() as started:
        running: dict[str, Running] = {}
        for setup in setups:
            try:
                running[setup.name] = started.enter_context(launcher.running(setup, body))
            except (StartError, WrongAnswer, OSError) as error:
                fail(run, f"{setup.title}: {error}")
        for scenario in scenarios:
            names = [name for name, server in running.items() if scenario == HITS or server.setup.in_crowd]
            for round_, order in enumerate(schedule(names, effort.rounds, effort.seed)):
                for name in order:
                    server = running[name]
                    try:
                        values = hits(server, effort) if scenario == HITS else before(server, round_)
                    except (wrk.LoadError, crowd.CrowdError, WrongAnswer, OSError) as error:
                        fail(run, f"{server.setup.title}, {scenario}: {error}")
                    else:
                        note(run, scenario, name, round_, values, server.setup.title)


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


def separately(module: str, words: Sequence[str], run: Run) -> list[Mapping[str, float]]:
    """The rounds that a process of its own prints, a JSON line each."""
    try:
        said = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{PROJECT}"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=LIMIT_S, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        fail(run, f"{module}: {' '.join(error.stderr.strip().splitlines()[-1:])}")
        return []
    except subprocess.TimeoutExpired:
        fail(run, f"{module}: it took longer than {LIMIT_S:g} s")
        return []
    return [json.loads(line) for line in said.stdout.splitlines()]


def note(run: Run, scenario: str, subject: str, round_: int, values: dict[str, float], title: str = "") -> None:
    """Keep and show one measurement."""
    run.measurements.append(Measurement(scenario=scenario, subject=subject, round=round_, values=values))
    shown = "  ".join(f"{key} {number(value)}" for key, value in values.items())
    print(f"{round_ + 1}  {scenario:<10}  {title or subject:<46}{shown}", flush=True)


def fail(run: Run, text: str) -> None:
    """Keep and show one failure."""
    run.failures.append(text)
    print(f"FAILED {text}", flush=True)
