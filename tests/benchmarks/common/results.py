"""A run's results as data: kept while it runs, written as JSON after it, read back to print it again.

A file holds several runs when some were added to it (`--add`): each with its own machine, command and remarks, and
no two with the same scenario.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.common.stats import paired_differences, paired_ratios
from tests.benchmarks.common.tables import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The numbers of one subject (a server, a setup, a way through the code) in one round of one scenario.

    `size` tells rows of one subject apart, such as pools of 4 and of 12 connections; 0 where there is one row."""

    scenario: str
    subject: str
    size: int = 0
    round: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that a reader has to know: of one scenario, or without one, of all."""

    text: str
    scenario: str = ""


@dataclass(slots=True)
class Run:
    """Everything that one run measured. `about` holds the machine, the versions and the command; `finished`, the
    scenarios that were measured to their end."""

    about: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)
    failures: list[Remark] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)

    def add(
        self, scenario: str, subject: str, round_: int, values: dict[str, float], *, size: int = 0, title: str = ""
    ) -> None:
        """Keep one measurement, and show it."""
        self.measurements.append(
            Measurement(scenario=scenario, subject=subject, size=size, round=round_, values=values)
        )
        shown = "  ".join(f"{key} {number(value)}" for key, value in values.items())
        print(f"{round_ + 1}  {scenario:<14}{size or '':>3}  {title or subject:<46}{shown}", flush=True)

    def note(self, text: str, scenario: str = "") -> None:
        """Keep a remark, once."""
        if (remark := Remark(text, scenario)) not in self.notes:
            self.notes.append(remark)

    def fail(self, text: str, scenario: str = "") -> None:
        """Keep a failure, and show it."""
        self.failures.append(Remark(text, scenario))
        print(f"FAILED {text}", flush=True)

    def absent(self, text: str) -> None:
        """Something cannot take part here: noted, and under CI a failure."""
        if os.environ.get("CI") == "true":
            self.fail(text)
        else:
            self.note(text)

    def scenarios(self) -> list[str]:
        return list(dict.fromkeys(item.scenario for item in self.measurements))

    def rows(self, scenario: str) -> list[tuple[str, int]]:
        """The subjects and sizes of one scenario, in the order in which they first came."""
        return list(dict.fromkeys((item.subject, item.size) for item in self._of(scenario)))

    def subjects(self, scenario: str) -> list[str]:
        """In the order in which they first came."""
        return list(dict.fromkeys(item.subject for item in self._of(scenario)))

    def values(self, scenario: str, subject: str, key: str, size: int = 0) -> dict[int, float]:
        """One number's value in each round that has it."""
        return {
            item.round: item.values[key]
            for item in self._of(scenario)
            if (item.subject, item.size) == (subject, size) and key in item.values
        }

    def middle(self, scenario: str, subject: str, key: str) -> float | None:
        """The median over the rounds; None without any."""
        return median(self.values(scenario, subject, key).values())

    def ratio(self, scenario: str, upper: str, lower: str, key: str) -> float | None:
        """The median over rounds of one subject's number divided by another's; None when they share no round."""
        return median(paired_ratios(self.values(scenario, upper, key), self.values(scenario, lower, key)))

    def more(self, scenario: str, upper: str, lower: str, key: str) -> float | None:
        """The median over rounds of what one subject's number is above another's; None when they share no round."""
        return median(paired_differences(self.values(scenario, upper, key), self.values(scenario, lower, key)))

    def remarks(self, kept: Sequence[Remark], scenario: str) -> list[str]:
        """Those of `kept` that a reader of one scenario has to know."""
        return [remark.text for remark in kept if remark.scenario in ("", scenario)]

    def _of(self, scenario: str) -> Iterable[Measurement]:
        return (item for item in self.measurements if item.scenario == scenario)

    def drop(self, scenarios: Sequence[str]) -> None:
        """Forget everything of these scenarios."""
        self.measurements = [item for item in self.measurements if item.scenario not in scenarios]
        self.notes = [remark for remark in self.notes if remark.scenario not in scenarios]
        self.failures = [remark for remark in self.failures if remark.scenario not in scenarios]
        self.finished = [name for name in self.finished if name not in scenarios]


def median(values: Iterable[float]) -> float | None:
    """None of nothing."""
    found = list(values)
    return statistics.median(found) if found else None


def added(older: Sequence[Run], newer: Run) -> list[Run]:
    """All runs, the older ones without the scenarios that the newer one has measured, and none that has nothing."""
    for run in older:
        run.drop(newer.scenarios())
    return [*(run for run in older if run.measurements), newer]


def save(path: Path, runs: Sequence[Run]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = [dataclasses.asdict(run) for run in runs]
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> list[Run]:
    """Read what save() wrote. Raises OSError, or ValueError for a file that is none."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, list):
        raise ValueError(f"{path} is not a list of runs: it was written by an older version; remove it")
    return [
        Run(
            about=entry["about"],
            measurements=[Measurement(**item) for item in entry["measurements"]],
            notes=[Remark(**item) for item in entry["notes"]],
            failures=[Remark(**item) for item in entry["failures"]],
            finished=entry["finished"],
        )
        for entry in data
    ]
