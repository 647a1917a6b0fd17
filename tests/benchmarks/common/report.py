"""A run as tables, for the terminal and for docs/benchmarks.md: medians and ratios of what was measured.

Every table stands with what was wanted of it and with the machine, the versions and the command of its own run,
since the tables of a page may come from several.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.benchmarks.common import machine, verdicts
from tests.benchmarks.common.results import Run, median
from tests.benchmarks.common.stats import Spread, paired_ratios
from tests.benchmarks.common.tables import markdown_table, number, spread, text_table
from tests.benchmarks.common.verdicts import Verdict

NOTHING = "-"
STOPPED = "stopped before its end"

Table = tuple[list[str], list[list[str]]]
"""The head and the rows."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where a line of a table comes from."""

    run: Run
    scenario: str
    subject: str
    size: int = 0

    def of(self, key: str, subject: str = "") -> dict[int, float]:
        """A number of this line's subject, or of another one without a size, in each round."""
        if subject:
            return self.run.values(self.scenario, subject, key)
        return self.run.values(self.scenario, self.subject, key, self.size)


Text = Callable[[Row], str]
Column = tuple[str, Text]


def shown(value: float | None) -> str:
    return NOTHING if value is None else number(value)


def ranged(key: str, scale: float = 1.0) -> Text:
    """A median with its range over the rounds."""

    def text(row: Row) -> str:
        values = [value * scale for value in row.of(key).values()]
        return spread(Spread.of(values)) if values else NOTHING

    return text


def middle(key: str, scale: float = 1.0) -> Text:
    """A median."""
    return lambda row: shown(median(value * scale for value in row.of(key).values()))


def count(key: str) -> Text:
    """A median of things that are counted."""
    return lambda row: f"{statistics.median(row.of(key).values()):,.0f}" if row.of(key) else NOTHING


def total(key: str) -> Text:
    """A sum over the rounds."""
    return lambda row: f"{sum(row.of(key).values()):,.0f}"


def share_of(subject: str, key: str) -> Text:
    """This number divided by that of `subject` in the same round."""
    return lambda row: shown(median(paired_ratios(row.of(key), row.of(key, subject))))


def to_it(subject: str, key: str) -> Text:
    """The number of `subject` divided by this one of the same round; nothing in its own line."""

    def text(row: Row) -> str:
        return NOTHING if row.subject == subject else shown(median(paired_ratios(row.of(key, subject), row.of(key))))

    return text


def lines(columns: Sequence[Column], rows: Sequence[tuple[str, Row]], first: str) -> Table:
    """A table of columns: each row begins with its title, under the heading `first`."""
    return [first, *(head for head, _ in columns)], [
        [title, *(text(row) for _, text in columns)] for title, row in rows
    ]


class Subject(Protocol):
    """What the report has to know of a benchmark. `titles`: of its tables, by scenario, in the order of the page."""

    @property
    def titles(self) -> Mapping[str, str]: ...
    @property
    def heading(self) -> str: ...
    def table(self, run: Run, scenario: str) -> Table: ...
    def judge(self, run: Run, scenario: str) -> list[Verdict]: ...
    def facts(self, about: dict[str, Any]) -> list[str]: ...
    def remarks(self, run: Run, scenario: str) -> list[str]: ...


def facts(benchmark: Subject, run: Run) -> list[str]:
    """The lines that say when, on what, with what and how it was measured."""
    about = run.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        f"Measured {about['date']} on {machine.line(about['machine'])}; {about['pinning']}.",
        f"Versions: {versions}.",
        *benchmark.facts(about),
        f"Command: `{about['command']}`",
    ]


def rounds(about: dict[str, Any]) -> str:
    """`1 round`, `5 rounds`."""
    return f"{about['rounds']} round{'s' if about['rounds'] != 1 else ''}"


def in_order(benchmark: Subject, run: Run) -> list[str]:
    """The scenarios that were measured, in the order of the page."""
    measured = run.scenarios()
    return [name for name in benchmark.titles if name in measured]


def judged(benchmark: Subject, run: Run) -> list[Verdict]:
    """The verdicts on every scenario that was measured."""
    return [verdict for scenario in in_order(benchmark, run) for verdict in benchmark.judge(run, scenario)]


def terminal(benchmark: Subject, run: Run) -> str:
    """A whole run as plain text."""
    parts = facts(benchmark, run)
    remarks = [": ".join(filter(None, (remark.scenario, remark.text))) for remark in run.notes]
    for scenario in in_order(benchmark, run):
        ending = "" if scenario in run.finished else f" ({STOPPED})"
        parts.append(f"\n{benchmark.titles[scenario]}{ending}\n{text_table(*benchmark.table(run, scenario))}")
        remarks += [f"{scenario}: {text}" for text in benchmark.remarks(run, scenario)]
    if found := judged(benchmark, run):
        parts.append("\n" + text_table(verdicts.HEAD, [verdict.row() for verdict in found]))
        parts.append(verdicts.tally(found))
    parts += [f"note: {remark}" for remark in remarks]
    parts += [f"FAILED: {failure.text}" for failure in run.failures]
    if (seconds := run.about.get("took_s")) is not None:
        parts.append(f"This took {seconds // 60} min {seconds % 60} s.")
    return "\n".join(parts)


def markdown(benchmark: Subject, run: Run, scenario: str) -> str:
    """One scenario as its part of docs/benchmarks.md."""
    parts = [f"{benchmark.heading} {benchmark.titles[scenario]}", markdown_table(*benchmark.table(run, scenario))]
    if found := benchmark.judge(run, scenario):
        parts.append(f"{verdicts.tally(found)}:")
        parts.append(markdown_table(verdicts.HEAD, [verdict.row() for verdict in found]))
    remarks = [
        *facts(benchmark, run),
        *run.remarks(run.notes, scenario),
        *benchmark.remarks(run, scenario),
        *(f"Failed: {text}" for text in run.remarks(run.failures, scenario)),
    ]
    parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts)
