"""The command line that all benchmarks have: reads the options, measures, keeps the results, reports.

A benchmark says what it compares and how; see Benchmark. What it measures goes to .run/benchmarks/NAME.json, and with
--write-docs each table that was measured to its end takes its place in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from tests.benchmarks.common import machine, page, report
from tests.benchmarks.common.places import DOCS, FOLDER, ROOT
from tests.benchmarks.common.results import Run, added, load, save
from tests.benchmarks.common.turns import Effort
from tests.benchmarks.common.verdicts import Verdict
from tests.benchmarks.common.wrk import LoadError
from tests.services import ServiceMissing


class Benchmark(ABC):
    """What one benchmark brings. `subjects`: title of each that may be compared; `flag`: the option that chooses
    among them; `scenarios`: the names for --scenario; `titles`: of the tables, in the order of the page."""

    name: ClassVar[str]
    flag: ClassVar[str] = "setups"
    heading: ClassVar[str] = "####"
    usual: ClassVar[Effort]
    smoke: ClassVar[Effort]
    subjects: ClassVar[Mapping[str, str]]
    titles: ClassVar[Mapping[str, str]]

    @property
    def scenarios(self) -> Sequence[str]:
        return list(self.titles)

    @property
    def usual_subjects(self) -> Sequence[str]:
        """Who takes part when nobody is chosen."""
        return list(self.subjects)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Options of this benchmark alone."""
        return None

    def check(self, parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
        """Refuse options that do not go together, by `parser.error`."""
        return None

    def instead(self, chosen: argparse.Namespace, effort: Any) -> int | None:
        """Do something else than measuring, and give the exit code."""
        return None

    def part(self, chosen: argparse.Namespace) -> str:
        """Which part of the benchmark was chosen, where each has results and a section of the page of its own."""
        return ""

    @abstractmethod
    def measure(self, chosen: argparse.Namespace, effort: Any, run: Run) -> None:
        """Complete `run.about`, which needs `versions`, call `announce`, and measure all that was chosen.

        May raise ServiceMissing or LoadError where nothing can be measured."""

    @abstractmethod
    def table(self, run: Run, scenario: str) -> report.Table:
        """The head and the rows of one scenario."""

    @abstractmethod
    def judge(self, run: Run, scenario: str) -> list[Verdict]:
        """What was wanted of one scenario that was measured."""

    @abstractmethod
    def facts(self, about: dict[str, Any]) -> list[str]:
        """What a reader has to know beside machine, versions and command."""

    def remarks(self, run: Run, scenario: str) -> list[str]:
        """What the numbers of one scenario tell of themselves."""
        return []

    def announce(self, run: Run) -> None:
        """Show what is about to be measured on what."""
        print("\n".join(report.facts(self, run)), flush=True)


def options(benchmark: Benchmark, arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line. Ends the program on a mistake."""
    usual = benchmark.usual
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{benchmark.name}", description=sys.modules[type(benchmark).__module__].__doc__
    )
    choice = ", ".join
    parser.add_argument("--scenario", help=f"only these, with commas: {choice(benchmark.scenarios)}")
    parser.add_argument(
        f"--{benchmark.flag}", dest="subjects", help=f"only these, with commas, or all: {choice(benchmark.subjects)}"
    )
    parser.add_argument("--rounds", type=int, default=usual.rounds, help=f"default {usual.rounds}")
    parser.add_argument(
        "--seconds", type=float, default=usual.seconds, help=f"length of one measurement (default {usual.seconds:g})"
    )
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the order, and of what else is by chance")
    parser.add_argument("--smoke", action="store_true", help="everything once, briefly; fails if something does")
    parser.add_argument("--add", action="store_true", help="keep the earlier results of other scenarios")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    parser.add_argument("--again", action="store_true", help="report the results again, without measuring")
    parser.add_argument("--output", type=Path, default=None, help="where the results go as JSON")
    benchmark.add_options(parser)
    chosen = parser.parse_args(arguments)
    chosen.scenario = picked(parser, "--scenario", chosen.scenario, list(benchmark.scenarios), benchmark.scenarios)
    chosen.subjects = picked(
        parser, f"--{benchmark.flag}", chosen.subjects, list(benchmark.subjects), benchmark.usual_subjects
    )
    if chosen.smoke and chosen.write_docs:
        parser.error("--smoke measures too briefly for --write-docs")
    if chosen.rounds < 1 or chosen.seconds <= 0:
        parser.error("--rounds is at least 1, and --seconds above 0")
    lost = [name for name in benchmark.usual_subjects if name not in chosen.subjects]
    if lost and chosen.write_docs:
        parser.error(f"--write-docs would lose the rows of {choice(lost)}, which --{benchmark.flag} leaves out")
    benchmark.check(parser, chosen)
    named = "-".join(filter(None, (benchmark.name, benchmark.part(chosen), "smoke" if chosen.smoke else "")))
    chosen.output = chosen.output or FOLDER / f"{named}.json"
    return chosen


def picked(
    parser: argparse.ArgumentParser, flag: str, given: str | None, known: Sequence[str], usual: Sequence[str]
) -> list[str]:
    """Split a list that was given with commas, in the known order."""
    if not given:
        return list(usual)
    names = known if given == "all" else given.split(",")
    for name in names:
        if name not in known:
            parser.error(f"{flag} {name!r} is unknown; there are: {', '.join(known)}")
    return [name for name in known if name in names]


def main(benchmark: Benchmark) -> int:
    """The whole program. Returns 0, 1 when something failed, 2 when nothing could be measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return execute(benchmark, options(benchmark, sys.argv[1:]), sys.argv[1:])


def execute(benchmark: Benchmark, chosen: argparse.Namespace, words: Sequence[str], docs: Path = DOCS) -> int:
    """Do what was chosen by `words` on the command line."""
    usual = replace(benchmark.usual, rounds=chosen.rounds, seconds=chosen.seconds)
    effort = replace(benchmark.smoke if chosen.smoke else usual, seed=chosen.seed)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if chosen.again:
        runs = load(chosen.output)
    elif (code := benchmark.instead(chosen, effort)) is not None:
        return code
    else:
        run, began_s = new_run(benchmark, effort, words), time.monotonic()
        try:
            measure(benchmark, chosen, effort, run)
        except (ServiceMissing, LoadError) as error:
            print(error, file=sys.stderr)
            return 2
        if not run.measurements:
            print(f"nothing was measured; {chosen.output.name} is as it was", file=sys.stderr)
            return 1
        run.about["took_s"] = round(time.monotonic() - began_s)
        runs = added(load(chosen.output), run) if chosen.add and chosen.output.exists() else [run]
        save(chosen.output, runs)
    for run in runs:
        print("\n" + report.terminal(benchmark, run))
    if chosen.write_docs:
        write_docs(benchmark, chosen, runs, docs)
    return 1 if any(run.failures for run in runs) else 0


def new_run(benchmark: Benchmark, effort: Effort, words: Sequence[str]) -> Run:
    """A run that knows its machine and its command."""
    about = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.shape(),
        "pinning": "nothing pinned to a core",
        "rounds": effort.rounds,
        "seconds": effort.seconds,
        "command": shlex.join(["python", "-m", f"tests.benchmarks.{benchmark.name}", *words]),
    }
    return Run(about=about)


def measure(benchmark: Benchmark, chosen: argparse.Namespace, effort: Effort, run: Run) -> None:
    """Measure; a run that is stopped keeps what it has, which took as long as it took and is as true."""
    try:
        benchmark.measure(chosen, effort, run)
    except (KeyboardInterrupt, SystemExit):
        unfinished = [name for name in run.scenarios() if name not in run.finished]
        for scenario in unfinished:
            run.fail(f"{benchmark.titles[scenario]}: {report.STOPPED}", scenario)
        if not unfinished:
            run.fail(f"the run was {report.STOPPED}")
    if chosen.smoke:
        for item in run.measurements:
            if item.values.get("failed"):
                title = benchmark.subjects.get(item.subject, item.subject)
                run.fail(f"{title}, {item.scenario}: {item.values['failed']:.0f} requests failed", item.scenario)


def write_docs(benchmark: Benchmark, chosen: argparse.Namespace, runs: Sequence[Run], docs: Path) -> None:
    """Put every table that was measured to its end into the page, and name the others."""
    section = " ".join(filter(None, (benchmark.name, benchmark.part(chosen))))
    tables = {
        scenario: report.markdown(benchmark, run, scenario)
        for run in runs
        for scenario in report.in_order(benchmark, run)
        if scenario in run.finished
    }
    page.write_tables(docs, section, tables, list(benchmark.titles))
    where = docs.relative_to(ROOT) if docs.is_relative_to(ROOT) else docs
    print(f"wrote {', '.join(tables) or 'nothing'} to {where}")
    for run in runs:
        for scenario in run.scenarios():
            if scenario not in run.finished:
                print(f"not written, because it was {report.STOPPED}: {benchmark.titles[scenario]}")
