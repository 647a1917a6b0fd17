"""The program that all benchmarks have, with a benchmark that measures nothing: files, the page, and early ends."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.benchmarks.cache.__main__ import Cache
from tests.benchmarks.common import machine, program, report
from tests.benchmarks.common.report import Row, Table, lines, ranged
from tests.benchmarks.common.results import Run, load
from tests.benchmarks.common.turns import Effort, turns
from tests.benchmarks.common.verdicts import Verdict
from tests.benchmarks.database.__main__ import Database
from tests.benchmarks.metrics.__main__ import Metrics
from tests.benchmarks.serving.__main__ import Serving

PAGE = "by hand\n<!-- generated: coins -->\n\nof an older form\n\n<!-- end of coins -->\nby hand, too\n"


class Coins(program.Benchmark):
    """Two subjects in three scenarios. `stops_at`: during this one, the run is stopped."""

    name = "coins"
    usual, smoke = Effort(rounds=2), Effort(rounds=1, seconds=0.1)
    subjects: ClassVar = {"heads": "Heads", "tails": "Tails"}
    titles: ClassVar = {"one": "One coin", "two": "Two coins", "three": "Three coins"}

    def __init__(self, value: float = 1.0, stops_at: str = "") -> None:
        self.value, self.stops_at = value, stops_at

    def measure(self, chosen: argparse.Namespace, effort: Effort, run: Run) -> None:
        run.about["versions"] = {"coin": "1"}
        self.announce(run)
        for scenario in chosen.scenario:
            for number, name in turns(chosen.subjects, effort):
                if scenario == self.stops_at and number:
                    raise KeyboardInterrupt
                run.add(scenario, name, number, {"throws": self.value, "failed": self.value < 0})
            run.finished.append(scenario)

    def table(self, run: Run, scenario: str) -> Table:
        rows = [(self.subjects[name], Row(run, scenario, name)) for name in sorted(run.subjects(scenario))]
        return lines([("throws", ranged("throws"))], rows, "side")

    def judge(self, run: Run, scenario: str) -> list[Verdict]:
        return [
            Verdict(scenario=scenario, what="throws", at_least=1.0, measured=run.middle(scenario, "heads", "throws"))
        ]

    def facts(self, about: dict[str, Any]) -> list[str]:
        return ["Thrown by hand."]


class Desk:
    """Where a benchmark runs: a results file and a page of its own."""

    def __init__(self, folder: Path) -> None:
        self.page, self.results = folder / "page.md", folder / "coins.json"
        self.page.write_text(PAGE)

    def run(self, benchmark: Coins, *words: str) -> int:
        words = (*words, "--output", str(self.results))
        return program.execute(benchmark, program.options(benchmark, words), words, self.page)

    def table(self, scenario: str) -> str:
        """A table's part of the page; empty when there is none."""
        _, _, rest = self.page.read_text().partition(f"<!-- table: {scenario} -->")
        return rest.partition("<!--")[0]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_each_table_has_its_targets_its_machine_and_its_command(desk: Desk) -> None:
    assert desk.run(Coins(), "--write-docs") == 0
    assert "of an older form" not in desk.page.read_text()
    for scenario in ("one", "two", "three"):
        shown = desk.table(scenario)
        assert "| Heads | 1.00 |" in shown
        assert "1 of 1 targets met" in shown
        assert machine.line(machine.shape()) in shown
        assert "`python -m tests.benchmarks.coins --write-docs --output" in shown
        assert "Thrown by hand." in shown


def test_the_end_says_how_long_it_took(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.run(Coins())
    assert re.search(r"This took 0 min \d+ s\.", capsys.readouterr().out)
    (run,) = load(desk.results)
    run.about["took_s"] = 2_705
    assert report.terminal(Coins(), run).endswith("This took 45 min 5 s.")


@pytest.mark.parametrize("more", [(), ("--add",)])
def test_a_run_of_one_scenario_leaves_the_tables_of_others_alone(desk: Desk, more: Sequence[str]) -> None:
    desk.run(Coins(1.0), "--write-docs")
    before = {scenario: desk.table(scenario) for scenario in ("one", "two", "three")}
    desk.run(Coins(5.0), "--scenario", "two", "--write-docs", *more)
    assert "| Heads | 5.00 |" in desk.table("two")
    assert (desk.table("one"), desk.table("three")) == (before["one"], before["three"])


def test_add_keeps_the_results_of_other_scenarios_with_their_own_command(desk: Desk) -> None:
    desk.run(Coins(1.0), "--rounds", "3")
    desk.run(Coins(5.0), "--scenario", "two", "--add")
    older, newer = load(desk.results)
    assert (older.scenarios(), newer.scenarios()) == (["one", "three"], ["two"])
    assert (older.about["rounds"], newer.about["rounds"]) == (3, 2)
    desk.run(Coins(), "--again", "--write-docs")
    assert "--rounds 3" in desk.table("one")
    assert "--scenario two" in desk.table("two")


def test_without_add_the_results_are_of_this_run_alone(desk: Desk) -> None:
    desk.run(Coins(1.0))
    desk.run(Coins(5.0), "--scenario", "two")
    assert [run.scenarios() for run in load(desk.results)] == [["two"]]


def test_a_stopped_run_keeps_what_it_has_says_so_and_writes_only_what_is_whole(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.run(Coins(1.0), "--write-docs")
    before = {scenario: desk.table(scenario) for scenario in ("two", "three")}
    capsys.readouterr()
    assert desk.run(Coins(5.0, stops_at="two"), "--write-docs") == 1
    (kept,) = load(desk.results)
    assert (kept.scenarios(), kept.finished) == (["one", "two"], ["one"])
    said = capsys.readouterr().out
    assert "Two coins (stopped before its end)" in said
    assert "FAILED: Two coins: stopped before its end" in said
    assert "not written, because it was stopped before its end: Two coins" in said
    assert "| Heads | 5.00 |" in desk.table("one")
    assert "stopped before" not in desk.page.read_text()
    assert {scenario: desk.table(scenario) for scenario in ("two", "three")} == before


def test_a_run_that_measured_nothing_leaves_the_results_of_the_last_one(desk: Desk) -> None:
    class Stopped(Coins):
        def measure(self, chosen: argparse.Namespace, effort: Effort, run: Run) -> None:
            raise SystemExit(143)

    desk.run(Coins(1.0))
    before = desk.results.read_text()
    assert desk.run(Stopped(), "--write-docs") == 1
    assert (desk.results.read_text(), desk.page.read_text()) == (before, PAGE)


def test_smoke_run_fails_when_a_request_did(desk: Desk) -> None:
    assert desk.run(Coins(1.0), "--smoke") == 0
    assert desk.run(Coins(-1.0), "--smoke") == 1
    assert "Heads, one: 1 requests failed" in [failure.text for failure in load(desk.results)[0].failures]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--smoke", "--write-docs"], "too briefly"),
        (["--setups", "heads", "--write-docs"], "would lose the rows of tails"),
        (["--scenario", "four"], "'four' is unknown; there are: one, two, three"),
        (["--rounds", "0"], "at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    words: Sequence[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.options(Coins(), words)
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("benchmark", [Serving(), Database(), Cache(), Metrics()], ids=lambda each: each.name)
def test_each_benchmark_has_a_section_of_the_page_for_each_of_its_parts(benchmark: program.Benchmark) -> None:
    page = program.DOCS.read_text(encoding="utf-8")
    parts = [["--database", "postgresql"], ["--database", "mysql"]] if benchmark.name == "database" else [[]]
    for words in parts:
        section = " ".join(filter(None, (benchmark.name, benchmark.part(program.options(benchmark, words)))))
        assert page.count(f"<!-- generated: {section} -->") == page.count(f"<!-- end of {section} -->") == 1


@pytest.mark.parametrize("benchmark", [Serving(), Database(), Cache(), Metrics()], ids=lambda each: each.name)
def test_every_table_of_each_benchmark_can_be_shown_and_judged(benchmark: program.Benchmark) -> None:
    run = Run(about={"date": "2026-01-01", "machine": machine.shape(), "versions": {"Django": "5.2"}})
    run.about |= {"pinning": "", "command": "", "rounds": 1, "seconds": 1.0, "threads": 12, "clients": 32}
    run.about |= {"database": "", "pages": []}
    first = next(iter(benchmark.usual_subjects))
    for scenario in benchmark.titles:
        run.add(scenario, first, 0, {})
    assert report.terminal(benchmark, run).count(report.STOPPED) == len(benchmark.titles)
    for scenario, title in benchmark.titles.items():
        assert f"{benchmark.heading} {title}\n\n| " in report.markdown(benchmark, run, scenario)
        assert all(verdict.met is None for verdict in benchmark.judge(run, scenario))
