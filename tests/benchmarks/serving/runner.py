"""Runs the plan: every scenario, round by round, each server once a round in shuffled order, started afresh.

A line is printed for each measurement as it ends. A server that fails is noted, and the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.benchmarks.common import openloop
from tests.benchmarks.common.processes import StartError
from tests.benchmarks.common.stats import schedule
from tests.benchmarks.common.tables import number
from tests.benchmarks.common.wrk import LoadError
from tests.benchmarks.serving.results import Measurement, Run
from tests.benchmarks.serving.scenarios import Effort, Scenario
from tests.benchmarks.serving.servers import LIMIT, Server
from tests.benchmarks.serving.session import Starter, WrongAnswer

LIVE = {
    "rate": "{}/s", "p50_ms": "p50 {} ms", "p99_ms": "p99 {} ms", "open_p99_ms": "open p99 {} ms",
    "cpu_us": "CPU {} us", "bytes_each": "{} bytes each", "kept": "{} kept", "share": "share {}",
    "shed": "shed {}", "timed_out": "timed out {}", "others": "others {} cores", "failed": "failed {}",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of one server, and the scenarios that are measured during it."""

    server: Server
    workers: int
    round: int
    scenarios: tuple[Scenario, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run. `together` is for the smoke run: all scenarios in one start of a server, and with
    several workers only the first."""

    scenarios: Sequence[Scenario]
    servers: Sequence[Server]
    workers: Sequence[int]
    rounds: int
    effort: Effort
    together: bool = False

    def starts(self, run: Run) -> Iterator[Start]:
        """Give the starts in their order, and note in `run` who cannot take part in what."""
        by_name = {server.name: server for server in self.servers}
        for workers in self.workers:
            fitting = [scenario for scenario in self.scenarios if workers in scenario.workers]
            if self.together and workers > 1:
                fitting = fitting[:1]
            groups = [tuple(fitting)] if self.together else [(scenario,) for scenario in fitting]
            for group in groups:
                able = {server.name: self.able(run, server, workers, group) for server in self.servers}
                names = [name for name, scenarios in able.items() if scenarios]
                for number_, order in enumerate(schedule(names, self.rounds, self.effort.seed)):
                    for name in order:
                        yield from self.split(by_name[name], workers, number_, able[name])

    def able(self, run: Run, server: Server, workers: int, scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
        """Give those of `scenarios` that `server` can take part in."""
        fit = []
        for scenario in scenarios:
            why = scenario.unfit(server, workers)
            if why:
                note = f"{server.title} is not in {scenario.name!r} with {workers} workers: {why}."
                if note not in run.notes:
                    run.notes.append(note)
            else:
                fit.append(scenario)
        return tuple(fit)

    def split(self, server: Server, workers: int, number_: int, scenarios: tuple[Scenario, ...]) -> Iterator[Start]:
        """The limit serves one path a start; everyone else serves them all."""
        groups = [(scenario,) for scenario in scenarios] if server.name == LIMIT else [scenarios]
        for group in groups:
            yield Start(server=server, workers=workers, round=number_, scenarios=group)


def execute(plan: Plan, starter: Starter, run: Run) -> None:
    """Do everything that `plan` says and put the results into `run`."""
    for start in plan.starts(run):
        idle = plan.effort.idle if any(scenario.idle for scenario in start.scenarios) else 0
        paths = list(dict.fromkeys(path for scenario in start.scenarios for path in scenario.paths))
        where = f"{start.server.title}, {start.workers} workers, round {start.round + 1}"
        try:
            with starter.running(start.server, workers=start.workers, paths=paths, idle=idle) as session:
                for scenario in start.scenarios:
                    values = scenario.measure(session, plan.effort)
                    values = {key: value for key, value in values.items() if math.isfinite(value)}
                    run.measurements.append(
                        Measurement(
                            scenario=scenario.name, workers=start.workers, server=start.server.name,
                            round=start.round, values=values,
                        )
                    )  # fmt: skip
                    print(live_line(scenario, start, plan.rounds, values), flush=True)
        except (StartError, WrongAnswer, LoadError, ValueError, OSError) as error:
            run.failures.append(f"{where}: {error}")
            print(f"FAILED {where}: {error}", flush=True)


def live_line(scenario: Scenario, start: Start, rounds: int, values: dict[str, float]) -> str:
    """Give the line that is printed when one measurement ends."""
    shown = "  ".join(text.format(number(values[key])) for key, text in LIVE.items() if key in values)
    late = values.get("lag_p99_ms", 0.0)
    warning = f"  (the generator was {late:.0f} ms late)" if late > openloop.LATE_MS else ""
    return (
        f"{start.round + 1}/{rounds}  {scenario.name:<12}  {start.workers}w  {start.server.title:<18}{shown}{warning}"
    )
