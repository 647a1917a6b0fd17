"""A run as tables, for the terminal and for docs/benchmarks.md. Computes medians and ratios; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.benchmarks.common import machine, verdicts
from tests.benchmarks.common.stats import Spread, paired_ratios
from tests.benchmarks.common.tables import markdown_table, number, spread, text_table
from tests.benchmarks.database.results import Run
from tests.benchmarks.database.scenarios import HELD, INPROCESS, TITLES
from tests.benchmarks.database.setups import KEEP, SETUPS
from tests.benchmarks.database.targets import judge, over_persistent

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """Where a line of a table comes from."""

    run: Run
    scenario: str
    setup: str
    size: int

    def of(self, key: str) -> dict[int, float]:
        return self.run.values(self.scenario, self.setup, self.size, key)


Column = tuple[str, Callable[[Row], str]]


def ranged(key: str) -> Callable[[Row], str]:
    """A median with its range over the rounds."""
    return lambda row: spread(Spread.of(list(row.of(key).values()))) if row.of(key) else NOTHING


def middle(key: str) -> Callable[[Row], str]:
    """A median."""
    return lambda row: number(statistics.median(row.of(key).values())) if row.of(key) else NOTHING


def count(key: str) -> Callable[[Row], str]:
    """A median of things that are counted."""
    return lambda row: f"{statistics.median(row.of(key).values()):.0f}" if row.of(key) else NOTHING


def to_persistent(row: Row) -> str:
    """This rate as a share of that of a connection for each thread."""
    ratios = paired_ratios(row.of("rate"), row.run.values(row.scenario, KEEP, 0, "rate"))
    return number(statistics.median(ratios)) if ratios else NOTHING


def more(key: str) -> Callable[[Row], str]:
    """How much more than a persistent connection."""

    def text(row: Row) -> str:
        value = over_persistent(row.run, row.setup, key)
        return NOTHING if value is None or row.setup == KEEP else number(value)

    return text


LOADED: Sequence[Column] = (
    ("requests/s", ranged("rate")),
    ("to CONN_MAX_AGE=None", to_persistent),
    ("p50 ms", middle("p50_ms")),
    ("p99 ms", middle("p99_ms")),
    ("CPU us a request", middle("cpu_us")),
    ("failed", lambda row: f"{sum(row.of('failed').values()):,.0f}"),
)
COSTS: Sequence[Column] = (
    ("take and give back us", ranged("exchange_us")),
    ("over CONN_MAX_AGE=None us", more("exchange_us")),
    ("the same in a bare loop us", middle("loop_us")),
    ("with its query us", middle("request_us")),
)
COUNTS: Sequence[Column] = (
    ("readers", count("readers")),
    ("connections held", count("held")),
    ("at most", count("held_max")),
)


def table(run: Run, scenario: str) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of one scenario."""
    columns = COSTS if scenario == INPROCESS else COUNTS if scenario.startswith(HELD) else LOADED
    rows = []
    for setup, size in run.rows(scenario):
        row = Row(run, scenario, setup, size)
        rows.append([SETUPS[setup].title, str(size) if size else NOTHING, *(text(row) for _, text in columns)])
    return ["connections by", "pool", *(head for head, _ in columns)], rows


def terminal(run: Run) -> str:
    """The whole report as plain text."""
    parts = [*facts(run)]
    parts += [f"\n{TITLES[scenario]}\n{text_table(*table(run, scenario))}" for scenario in in_order(run)]
    judged = judge(run)
    if judged:
        parts.append("\n" + text_table(verdicts.HEAD, [verdict.row() for verdict in judged]))
        parts.append(verdicts.tally(judged))
    parts += [f"note: {note}" for note in run.notes] + [f"FAILED: {failure}" for failure in run.failures]
    return "\n".join(parts)


def markdown(run: Run) -> str:
    """The whole report as the generated part of docs/benchmarks.md."""
    judged = judge(run)
    parts = ["\n".join(f"- {fact}" for fact in facts(run))]
    rows = [verdict.row() for verdict in judged]
    parts.append(f"#### Targets\n\n{verdicts.tally(judged)}.\n\n{markdown_table(verdicts.HEAD, rows)}")
    parts += [f"#### {TITLES[scenario]}\n\n{markdown_table(*table(run, scenario))}" for scenario in in_order(run)]
    remarks = [*run.notes, *(f"Failed: {failure}" for failure in run.failures)]
    if remarks:
        parts.append("#### Remarks\n\n" + "\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts)


def in_order(run: Run) -> list[str]:
    """The scenarios that were measured, in the order of the page."""
    return [name for name in TITLES if name in run.scenarios()]


def facts(run: Run) -> list[str]:
    """The lines that say when, on what, with what and how it was measured."""
    about = run.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        f"Measured {about['date']} on {machine.line(about['machine'])}; nothing pinned to a core.",
        f"Versions: {versions}.",
        f"Database: {about['database']}, on the same machine, over TCP.",
        f"{about['rounds']} round{'s' if about['rounds'] > 1 else ''}, interleaved, {about['seconds']:g} s each; "
        f"serve with {about['threads']} threads in one process, {about['clients']} keep-alive connections.",
        "Command: " + ", then ".join(f"`{command}`" for command in about["commands"]),
    ]
