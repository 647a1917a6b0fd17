"""Runs one step and says how it ended: the command, its environment, its tests' counts.

Steps may run side by side: each has a database name, data and a folder for temporary files of its own. Which steps,
in which order and how many at once is lanes.py's; how that is shown, cli.py's.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
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


class Execution:
    """A step that runs. Look at it with `poll`, often; `stop` ends it before its time."""

    def __init__(self, step: Step, machine: Machine, listener: processes.Listener | None = None) -> None:
        self.step = step
        self.machine = machine
        self._facts = machine.logs / f"{step.name}.results"
        self._surroundings = _Surroundings(step, machine)
        command = [machine.python, *step.command]
        if step.is_pytest and machine.expression:
            command += ["-k", machine.expression]
        env = self._surroundings.env
        self._job = processes.Job(
            command,
            log=machine.log(step),
            limit_s=step.limit_s,
            env={**env, results.VARIABLE: str(self._facts)} if step.is_pytest else env,
            cwd=machine.root,
            on_output=listener,
        )

    def poll(self, wait_s: float = 0.0) -> tuple[Result, list[tuple[str, str]]] | None:
        """Its result, and what of it was not tested, each with the reason; None while it runs."""
        outcome = self._job.poll(wait_s)
        if outcome is None:
            return None
        self._surroundings.clean()
        counts = results.read(self._facts) if self.step.is_pytest else results.Counts()
        return verdict(self.step, self.machine, outcome, counts), counts.untested

    def stop(self) -> None:
        """End it, and leave nothing."""
        self._job.stop()
        self._surroundings.clean()


def execute(
    step: Step, machine: Machine, listener: processes.Listener | None = None
) -> tuple[Result, list[tuple[str, str]]]:
    """Run the step to its end: its result, and what of it was not tested, each with the reason."""
    execution = Execution(step, machine, listener)
    try:
        while (ended := execution.poll(processes.TICK_S)) is None:
            pass
    finally:
        execution.stop()
    return ended


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
    return Result(
        step.name,
        OK if ok else FAILED,
        outcome.seconds,
        passed,
        failed,
        "; ".join(notes),
        tuple(counts.failures),
        code=outcome.code,
    )


class _Surroundings:
    """The environment of a step: what it writes goes to places of its own, which are gone when it is over."""

    def __init__(self, step: Step, machine: Machine) -> None:
        self.step = step
        self.machine = machine
        self.database = f"bookshop_{os.getpid()}"
        # Short, because the tests' Unix sockets are in it, and like /tmp for the users that private servers run as.
        self.temporary = Path(tempfile.mkdtemp(prefix="wsgiperf-"))
        self.temporary.chmod(0o1777)
        self.env = {
            **machine.env,
            # What a developer's own shop holds stays as it is.
            "BOOKSHOP_DATA": str(machine.logs / f"{step.name}.bookshop"),
            "TMPDIR": str(self.temporary),
            services.MISSING_VARIABLE: json.dumps(dict(machine.missing)),
        }
        if step.database:
            server = Address.parse(machine.env[SERVICES[step.database].variable])
            self.env["DATABASE_URL"] = server.with_database(self.database).url
        self._is_clean = False

    def clean(self) -> None:
        """Remove what the step left."""
        if self._is_clean:
            return
        self._is_clean = True
        shutil.rmtree(self.temporary, ignore_errors=True)
        if self.step.database:
            # Django drops its test database itself, unless it was stopped before.
            drop = ("-m", "tests.services", "--drop", self.step.database, f"test_{self.database}")
            processes.run(
                [self.machine.driver_python, *drop],
                log=self.machine.logs / "databases.log",
                limit_s=USAGE_LIMIT_S,
                env=self.machine.env,
                cwd=self.machine.root,
            )
