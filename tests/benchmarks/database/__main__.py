"""`python -m tests.benchmarks.database`: reads the options, fills a database, measures, reports."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests import services
from tests.benchmarks.common import machine, tables
from tests.benchmarks.database import report
from tests.benchmarks.database.launching import Launcher
from tests.benchmarks.database.results import Run
from tests.benchmarks.database.scenarios import TITLES, Effort, execute
from tests.benchmarks.database.setups import MYSQL, POSTGRESQL, SETUPS, Setup
from tests.benchmarks.serving.servers import PROJECT, ROOT, THREADS
from tests.services import Address

FOLDER = ROOT / ".run" / "benchmarks"
DOCS = ROOT / "docs" / "benchmarks.md"
PREPARE_S = 120.0
SERVICES = {POSTGRESQL: ("postgres", "PostgreSQL"), MYSQL: ("mysql", "MariaDB")}
SMOKE = Effort(rounds=1, seconds=0.3, warm_s=0.1, clients=8, readers=4, sizes=(4,))


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.database", description=__doc__)
    choice = ", ".join
    usual = Effort()
    parser.add_argument("--database", choices=list(SERVICES), default=POSTGRESQL)
    parser.add_argument("--scenario", help=f"only these, with commas: {choice(TITLES)}")
    parser.add_argument("--setups", help=f"only these, with commas: {choice(SETUPS)}")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help=f"default {usual.rounds}")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="length of one measurement")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the order")
    parser.add_argument("--smoke", action="store_true", help="everything once, briefly; fails if a setup does")
    parser.add_argument("--add", action="store_true", help="keep the last run's results of other scenarios")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    parser.add_argument("--again", action="store_true", help="report the last run again, without measuring")
    chosen = parser.parse_args(arguments)
    chosen.scenario = picked(parser, "--scenario", chosen.scenario, list(TITLES))
    chosen.setups = picked(parser, "--setups", chosen.setups, list(SETUPS))
    if chosen.smoke and chosen.write_docs:
        parser.error("--smoke measures too briefly for --write-docs")
    if chosen.rounds < 1 or chosen.seconds <= 0:
        parser.error("--rounds is at least 1, and --seconds above 0")
    return chosen


def picked(parser: argparse.ArgumentParser, flag: str, given: str | None, known: list[str]) -> list[str]:
    """Split a list that was given with commas, in the known order; all when none was given."""
    names = given.split(",") if given else known
    for name in names:
        if name not in known:
            parser.error(f"{flag} {name!r} is unknown; there are: {', '.join(known)}")
    return [name for name in known if name in names]


def available(names: Sequence[str], database: str, run: Run) -> list[Setup]:
    """The setups that can take part here; the others are noted, or under CI counted as failures."""
    present = []
    for setup in (SETUPS[name] for name in names):
        if database not in setup.vendors:
            run.notes.append(f"{setup.title} does not exist for {SERVICES[database][1]}.")
        elif not setup.version():
            remark = f"{setup.title} was not measured: the package {setup.package} is not installed"
            (run.failures if os.environ.get("CI") == "true" else run.notes).append(remark)
        else:
            present.append(setup)
    return present


def fill(address: Address) -> None:
    """Make the benchmark project's tables and rows."""
    entry = SETUPS["close"].database(address, 0)
    facts = {"database": entry, "middleware": []}
    env = {"DJANGO_SETTINGS_MODULE": "benchsite.database_settings", "BENCHMARK_SETUP": json.dumps(facts)}
    subprocess.run(
        [sys.executable, "manage.py", "fill_benchmark"], cwd=PROJECT, check=True, timeout=PREPARE_S,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{PROJECT}", **env},
    )  # fmt: skip


def measure(chosen: argparse.Namespace) -> Run:
    """Prepare and run everything that was chosen. Raises ServiceMissing."""
    key, title = SERVICES[chosen.database]
    effort = SMOKE if chosen.smoke else Effort(rounds=chosen.rounds, seconds=chosen.seconds)
    effort = replace(effort, seed=chosen.seed)
    run = Run(about={})
    setups = available(chosen.setups, chosen.database, run)
    with services.scratch_database(key) as address:
        fill(address)
        server = services.find(key)
        version = server.version if isinstance(server, services.Found) else ""
        shared = {name: importlib.metadata.version(name) for name in ("Django", "psycopg", "mysqlclient")}
        run.about = {
            "date": datetime.date.today().isoformat(),
            "machine": machine.shape(),
            "versions": shared | {setup.package: setup.version() for setup in setups if setup.package != "Django"},
            "database": f"{title} {version}",
            "rounds": effort.rounds,
            "seconds": effort.seconds,
            "threads": THREADS,
            "clients": effort.clients,
            "commands": [shlex.join(["python", "-m", "tests.benchmarks.database", *sys.argv[1:]])],
        }
        print("\n".join(report.facts(run)), flush=True)
        try:
            execute(setups, chosen.scenario, effort, Launcher(address, FOLDER / "logs"), run)
        except (KeyboardInterrupt, SystemExit):
            # What was measured until then took as long as it took, and is as true.
            run.failures.append("the run was stopped before its end")
    return run


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options(sys.argv[1:])
    results: Path = FOLDER / f"database-{chosen.database}{'-smoke' if chosen.smoke else ''}.json"
    if chosen.again:
        run = Run.load(results)
    else:
        FOLDER.mkdir(parents=True, exist_ok=True)
        try:
            run = measure(chosen)
        except services.ServiceMissing as error:
            print(error, file=sys.stderr)
            return 2
        if chosen.smoke:
            failed = [item for item in run.measurements if item.values.get("failed")]
            run.failures += [f"{SETUPS[item.setup].title}, {item.scenario}: requests failed" for item in failed]
        if chosen.add and results.exists():
            run.keep(Run.load(results))
        run.save(results)
    print("\n" + report.terminal(run))
    if chosen.write_docs:
        tables.write_generated(DOCS, f"database {chosen.database}", report.markdown(run))
        print(f"wrote {DOCS.relative_to(ROOT)}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
