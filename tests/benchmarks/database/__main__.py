"""`python -m tests.benchmarks.database`: what the ways to give Django its connections cost, and what they hold."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from tests import services
from tests.benchmarks.common import database, program, subjects
from tests.benchmarks.common.places import FOLDER, PROJECT, ROOT, THREADS
from tests.benchmarks.common.report import rounds
from tests.benchmarks.common.results import Run
from tests.benchmarks.database import report, targets
from tests.benchmarks.database.launching import Launcher
from tests.benchmarks.database.scenarios import SMOKE, TITLES, Effort, execute
from tests.benchmarks.database.setups import MYSQL, POSTGRESQL, SETUPS, Setup
from tests.services import Address

SERVICES = {POSTGRESQL: ("postgres", "PostgreSQL"), MYSQL: ("mysql", "MariaDB")}


class Database(program.Benchmark):
    """Pools of connections, and none, on one database."""

    name = "database"
    usual, smoke = Effort(), SMOKE
    subjects: ClassVar = {name: setup.title for name, setup in SETUPS.items()}
    titles: ClassVar = TITLES
    table = staticmethod(report.table)
    judge = staticmethod(targets.judge)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--database", choices=list(SERVICES), default=POSTGRESQL)

    def part(self, chosen: argparse.Namespace) -> str:
        return str(chosen.database)

    def measure(self, chosen: argparse.Namespace, effort: Effort, run: Run) -> None:
        key, title = SERVICES[chosen.database]
        setups = available(chosen.subjects, chosen.database, run)
        with services.scratch_database(key) as address:
            fill(address)
            server = services.find(key)
            version = server.version if isinstance(server, services.Found) else ""
            shared = subjects.versions("Django", "psycopg", "mysqlclient")
            run.about |= {
                "versions": shared | {setup.package: setup.version() for setup in setups if setup.package != "Django"},
                "database": f"{title} {version}",
                "threads": THREADS,
                "clients": effort.clients,
            }
            self.announce(run)
            execute(setups, chosen.scenario, effort, Launcher(address, FOLDER / "logs"), run)

    def facts(self, about: dict[str, Any]) -> list[str]:
        return [
            f"Database: {about['database']}, on the same machine, over TCP.",
            f"{rounds(about)}, interleaved, {about['seconds']:g} s each; serve with {about['threads']} threads in one "
            f"process, {about['clients']} keep-alive connections.",
        ]


def available(names: Sequence[str], vendor: str, run: Run) -> list[Setup]:
    """The setups that can take part here; the others are noted, or under CI counted as failures."""
    chosen = [SETUPS[name] for name in names]
    for setup in chosen:
        if vendor not in setup.vendors:
            run.note(f"{setup.title} does not exist for {SERVICES[vendor][1]}.")
    return subjects.present((setup for setup in chosen if vendor in setup.vendors), run, subjects.lacking_package)


def fill(address: Address) -> None:
    """Make the benchmark project's tables and rows."""
    facts = {"database": SETUPS["close"].database(address, 0), "middleware": []}
    database.fill(
        {
            "PYTHONPATH": f"{ROOT}:{PROJECT}",
            "DJANGO_SETTINGS_MODULE": "benchsite.database_settings",
            "BENCHMARK_SETUP": json.dumps(facts),
        }
    )


if __name__ == "__main__":
    sys.exit(program.main(Database()))
