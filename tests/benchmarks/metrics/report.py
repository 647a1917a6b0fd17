"""A run as tables, for the terminal and for docs/benchmarks.md. Measures nothing."""

from __future__ import annotations

from tests.benchmarks.cache.results import Run
from tests.benchmarks.common import machine, verdicts
from tests.benchmarks.common.stats import Spread
from tests.benchmarks.common.tables import markdown_table, number, spread, text_table
from tests.benchmarks.metrics.scenarios import AGGREGATION, OVERVIEW, REQUESTS, TITLES
from tests.benchmarks.metrics.setups import BASE, SETUPS
from tests.benchmarks.metrics.targets import judge, more

NOTHING = "-"

Table = tuple[list[str], list[list[str]]]


def ranged(run: Run, scenario: str, subject: str, key: str) -> str:
    """A median with its range over the rounds."""
    values = list(run.values(scenario, subject, key).values())
    return spread(Spread.of(values)) if values else NOTHING


def table(run: Run, scenario: str) -> Table:
    """The head and the rows of one scenario."""
    if scenario == REQUESTS:
        head = ["requests measured by", "request us", "added us", "query us", "added us", "ORM query us", "added us"]
        return head, [
            [
                SETUPS[name].title,
                *(
                    text
                    for key in ("request_us", "query_us", "orm_us")
                    for text in (ranged(run, scenario, name, key), added(run, name, key))
                ),
            ]
            for name in SETUPS
            if name in run.subjects(scenario)
        ]
    if scenario == AGGREGATION:
        keys = ("rate", "share", "megabytes", "records", "dropped")
        head = ["metrics of", "requests/s", "share of a core", "MB grown", "counted", "dropped"]
        return head, [["django-wsgiperf", *(ranged(run, scenario, "ours", key) for key in keys)]]
    head = ["database", "nothing remembered ms", "just read before ms"]
    return head, [
        [subject, ranged(run, scenario, subject, "first_ms"), ranged(run, scenario, subject, "again_ms")]
        for subject in run.subjects(OVERVIEW)
    ]


def added(run: Run, name: str, key: str) -> str:
    value = more(run, name, key)
    return NOTHING if value is None or name == BASE else number(value)


def in_order(run: Run) -> list[str]:
    """The scenarios that were measured, in the order of the page."""
    return [name for name in TITLES if name in run.scenarios()]


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


def facts(run: Run) -> list[str]:
    """The lines that say when, on what, with what and how it was measured."""
    about = run.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        f"Measured {about['date']} on {machine.line(about['machine'])}; nothing pinned to a core.",
        f"Versions: {versions}.",
        f"{about['rounds']} round{'s' if about['rounds'] > 1 else ''} of {about['seconds']:g} s for each way, "
        "in-process, batches of all in turn.",
        f"Command: `{about['command']}`",
    ]
