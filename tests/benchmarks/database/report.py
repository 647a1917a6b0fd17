"""The tables of the benchmark of database connections. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.common.report import (
    NOTHING,
    Column,
    Row,
    Table,
    Text,
    count,
    lines,
    middle,
    ranged,
    share_of,
    shown,
    total,
)
from tests.benchmarks.common.results import Run
from tests.benchmarks.database.scenarios import HELD, INPROCESS
from tests.benchmarks.database.setups import KEEP, SETUPS
from tests.benchmarks.database.targets import over_persistent


def more(key: str) -> Text:
    """How much more than a persistent connection."""
    return lambda row: NOTHING if row.subject == KEEP else shown(over_persistent(row.run, row.subject, key))


POOL: Column = ("pool", lambda row: str(row.size) if row.size else NOTHING)
LOADED: Sequence[Column] = (
    POOL,
    ("requests/s", ranged("rate")),
    ("to CONN_MAX_AGE=None", share_of(KEEP, "rate")),
    ("p50 ms", middle("p50_ms")),
    ("p99 ms", middle("p99_ms")),
    ("CPU us a request", middle("cpu_us")),
    ("failed", total("failed")),
)
COSTS: Sequence[Column] = (
    POOL,
    ("take and give back us", ranged("exchange_us")),
    ("over CONN_MAX_AGE=None us", more("exchange_us")),
    ("the same in a bare loop us", middle("loop_us")),
    ("with its query us", middle("request_us")),
)
COUNTS: Sequence[Column] = (
    POOL,
    ("readers", count("readers")),
    ("connections held", count("held")),
    ("at most", count("held_max")),
)


def table(run: Run, scenario: str) -> Table:
    """The head and the rows of one scenario: without a pool, then large pools, then small ones."""
    columns = COSTS if scenario == INPROCESS else COUNTS if scenario.startswith(HELD) else LOADED
    order = list(SETUPS)
    found = sorted(run.rows(scenario), key=lambda row: (-row[1] if row[1] else -1000, order.index(row[0])))
    rows = [(SETUPS[setup].title, Row(run, scenario, setup, size)) for setup, size in found]
    return lines(columns, rows, "connections by")
