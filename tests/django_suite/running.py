"""Runs Django's runtests.py once in a process of its own and reads what was recorded. Keeps the stock engine's runs.

A stock run depends on nothing of this project, so its outcome is kept in .run/ under all that it does depend on.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from tests import services
from tests._run import processes
from tests.django_suite import comparing, engines
from tests.django_suite.comparing import Outcome
from tests.django_suite.engines import Database
from tests.services import Address

ROOT = Path(__file__).parents[2]
#: Raised by a change of how tests are run or recorded, so that kept runs are not taken for new ones.
KEPT_FORMAT = 1
LOG_LINES = 12


class RunFailed(Exception):
    """The run did not get to its end. The message says why, with the end of its output."""


@dataclass(frozen=True, slots=True)
class Suite:
    """What is run: Django's tests of one version, and where runs are kept."""

    tests: Path
    version: str
    folder: Path
    labels: tuple[str, ...]
    limit_s: float
    show: Callable[[float, str], None] = lambda seconds, text: None

    def run(self, database: Database, side: str) -> dict[str, Outcome]:
        """Run the labels against the database with one engine. Raises RunFailed, ServiceMissing."""
        name = f"suite_{side}_{os.getpid()}"
        folder = self.folder / f"{database.name}-{side}-{os.getpid()}"
        folder.mkdir(parents=True)
        results = folder / "results.jsonl"
        log = self.folder / "logs" / f"{database.name}-{side}.log"
        log.unlink(missing_ok=True)
        facts = {"databases": database.settings(side, name, folder), "results": str(results)}
        try:
            outcome = processes.run(
                [sys.executable, "runtests.py", *self._options(), *self._labels(database)],
                log=log,
                limit_s=self.limit_s,
                env={
                    **processes.clean_environment(os.environ),
                    "PYTHONPATH": str(ROOT),
                    engines.VARIABLE: json.dumps(facts),
                },
                cwd=self.tests,
                on_output=lambda seconds, text: self.show(seconds, f"{database.title}, {side}"),
            )
            outcomes = comparing.read(results.read_text(encoding="utf-8").splitlines()) if results.exists() else {}
            # 1 is what runtests.py ends with when tests failed, which is for the comparison to judge.
            if outcome.code not in {0, 1} or not outcomes:
                how = f"stopped after {self.limit_s:.0f} s" if outcome.code is None else f"exit code {outcome.code}"
                last = "\n    ".join(processes.tail(log, LOG_LINES))
                raise RunFailed(f"{database.title}, {side}: {how} after {len(outcomes)} tests\n    {last}")
            return outcomes
        finally:
            self._clean(database, name, folder)

    def run_stock(self, database: Database, *, again: bool = False) -> dict[str, Outcome]:
        """The stock engine's outcomes, from an earlier run where nothing that matters has changed since."""
        kept = self.folder / "stock" / f"{database.name}-{self._key(database)}.json"
        if kept.exists() and not again:
            stored = json.loads(kept.read_text(encoding="utf-8"))
            return {test: Outcome(**outcome) for test, outcome in stored.items()}
        outcomes = self.run(database, engines.STOCK)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({test: asdict(outcome) for test, outcome in outcomes.items()}), encoding="utf-8")
        return outcomes

    def _options(self) -> Sequence[str]:
        return ("--settings=tests.django_suite.suite_settings", "--noinput", "--parallel=1", "--verbosity=1")

    def _labels(self, database: Database) -> list[str]:
        # Django's runner takes the PostgreSQL tests elsewhere too, and skips them one by one.
        return [label for label in self.labels if database.name == "postgresql" or label != "postgres_tests"]

    def _key(self, database: Database) -> str:
        """All that a stock run depends on, as one word."""
        found = services.find(database.service) if database.service else None
        server = found.version if isinstance(found, services.Found) else ""
        packages = sorted(f"{one.name}=={one.version}" for one in metadata.distributions())
        parts = [KEPT_FORMAT, self.version, platform.python_version(), server, *self._labels(database), *packages]
        return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:16]

    def _clean(self, database: Database, name: str, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if database.service:
            server = Address.parse(services.address(database.service))
            # Django drops them itself, unless it was stopped before.
            for left in database.test_names(name):
                services.drop_database(server, left)
