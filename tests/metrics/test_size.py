"""Thirty days of a hundred routes have their limit, and so has what an overview of them reads."""

from __future__ import annotations

from django_wsgiperf.conf import MetricsSettings
from django_wsgiperf.metrics.reading import Window
from django_wsgiperf.metrics.stores.base import LEVELS, Row

from . import bulk
from .making import NOON

LIMIT_BYTES = 100_000_000
PAGE_BYTES = 4096
"""Of a database; a row's long columns begin on a new one."""


def test_a_hundred_routes_and_thirty_days_stay_under_a_hundred_megabytes() -> None:
    # A row of each kind stands for all of its kind, which is what takes the time; docs name the figure of all rows.
    chance_rows = bulk.kinds_of_rows(NOON + 1234, requests=6000)
    size = 0
    for level, rows in chance_rows.items():
        number = bulk.KEPT_S[level] // level
        size += number * sum(_stored(row) for row in rows) // len(rows)
    assert sum(len(rows) for rows in chance_rows.values()) >= len(LEVELS) - 1
    assert 40_000_000 < size < LIMIT_BYTES, "less would mean that the rows are not what they should be"


def _stored(row: Row) -> int:
    content = len(row.summary) + len(row.detail) + len(row.samples) + 200
    return -(-content // PAGE_BYTES) * PAGE_BYTES


def test_overview_of_thirty_days_reads_few_bytes() -> None:
    window = Window.of("30d", float(NOON), MetricsSettings())
    rows = [(extent.end - extent.begin) // extent.level for extent in window.whole()]
    assert sum(rows) < 60
    (series,) = window.series()
    assert (series.end - series.begin) // series.level <= 360
