"""`python -m tests.benchmarks.metrics`: reads the options, measures, reports."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dj_database_url

from tests import services
from tests.benchmarks.cache.results import Run
from tests.benchmarks.common import machine, tables
from tests.benchmarks.metrics import report
from tests.benchmarks.metrics.scenarios import OVERVIEW, ROOT, SMOKE, TITLES, Effort, execute
from tests.benchmarks.metrics.setups import BASE, OURS, SETUPS, SQLITE, Setup

FOLDER = ROOT / ".run" / "benchmarks"
DOCS = ROOT / "docs" / "benchmarks.md"
POSTGRESQL = "PostgreSQL"


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.metrics", description=__doc__)
    choice = ", ".join
    usual = Effort()
    parser.add_argument("--scenario", help=f"only these, with commas: {choice(TITLES)}")
    parser.add_argument("--setups", help=f"only these, with commas: {choice(SETUPS)}")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help=f"default {usual.rounds}")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of a round for each way")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the order")
    parser.add_argument("--smoke", action="store_true", help="everything once, briefly; fails if something does")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    parser.add_argument("--again", action="store_true", help="report the last run again, without measuring")
    chosen = parser.parse_args(arguments)
    chosen.scenario = picked(parser, "--scenario", chosen.scenario, list(TITLES))
    chosen.setups = picked(parser, "--setups", chosen.setups, list(SETUPS))
    if chosen.smoke and chosen.write_docs:
        parser.error("--smoke measures too briefly for --write-docs")
    if chosen.rounds < 1 or chosen.seconds <= 0:
        parser.error("--rounds is at least 1, and --seconds above 0")
    if not {BASE, OURS} <= set(chosen.setups):
        parser.error(f"--setups needs {BASE} and {OURS}: what is shown are differences")
    return chosen


def picked(parser: argparse.ArgumentParser, flag: str, given: str | None, known: list[str]) -> list[str]:
    """Split a list that was given with commas, in the known order; all when none was given."""
    names = given.split(",") if given else known
    for name in names:
        if name not in known:
            parser.error(f"{flag} {name!r} is unknown; there are: {', '.join(known)}")
    return [name for name in known if name in names]


def available(names: Sequence[str], run: Run) -> list[Setup]:
    """The setups that can take part here; the others are noted, or under CI counted as failures."""
    present = []
    for setup in (SETUPS[name] for name in names):
        if setup.version():
            present.append(setup)
        else:
            remark = f"{setup.title} was not measured: the package {setup.package} is not installed"
            (run.failures if os.environ.get("CI") == "true" else run.notes).append(remark)
    return present


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
                remark = f"{POSTGRESQL} was not measured: {error}"
                (run.failures if os.environ.get("CI") == "true" else run.notes).append(remark)
        yield found


def measure(chosen: argparse.Namespace) -> Run:
    """Prepare and run everything that was chosen."""
    effort = SMOKE if chosen.smoke else Effort(rounds=chosen.rounds, seconds=chosen.seconds)
    effort = replace(effort, seed=chosen.seed)
    run = Run(about={})
    setups = available(chosen.setups, run)
    run.about = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.shape(),
        "versions": {"Django": importlib.metadata.version("Django")}
        | {setup.package: setup.version() for setup in setups if setup.package},
        "rounds": effort.rounds,
        "seconds": effort.seconds,
        "command": shlex.join(["python", "-m", "tests.benchmarks.metrics", *sys.argv[1:]]),
    }
    print("\n".join(report.facts(run)), flush=True)
    try:
        with databases(chosen.scenario, run) as found:
            execute(chosen.scenario, setups, found, effort, run)
    except (KeyboardInterrupt, SystemExit):
        # What was measured until then took as long as it took, and is as true.
        run.failures.append("the run was stopped before its end")
    return run


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options(sys.argv[1:])
    results: Path = FOLDER / f"metrics{'-smoke' if chosen.smoke else ''}.json"
    if chosen.again:
        run = Run.load(results)
    else:
        FOLDER.mkdir(parents=True, exist_ok=True)
        run = measure(chosen)
        run.save(results)
    print("\n" + report.terminal(run))
    if chosen.write_docs:
        tables.write_generated(DOCS, "metrics", report.markdown(run))
        print(f"wrote {DOCS.relative_to(ROOT)}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
