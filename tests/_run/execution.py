"""Runs one step and says how it ended: the command, its environment, its tests' counts.

Which steps, in which order, and how that is shown, is cli.py's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import services
from tests._run import processes, results
from tests._run.steps import Step
from tests._run.summary import FAILED, OK, Result
from tests.services import SERVICES, Address

NO_TESTS = 5  # pytest's exit code when nothing was collected
USAGE_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What a step runs on. `python` runs it, `driver_python` has the database drivers."""

    root: Path
    logs: Path
    env: Mapping[str, str]
    missing: Mapping[str, str]
    python: str
    driver_python: str
    expression: str | None = None

    def log(self, step: Step) -> Path:
        """Where the step's output goes."""
        return self.logs / f"{step.name}.log"


def execute(
    step: Step, machine: Machine, listener: processes.Listener | None = None
) -> tuple[Result, list[tuple[str, str]]]:
    """Run the step. Returns its result, and what of it was not tested, each with the reason."""
    facts = machine.logs / f"{step.name}.results"
    command = [machine.python, *step.command]
    if step.is_pytest and machine.expression:
        command += ["-k", machine.expression]
    with _Database(step, machine) as env:
        outcome = processes.run(
            command,
            log=machine.log(step),
            limit_s=step.limit_s,
            env={**env, results.VARIABLE: str(facts)} if step.is_pytest else env,
            cwd=machine.root,
            on_output=listener,
        )
    counts = results.read(facts) if step.is_pytest else results.Counts()
    return verdict(step, machine, outcome, counts), counts.untested


def verdict(step: Step, machine: Machine, outcome: processes.Outcome, counts: results.Counts) -> Result:
    """What the outcome means."""
    passed, failed, notes = counts.passed, counts.failed, []
    ok = outcome.ok
    if step.is_pytest and outcome.code == NO_TESTS:
        # Nothing that matches -k, or nothing whose service is there, is no failure; an empty suite is one.
        ok = bool(machine.expression or counts.untested)
        notes.append("no test")
    elif step.is_pytest:
        notes.append(f"{passed} passed" + (f", {failed} failed" if failed else ""))
    if outcome.code is None:
        where = f" in {counts.running}" if counts.running else ""
        notes.append(f"stopped after {step.limit_s:.0f} s{where}")
    elif not ok and not failed:
        notes.append(f"exit code {outcome.code}")
    if outcome.left_children:
        notes.append("left processes behind, which were ended")
    if not ok:
        failed = max(failed, 1) if outcome.code is not None else failed + 1
    elif not step.is_pytest:
        passed = 1
    ok = ok and not failed
    return Result(step.name, OK if ok else FAILED, outcome.seconds, passed, failed, "; ".join(notes))


class _Database:
    """The environment of a step, with a database name of its own that is dropped when the step is over."""

    def __init__(self, step: Step, machine: Machine) -> None:
        self.step = step
        self.machine = machine
        self.name = f"bookshop_{os.getpid()}"

    def __enter__(self) -> dict[str, str]:
        env = {
            **self.machine.env,
            # What a developer's own shop holds stays as it is.
            "BOOKSHOP_DATA": str(self.machine.logs / "bookshop"),
            services.MISSING_VARIABLE: json.dumps(dict(self.machine.missing)),
        }
        if self.step.database:
            server = Address.parse(self.machine.env[SERVICES[self.step.database].variable])
            env["DATABASE_URL"] = server.with_database(self.name).url
        return env

    def __exit__(self, *_: object) -> None:
        if self.step.database:
            # Django drops its test database itself, unless it was stopped before.
            drop = ("-m", "tests.services", "--drop", self.step.database, f"test_{self.name}")
            processes.run(
                [self.machine.driver_python, *drop],
                log=self.machine.logs / "databases.log",
                limit_s=USAGE_LIMIT_S,
                env=self.machine.env,
                cwd=self.machine.root,
            )
