"""`python -m tests.benchmarks.metrics`: what measuring costs, and what its sums cost to make and to read."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import dj_database_url

from tests import services
from tests.benchmarks.common import program, subjects
from tests.benchmarks.common.report import rounds
from tests.benchmarks.common.results import Run
from tests.benchmarks.metrics import report, targets
from tests.benchmarks.metrics.scenarios import OVERVIEW, SMOKE, TITLES, Effort, execute
from tests.benchmarks.metrics.setups import BASE, OURS, SETUPS, SQLITE, Setup

POSTGRESQL = "PostgreSQL"


class Metrics(program.Benchmark):
    """Ways to measure requests, beside none."""

    name = "metrics"
    usual, smoke = Effort(), SMOKE
    subjects: ClassVar = {name: setup.title for name, setup in SETUPS.items()}
    titles: ClassVar = TITLES
    table = staticmethod(report.table)
    judge = staticmethod(targets.judge)

    def check(self, parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
        if not {BASE, OURS} <= set(chosen.subjects):
            parser.error(f"--setups needs {BASE} and {OURS}: what is shown are differences")

    def measure(self, chosen: argparse.Namespace, effort: Effort, run: Run) -> None:
        setups = available(chosen.subjects, run)
        packages = {setup.package: setup.version() for setup in setups if setup.package}
        run.about["versions"] = subjects.versions("Django") | packages
        self.announce(run)
        with databases(chosen.scenario, run) as found:
            execute(chosen.scenario, setups, found, effort, run)

    def facts(self, about: dict[str, Any]) -> list[str]:
        return [f"{rounds(about)} of {about['seconds']:g} s for each way, in-process, batches of all in turn."]


def available(names: Sequence[str], run: Run) -> list[Setup]:
    """The setups that can take part here; the others are noted, or under CI counted as failures."""
    return subjects.present((SETUPS[name] for name in names), run, subjects.lacking_package)


@contextlib.contextmanager
def databases(scenarios: Sequence[str], run: Run) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    """Where thirty days are read from: a SQLite file, and PostgreSQL where there is one."""
    found: dict[str, Mapping[str, Any]] = {"SQLite": {"ENGINE": SQLITE, "NAME": ""}}
    with contextlib.ExitStack() as ending:
        if OVERVIEW in scenarios:
            try:
                address = ending.enter_context(services.scratch_database("postgres"))
                found[POSTGRESQL] = dict(dj_database_url.parse(address.url))
            except services.ServiceMissing as error:
                run.absent(f"{POSTGRESQL} was not measured: {error}")
        yield found


if __name__ == "__main__":
    sys.exit(program.main(Metrics()))
