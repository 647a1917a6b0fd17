"""The tables of the metrics' benchmark. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.common.report import NOTHING, Column, Row, Table, Text, lines, ranged, shown
from tests.benchmarks.common.results import Run
from tests.benchmarks.metrics.scenarios import AGGREGATION, OVERVIEW, REQUESTS
from tests.benchmarks.metrics.setups import BASE, SETUPS
from tests.benchmarks.metrics.targets import more


def added(key: str) -> Text:
    """What is more than without any."""
    return lambda row: NOTHING if row.subject == BASE else shown(more(row.run, row.subject, key))


COLUMNS: dict[str, Sequence[Column]] = {
    REQUESTS: (
        ("request us", ranged("request_us")),
        ("added us", added("request_us")),
        ("query us", ranged("query_us")),
        ("added us", added("query_us")),
        ("ORM query us", ranged("orm_us")),
        ("added us", added("orm_us")),
    ),
    AGGREGATION: (
        ("requests/s", ranged("rate")),
        ("share of a core", ranged("share")),
        ("MB grown", ranged("megabytes")),
        ("counted", ranged("records")),
        ("dropped", ranged("dropped")),
    ),
    OVERVIEW: (("nothing remembered ms", ranged("first_ms")), ("just read before ms", ranged("again_ms"))),
}
FIRST = {REQUESTS: "requests measured by", AGGREGATION: "metrics of", OVERVIEW: "database"}


def table(run: Run, scenario: str) -> Table:
    """The head and the rows of one scenario."""
    names = run.subjects(scenario)
    if scenario == REQUESTS:
        names.sort(key=list(SETUPS).index)
    titles = {name: setup.title for name, setup in SETUPS.items()} if scenario != OVERVIEW else {}
    rows = [(titles.get(name, name), Row(run, scenario, name)) for name in names]
    return lines(COLUMNS[scenario], rows, FIRST[scenario])
