"""The tables of the response cache's benchmark. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.cache import inprocess
from tests.benchmarks.cache.scenarios import CROWD, HITS, INPROCESS, PURGE
from tests.benchmarks.cache.setups import SERVE, SETUPS
from tests.benchmarks.common.report import (
    NOTHING,
    Column,
    Row,
    Table,
    count,
    lines,
    middle,
    ranged,
    shown,
    to_it,
    total,
)
from tests.benchmarks.common.results import Run

PLAIN = {inprocess.MISS: inprocess.MISS_PLAIN, inprocess.PASS: inprocess.PASS_PLAIN}


def over_plain(row: Row) -> str:
    """How much more than the same without a cache."""
    plain = PLAIN.get(row.subject)
    return shown(row.run.more(row.scenario, row.subject, plain, "us")) if plain else NOTHING


COLUMNS: dict[str, Sequence[Column]] = {
    HITS: (
        ("requests/s", ranged("rate")),
        ("serve, from memory, to it", to_it(SERVE, "rate")),
        ("p50 ms", middle("p50_ms")),
        ("p99 ms", middle("p99_ms")),
        ("CPU us a request", middle("cpu_us")),
        ("failed", total("failed")),
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


def table(run: Run, scenario: str) -> Table:
    """The head and the rows of one scenario."""
    names = run.subjects(scenario)
    titles = {name: setup.title for name, setup in SETUPS.items()} if scenario in (HITS, CROWD) else {}
    if titles:
        names.sort(key=list(titles).index)
    rows = [(titles.get(name, name), Row(run, scenario, name)) for name in names]
    return lines(COLUMNS[scenario], rows, FIRST[scenario])
