"""A run as tables, for the terminal and for docs/benchmarks.md. Computes medians and ratios; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.benchmarks.cache import inprocess
from tests.benchmarks.cache.results import Run
from tests.benchmarks.cache.scenarios import CROWD, HITS, INPROCESS, PURGE, TITLES
from tests.benchmarks.cache.setups import SERVE, SETUPS
from tests.benchmarks.cache.targets import judge, more
from tests.benchmarks.common import machine, verdicts
from tests.benchmarks.common.stats import Spread, paired_ratios
from tests.benchmarks.common.tables import markdown_table, number, spread, text_table

NOTHING = "-"
PLAIN = {inprocess.MISS: inprocess.MISS_PLAIN, inprocess.PASS: inprocess.PASS_PLAIN}


@dataclass(frozen=True, slots=True)
class Row:
    """Where a line of a table comes from."""

    run: Run
    scenario: str
    subject: str

    def of(self, key: str, subject: str = "") -> dict[int, float]:
        return self.run.values(self.scenario, subject or self.subject, key)


Column = tuple[str, Callable[[Row], str]]


def ranged(key: str) -> Callable[[Row], str]:
    """A median with its range over the rounds."""
    return lambda row: spread(Spread.of(list(row.of(key).values()))) if row.of(key) else NOTHING


def middle(key: str) -> Callable[[Row], str]:
    """A median."""
    return lambda row: number(statistics.median(row.of(key).values())) if row.of(key) else NOTHING


def count(key: str) -> Callable[[Row], str]:
    """A median of things that are counted."""
    return lambda row: f"{statistics.median(row.of(key).values()):,.0f}" if row.of(key) else NOTHING


def ours_to_it(row: Row) -> str:
    """The rate of `serve` from its memory divided by this one."""
    ratios = paired_ratios(row.of("rate", SERVE), row.of("rate"))
    return number(statistics.median(ratios)) if ratios and row.subject != SERVE else NOTHING


def over_plain(row: Row) -> str:
    """How much more than the same without a cache."""
    value = more(row.run, row.subject, PLAIN[row.subject]) if row.subject in PLAIN else None
    return NOTHING if value is None else number(value)


COLUMNS: dict[str, Sequence[Column]] = {
    HITS: (
        ("requests/s", ranged("rate")),
        ("serve, from memory, to it", ours_to_it),
        ("p50 ms", middle("p50_ms")),
        ("p99 ms", middle("p99_ms")),
        ("CPU us a request", middle("cpu_us")),
        ("failed", lambda row: f"{sum(row.of('failed').values()):,.0f}"),
    ),
    CROWD: (
        ("times made", count("renders")),
        ("first answer ms", middle("fastest_ms")),
        ("median ms", middle("median_ms")),
        ("all answered ms", ranged("slowest_ms")),
    ),
    INPROCESS: (("us", ranged("us")), ("more than without a cache us", over_plain)),
    PURGE: (("entries", count("entries")), ("ms", ranged("ms"))),
}
FIRST = {HITS: "cache", CROWD: "cache", INPROCESS: "way", PURGE: "kept in"}


def table(run: Run, scenario: str) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of one scenario."""
    columns = COLUMNS[scenario]
    names = run.subjects(scenario)
    if scenario in (HITS, CROWD):
        names.sort(key=list(SETUPS).index)
    rows = []
    for name in names:
        row = Row(run, scenario, name)
        title = SETUPS[name].title if name in SETUPS and scenario in (HITS, CROWD) else name
        rows.append([title, *(text(row) for _, text in columns)])
    return [FIRST[scenario], *(head for head, _ in columns)], rows


def terminal(run: Run) -> str:
    """The whole report as plain text."""
    parts = [*facts(run)]
    parts += [f"\n{TITLES[scenario]}\n{text_table(*table(run, scenario))}" for scenario in run.scenarios()]
    judged = judge(run)
    if judged:
        parts.append("\n" + text_table(verdicts.HEAD, [verdict.row() for verdict in judged]))
        parts.append(verdicts.tally(judged))
    parts += [f"note: {note}" for note in run.notes] + [f"FAILED: {failure}" for failure in run.failures]
    return "\n".join(parts)


def markdown(run: Run) -> str:
    """The whole report as the generated part of docs/benchmarks.md."""
    parts = ["\n".join(f"- {fact}" for fact in facts(run))]
    judged = judge(run)
    if judged:
        rows = [verdict.row() for verdict in judged]
        parts.append(f"#### Targets\n\n{verdicts.tally(judged)}.\n\n{markdown_table(verdicts.HEAD, rows)}")
    parts += [f"#### {TITLES[scenario]}\n\n{markdown_table(*table(run, scenario))}" for scenario in run.scenarios()]
    remarks = [*run.notes, *(f"Failed: {failure}" for failure in run.failures)]
    if remarks:
        parts.append("#### Remarks\n\n" + "\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts)


def facts(run: Run) -> list[str]:
    """The lines that say when, on what, with what and how it was measured."""
    about = run.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        f"Measured {about['date']} on {machine.line(about['machine'])}; nothing pinned to a core.",
        f"Versions: {versions}.",
        f"One worker process and {about['threads']} threads each; {about['rounds']} round"
        f"{'s' if about['rounds'] > 1 else ''}, interleaved, {about['seconds']:g} s each.",
        f"Command: `{about['command']}`",
    ]
