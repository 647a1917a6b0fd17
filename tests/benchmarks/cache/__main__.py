"""`python -m tests.benchmarks.cache`: reads the options, starts the caches, measures, reports."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests import services
from tests.benchmarks.cache import report
from tests.benchmarks.cache.launching import Launcher
from tests.benchmarks.cache.results import Run
from tests.benchmarks.cache.scenarios import SMOKE, TITLES, Effort, execute
from tests.benchmarks.cache.setups import SETUPS, Setup
from tests.benchmarks.common import machine, tables
from tests.benchmarks.serving.servers import ROOT, THREADS
from tests.services import Found

FOLDER = ROOT / ".run" / "benchmarks"
DOCS = ROOT / "docs" / "benchmarks.md"
#: The longest that Redis may hold a claimed database; a full run is far shorter.
SERVICES = {"redis": "Redis", "nginx": "nginx"}


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cache", description=__doc__)
    choice = ", ".join
    usual = Effort()
    parser.add_argument("--scenario", help=f"only these, with commas: {choice(TITLES)}")
    parser.add_argument("--setups", help=f"only these, with commas: {choice(SETUPS)}")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help=f"default {usual.rounds}")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="length of one measurement")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the order")
    parser.add_argument("--smoke", action="store_true", help="everything once, briefly; fails if a cache does")
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


def available(names: Sequence[str], run: Run) -> list[Setup]:
    """The setups that can take part here; the others are noted, or under CI counted as failures."""
    present = []
    for setup in (SETUPS[name] for name in names):
        needs = [
            key for key, is_needed in (("redis", setup.needs_redis), ("nginx", setup.server == "nginx")) if is_needed
        ]
        lacking = [what for key in needs if not isinstance(what := services.find(key), Found)]
        if lacking:
            remark = f"{setup.title} was not measured: {lacking[0].why}"
            (run.failures if os.environ.get("CI") == "true" else run.notes).append(remark)
        else:
            present.append(setup)
    return present


def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in ("Django", "gunicorn", "django-redis", "redis")}
    for key, title in SERVICES.items():
        what = services.find(key)
        if isinstance(what, Found):
            found[title if title != "Redis" else "Redis server"] = what.version
    return found


def measure(chosen: argparse.Namespace) -> Run:
    """Prepare and run everything that was chosen."""
    effort = SMOKE if chosen.smoke else replace(Effort(), rounds=chosen.rounds, seconds=chosen.seconds)
    effort = replace(effort, seed=chosen.seed)
    run = Run(about={})
    setups = available(chosen.setups, run)
    run.about = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.shape(),
        "versions": versions(),
        "threads": THREADS,
        "rounds": effort.rounds,
        "seconds": effort.seconds,
        "command": shlex.join(["python", "-m", "tests.benchmarks.cache", *sys.argv[1:]]),
    }
    print("\n".join(report.facts(run)), flush=True)
    with contextlib.ExitStack() as stack:
        redis = ""
        if isinstance(services.find("redis"), Found):
            redis = stack.enter_context(services.scratch_redis()).url
        try:
            execute(setups, chosen.scenario, effort, Launcher(redis, FOLDER), run)
        except (KeyboardInterrupt, SystemExit):
            # What was measured until then took as long as it took, and is as true.
            run.failures.append("the run was stopped before its end")
    return run


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options(sys.argv[1:])
    results: Path = FOLDER / f"cache{'-smoke' if chosen.smoke else ''}.json"
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
            run.failures += [f"{SETUPS[item.subject].title}, {item.scenario}: requests failed" for item in failed]
        run.save(results)
    print("\n" + report.terminal(run))
    if chosen.write_docs:
        tables.write_generated(DOCS, "cache", report.markdown(run))
        print(f"wrote {DOCS.relative_to(ROOT)}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
