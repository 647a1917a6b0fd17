"""What is measured: batches of all ways in turn, the metrics' thread under load, the first screen of thirty days."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.common import turns
from tests.benchmarks.common.asking import Broken, json_lines
from tests.benchmarks.common.places import ROOT
from tests.benchmarks.common.results import Run
from tests.benchmarks.common.stats import schedule
from tests.benchmarks.metrics.setups import QUERIES, Setup

REQUESTS, AGGREGATION, OVERVIEW = "requests", "aggregation", "overview"
TITLES: Mapping[str, str] = {
    REQUESTS: "What a request and a query cost more",
    AGGREGATION: "Sums of 1,000 requests a second",
    OVERVIEW: "The overview of thirty days of a hundred routes",
}
RATE = 1000
PAGES = ("plain", "queries", "orm")
ANSWER_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort(turns.Effort):
    """How long everything takes. `seconds`: of a round for each way."""

    seconds: float = 6.0
    batches: int = 12
    """Of a round, for each way and page."""
    aggregate_s: float = 150.0
    """More than two minutes, so that two of them are written for good."""
    stored: int = 6000
    """Requests a minute that the stored rows were made of."""
    brief: bool = False
    """Minutes and ten minutes of the last hours only: the overview reads few of them, and they take long to make."""


SMOKE = Effort(rounds=1, seconds=0.3, batches=2, aggregate_s=3.0, stored=300, brief=True)


def environment() -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WSGIPERF_", "DJANGO_"))}
    return {**clean, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


class Child:
    """A way in a process of its own, which does a batch when it is told to."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self.setup = setup
        self._errors = (folder / f"{setup.name}.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.metrics.child", setup.name, str(folder / f"{setup.name}.sqlite3")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment(), cwd=ROOT, text=True,
        )  # fmt: skip

    def wait(self) -> None:
        """Until it is ready. Raises Broken."""
        self._line()

    def batch(self, page: str, seconds: float) -> float:
        """The median us of a request. Raises Broken."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{page} {seconds}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> Any:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(ANSWER_S) else ""
        if not line:
            self._errors.seek(0)
            words = " | ".join(self._errors.read().strip().splitlines()[-3:])
            raise Broken(f"{self.setup.title}: {words or 'no answer'}")
        return json.loads(line)

    def stop(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def requests(setups: Sequence[Setup], effort: Effort, run: Run, folder: Path) -> None:
    """Batches of all ways take turns; the median of a round's batches counts."""
    with contextlib.ExitStack() as ending:
        children: dict[str, Child] = {}
        for setup in setups:
            children[setup.name] = child = Child(setup, folder)
            ending.callback(child.stop)
        for child in children.values():
            child.wait()
        batch_s = effort.seconds / effort.batches / len(PAGES)
        for number, names in enumerate(schedule(list(children), effort.rounds, effort.seed)):
            took: dict[str, dict[str, list[float]]] = {name: {page: [] for page in PAGES} for name in names}
            for _ in range(effort.batches):
                for name in names:
                    for page, batches in took[name].items():
                        batches.append(children[name].batch(page, batch_s))
            for name, pages in took.items():
                plain, queries, orm = (statistics.median(pages[page]) for page in PAGES)
                values = {
                    "request_us": plain,
                    "query_us": (queries - plain) / QUERIES,
                    "orm_us": (orm - plain) / QUERIES,
                }
                run.add(REQUESTS, name, number, values, title=children[name].setup.title)


def aggregation(effort: Effort, run: Run, folder: Path) -> None:
    """Once: it takes as long as it takes."""
    words = [str(RATE), str(effort.aggregate_s), str(folder / "sums.sqlite3")]
    values = program("aggregation", *words, limit_s=effort.aggregate_s + 60)[-1]
    if values["dropped"]:
        run.fail(f"{values['dropped']} of {values['records']} records were dropped", AGGREGATION)
    run.add(AGGREGATION, "ours", 0, values)


def overview(databases: Mapping[str, Mapping[str, Any]], effort: Effort, run: Run) -> None:
    """All databases in one process, in turn."""
    words = [json.dumps(databases), str(effort.rounds), str(effort.stored), str(int(effort.brief))]
    stored, *rounds = program("overview", *words, limit_s=420)
    size = f"{stored['rows']:,} rows of {stored['megabytes']:.1f} MB"
    run.note(f"Thirty days of a hundred routes are {size}.", OVERVIEW)
    for number, line in enumerate(rounds):
        for alias, values in line.items():
            run.add(OVERVIEW, alias, number, values)


def program(name: str, *arguments: str, limit_s: float) -> list[Any]:
    """Run one of the programs here to its end; what it printed. Raises Broken."""
    return json_lines(f"tests.benchmarks.metrics.{name}", arguments, limit_s=limit_s, env=environment())


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """For the databases of one run."""
    with tempfile.TemporaryDirectory(prefix="benchmark-metrics-") as path:
        yield Path(path)


def execute(
    chosen: Sequence[str],
    setups: Sequence[Setup],
    databases: Mapping[str, Mapping[str, Any]],
    effort: Effort,
    run: Run,
) -> None:
    """Everything that was chosen. What breaks is noted as a failure, and the rest is measured all the same."""
    with folder() as path:
        files = {alias: {**entry} for alias, entry in databases.items()}
        for entry in files.values():
            if entry["ENGINE"].endswith("sqlite3"):
                entry["NAME"] = str(path / "overview.sqlite3")
        steps: Mapping[str, Callable[[], None]] = {
            REQUESTS: lambda: requests(setups, effort, run, path),
            AGGREGATION: lambda: aggregation(effort, run, path),
            OVERVIEW: lambda: overview(files, effort, run),
        }
        for scenario in chosen:
            try:
                steps[scenario]()
            except Broken as error:
                run.fail(f"{TITLES[scenario]}: {error}", scenario)
            else:
                run.finished.append(scenario)
