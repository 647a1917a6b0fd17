"""Minutes go to the store until they are final: nothing is lost, nothing is there twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from django_wsgiperf.metrics import rollup
from django_wsgiperf.metrics.aggregate import Aggregator
from django_wsgiperf.metrics.stores.base import Row, StoreError
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.metrics.tally import Tally
from django_wsgiperf.metrics.writer import MAX_AGE_S, Writer

from .making import ALWAYS, NOON, aggregator, record, requests_in


class Unreliable(MemoryStore):
    """Fails when it is told to: before it has written, or after."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = ""
        self.writes: list[list[Row]] = []

    def write(self, rows: Sequence[Row]) -> None:
        if self.fails == "before":
            raise StoreError("it is away")
        super().write(rows)
        self.writes.append(list(rows))
        if self.fails == "after":
            raise StoreError("the connection broke after the commit")


def made(**options: object) -> tuple[Aggregator, Writer, Unreliable, list[Tally]]:
    sums = aggregator(**options)
    forgotten: list[Tally] = []
    return sums, Writer(sums, instance="one:1:aa", host="one", forget=forgotten.append), Unreliable(), forgotten


def test_present_minute_is_written_again_with_all_it_has() -> None:
    sums, writer, store, _ = made()
    for second in (1, 11, 21):
        sums.add([record(at_s=NOON + second)], NOON + second)
        writer.write(store, NOON + second)
    assert requests_in(store) == 3
    (row,) = store.read(ALWAYS, ())
    assert (row.level, row.start, row.owner, row.host, row.closed) == (0, NOON, "one:1:aa", "one", False)
    assert row.version == 3


def test_minute_without_news_is_not_written_again() -> None:
    sums, writer, store, _ = made()
    sums.add([record(at_s=NOON + 1)], NOON + 1)
    writer.write(store, NOON + 1)
    writer.write(store, NOON + 11)
    assert len(store.writes) == 1


def test_minute_that_is_over_is_closed_and_forgotten() -> None:
    sums, writer, store, forgotten = made()
    sums.add([record(at_s=NOON + 59)], NOON + 59)
    writer.write(store, NOON + 61)
    assert [row.closed for row in store.read(ALWAYS, ())] == [False], "a record of its last second may still come"
    writer.write(store, NOON + 63)
    assert [row.closed for row in store.read(ALWAYS, ())] == [True]
    assert not sums.minutes
    assert [tally.total()["requests"] for tally in forgotten] == [1]


def test_last_writing_closes_the_present_minute() -> None:
    sums, writer, store, _ = made()
    sums.add([record(at_s=NOON + 5)], NOON + 5)
    writer.write(store, NOON + 6, last=True)
    assert [row.closed for row in store.read(ALWAYS, ())] == [True]


def test_store_away_for_ten_minutes_loses_nothing() -> None:
    sums, writer, store, _ = made()
    store.fails = "before"
    for second in range(0, 600, 10):
        sums.add([record(at_s=NOON + second)], NOON + second)
        with pytest.raises(StoreError):
            writer.write(store, NOON + second)
        writer.give_up(NOON + second)
    store.fails = ""
    writer.write(store, NOON + 601)
    assert requests_in(store) == 60
    assert sorted(row.start for row in store.read(ALWAYS, ())) == [NOON + 60 * n for n in range(10)]
    assert writer.given_up == 0


def test_what_is_kept_while_the_store_is_away_has_a_bound_and_is_counted() -> None:
    sums, writer, store, forgotten = made()
    store.fails = "before"
    for minute in range(60):
        at_s = NOON + 60 * minute
        sums.add([record(at_s=at_s)], at_s)
        with pytest.raises(StoreError):
            writer.write(store, at_s)
        writer.give_up(at_s)
        assert len(sums.minutes) <= MAX_AGE_S / 60 + 2
    store.fails = ""
    writer.write(store, NOON + 3700)
    assert requests_in(store) + writer.given_up == 60
    assert writer.given_up > 40
    assert sum(tally.total()["requests"] for tally in forgotten) == 60


def test_given_up_is_earlier_than_a_roll_up_takes_it() -> None:
    assert rollup.GIVEN_UP_S >= MAX_AGE_S + 240


def test_writing_that_came_through_and_said_it_did_not_is_repeated_without_harm() -> None:
    sums, writer, store, _ = made()
    sums.add([record(at_s=NOON + 5)], NOON + 5)
    store.fails = "after"
    with pytest.raises(StoreError):
        writer.write(store, NOON + 70)
    store.fails = ""
    writer.write(store, NOON + 80)
    assert requests_in(store) == 1


def test_minute_is_not_changed_any_more_once_its_last_writing_was_tried() -> None:
    # A roll-up may have taken what came through.
    sums, writer, store, _ = made()
    sums.add([record(at_s=NOON + 5)], NOON + 5)
    store.fails = "after"
    with pytest.raises(StoreError):
        writer.write(store, NOON + 70)
    (taken,) = store.unrolled(0, NOON + 1000, 10, closed=True)
    assert store.fold([], [taken])
    sums.add([record(at_s=NOON + 6)], NOON + 71)
    store.fails = ""
    writer.write(store, NOON + 80)
    assert requests_in(store) == 1, "the one that came late counts in the minute after"
    assert [row.start for row in store.read(ALWAYS, ())] == [NOON + 60]


def test_every_writing_has_a_version_of_its_own() -> None:
    # Or a roll-up could take one for another.
    sums, writer, store, _ = made()
    for second in (5, 6, 7):
        sums.add([record(at_s=NOON + second)], NOON + second)
        store.fails = "after"
        with pytest.raises(StoreError):
            writer.write(store, NOON + second)
    assert [rows[0].version for rows in store.writes] == [1, 2, 3]


def test_clock_that_goes_back_writes_no_minute_over_another() -> None:
    sums, writer, store, _ = made()
    sums.add([record(at_s=NOON + 5)], NOON + 5)
    writer.write(store, NOON + 65)
    sums.add([record(at_s=NOON + 66)], NOON + 66)
    back = NOON - 50
    writer.watch_clock(back)
    sums.add([record(at_s=back + 1), record(at_s=NOON + 1)], back + 2)
    writer.write(store, back + 3)
    sums.add([record(at_s=NOON + 1)], NOON + 2)
    writer.write(store, NOON + 3)
    assert requests_in(store) == 5
    assert {row.owner for row in store.read(ALWAYS, ())} == {"one:1:aa", "one:1:aa~1"}


def test_clock_that_goes_back_a_little_changes_nothing() -> None:
    sums, writer, store, _ = made()
    sums.add([record(at_s=NOON + 30)], NOON + 30)
    writer.write(store, NOON + 30)
    sums.add([record(at_s=NOON + 5)], NOON + 5)
    writer.write(store, NOON + 6)
    assert requests_in(store) == 2
    assert {row.owner for row in store.read(ALWAYS, ())} == {"one:1:aa"}


def test_clock_that_jumps_keeps_memory_bounded() -> None:
    sums, writer, store, _ = made()
    store.fails = "before"
    for turn in range(20):
        now = NOON - 3600 * turn
        writer.watch_clock(now)
        sums.add([record(at_s=now)], now)
        with pytest.raises(StoreError):
            writer.write(store, now)
        writer.give_up(now)
    assert len(list(writer.pending())) <= 5
    store.fails = ""
    writer.write(store, NOON - 3600 * 19)
    assert requests_in(store) + writer.given_up == 20


def test_samples_are_written_with_their_minute() -> None:
    sums, writer, store, _ = made()
    sums.add([record(at_s=NOON + 5), record("/b/", at_s=NOON + 5)], NOON + 5)
    writer.write(store, NOON + 5)
    (row,) = store.read(ALWAYS, ("samples",))
    first = row.samples
    assert first
    sums.add([record(at_s=NOON + 6, ttfb_ns=1)] * 10, NOON + 6)
    writer.write(store, NOON + 6)
    (row,) = store.read(ALWAYS, ("samples",))
    assert len(row.samples) >= len(first)
