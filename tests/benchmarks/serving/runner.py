"""Runs the plan: every scenario, round by round, each server once a round in shuffled order, started afresh.

A line is printed for each measurement as it ends. A server that fails is noted, and the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.benchmarks.common import openloop, turns
from tests.benchmarks.common.asking import WrongAnswer
from tests.benchmarks.common.processes import StartError
from tests.benchmarks.common.results import Run
from tests.benchmarks.common.wrk import LoadError
from tests.benchmarks.serving.scenarios import Cell, Effort, Scenario
from tests.benchmarks.serving.servers import LIMIT, Server
from tests.benchmarks.serving.session import Starter


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
    effort: Effort
    together: bool = False

    def starts(self, run: Run) -> Iterator[Start]:
        """Give the starts in their order, note in `run` who cannot take part in what, and what is finished."""
        by_name = {server.name: server for server in self.servers}
        for workers in self.workers:
            fitting = [scenario for scenario in self.scenarios if workers in scenario.workers]
            if self.together and workers > 1:
                fitting = fitting[:1]
            groups = [tuple(fitting)] if self.together else [(scenario,) for scenario in fitting]
            for group in groups:
                able = {server.name: self.able(run, server, workers, group) for server in self.servers}
                names = [name for name, scenarios in able.items() if scenarios]
                for number, name in turns.turns(names, self.effort):
                    yield from self.split(by_name[name], workers, number, able[name])
                run.finished += [Cell(scenario, workers).name for scenario in group]

    def able(self, run: Run, server: Server, workers: int, scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
        """Give those of `scenarios` that `server` can take part in."""
        fit = []
        for scenario in scenarios:
            why = scenario.unfit(server, workers)
            if why:
                run.note(f"{server.title} is not in this table: {why}.", Cell(scenario, workers).name)
            else:
                fit.append(scenario)
        return tuple(fit)

    def split(self, server: Server, workers: int, number: int, scenarios: tuple[Scenario, ...]) -> Iterator[Start]:
        """The limit serves one path a start; everyone else serves them all."""
        groups = [(scenario,) for scenario in scenarios] if server.name == LIMIT else [scenarios]
        for group in groups:
            yield Start(server=server, workers=workers, round=number, scenarios=group)


def execute(plan: Plan, starter: Starter, run: Run) -> None:
    """Do everything that `plan` says and put the results into `run`."""
    for start in plan.starts(run):
        idle = plan.effort.idle if any(scenario.idle for scenario in start.scenarios) else 0
        paths = list(dict.fromkeys(path for scenario in start.scenarios for path in scenario.paths))
        cells = [Cell(scenario, start.workers) for scenario in start.scenarios]
        where = f"{start.server.title}, {start.workers} workers, round {start.round + 1}"
        try:
            with starter.running(start.server, workers=start.workers, paths=paths, idle=idle) as session:
                for cell in cells:
                    values = cell.scenario.measure(session, plan.effort)
                    values = {key: value for key, value in values.items() if math.isfinite(value)}
                    run.add(cell.name, start.server.name, start.round, values, title=start.server.title)
                    if (late_ms := values.get("lag_p99_ms", 0.0)) > openloop.LATE_MS:
                        print(f"(the generator was {late_ms:.0f} ms late)", flush=True)
        except (StartError, WrongAnswer, LoadError, ValueError, OSError) as error:
            run.fail(f"{where}: {error}", cells[0].name if len(cells) == 1 else "")
