"""`python -m tests.benchmarks.cache`: the response cache beside nginx and Django's own, in one run."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from tests import services
from tests.benchmarks.cache import report, targets
from tests.benchmarks.cache.launching import Launcher
from tests.benchmarks.cache.scenarios import SMOKE, TITLES, Effort, execute
from tests.benchmarks.cache.setups import SETUPS, Setup
from tests.benchmarks.common import program, subjects
from tests.benchmarks.common.places import FOLDER, THREADS
from tests.benchmarks.common.report import rounds
from tests.benchmarks.common.results import Run
from tests.services import Found

SERVICES = {"redis": "Redis server", "nginx": "nginx"}


class Cache(program.Benchmark):
    """Caches of whole pages."""

    name = "cache"
    usual, smoke = Effort(), SMOKE
    subjects: ClassVar = {name: setup.title for name, setup in SETUPS.items()}
    titles: ClassVar = TITLES
    table = staticmethod(report.table)
    judge = staticmethod(targets.judge)

    def measure(self, chosen: argparse.Namespace, effort: Effort, run: Run) -> None:
        setups = available(chosen.subjects, run)
        run.about |= {"versions": versions(), "threads": THREADS}
        self.announce(run)
        with contextlib.ExitStack() as stack:
            redis = ""
            if isinstance(services.find("redis"), Found):
                redis = stack.enter_context(services.scratch_redis()).url
            execute(setups, chosen.scenario, effort, Launcher(redis, FOLDER), run)

    def facts(self, about: dict[str, Any]) -> list[str]:
        return [
            f"One worker process and {about['threads']} threads each; {rounds(about)}, interleaved, "
            f"{about['seconds']:g} s each."
        ]


def available(names: Sequence[str], run: Run) -> list[Setup]:
    """The setups that can take part here; the others are noted, or under CI counted as failures."""

    def lacking(setup: Setup) -> str:
        needs = (("redis", setup.needs_redis), ("nginx", setup.server == "nginx"))
        found = [services.find(key) for key, is_needed in needs if is_needed]
        return next((what.why for what in found if not isinstance(what, Found)), "")

    return subjects.present((SETUPS[name] for name in names), run, lacking)


def versions() -> dict[str, str]:
    found = subjects.versions("Django", "gunicorn", "django-redis", "redis")
    for key, title in SERVICES.items():
        what = services.find(key)
        if isinstance(what, Found):
            found[title] = what.version
    return found


if __name__ == "__main__":
    sys.exit(program.main(Cache()))
