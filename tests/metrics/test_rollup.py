"""Sums get coarser with age: nothing is lost, nothing counted twice, whoever does it, and in whatever order."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_wsgiperf.conf import MetricsSettings
from django_wsgiperf.metrics import packing, payload, rollup
from django_wsgiperf.metrics.reading import Reader
from django_wsgiperf.metrics.stores.base import LEVELS, Extent, Report, Row, Store, StoreError
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.metrics.unread import Unread

from .conftest import Open
from .making import MS, NOON, record, requests_in, tally_of

SETTINGS = MetricsSettings()
DAY = 86_400


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn has the time for all, however busy the machine is."""
    monkeypatch.setattr(rollup, "_BUDGET_S", 600.0)


def minute(
    start: int = NOON, *, owner: str = "one:1:aa", host: str = "one", number: int = 1, closed: bool = True
) -> Row:
    """What a process wrote of a minute with `number` requests."""
    tally = tally_of([record(ttfb_ns=(n + 1) * MS) for n in range(number)])
    for sample in tally.samples:
        sample["id"] = f"{start // 60:x}-{owner}-{sample['id']}"
        sample["at"] = float(start)
    return Row(
        0,
        start,
        owner,
        host,
        closed=closed,
        version=1,
        summary=payload.pack_summary(tally, tally.total()),
        detail=payload.pack_detail(tally),
        samples=payload.pack_samples(tally.samples),
    )


def run(store: Store, now_s: int, settings: MetricsSettings = SETTINGS, owner: str = "me") -> bool:
    return rollup.run(store, settings, owner=owner, now_s=now_s)


def rows(store: Store, level: int) -> list[Row]:
    """Of one level, rolled or not."""
    found = store.read([Extent(level, 0, 1 << 40)], ("summary", "detail", "samples"))
    return sorted((row for row in found if row.level == level), key=lambda row: (row.start, row.owner))


def counted(row: Row) -> int:
    return payload.unpack_summary(row.summary)[1]["requests"]


def test_minutes_of_processes_become_one_of_their_host(store: Store) -> None:
    store.write([minute(owner=f"one:{n}:aa", number=n) for n in (1, 2, 3)])
    store.write([minute(owner="two:1:bb", host="two", number=4)])
    run(store, NOON + 160)
    assert [(row.owner, counted(row)) for row in rows(store, 60)] == [("one", 6), ("two", 4)]
    assert requests_in(store) == 10


def test_minute_that_is_not_settled_waits(store: Store) -> None:
    store.write([minute()])
    run(store, NOON + 149)
    assert rows(store, 60) == []
    assert requests_in(store) == 1


def test_minute_that_is_not_closed_waits_until_its_process_is_given_up(store: Store) -> None:
    store.write([minute(closed=False)])
    run(store, NOON + 600)
    assert rows(store, 60) == []
    run(store, NOON + rollup.GIVEN_UP_S + 61)
    assert requests_in(store) == 1
    assert store.at(0, NOON)[0].rolled


def test_every_level_has_all_requests(store: Store) -> None:
    for n in range(0, 3 * 3600, 600):
        store.write([minute(NOON + n), minute(NOON + n + 60, owner="one:2:aa", number=2)])
    for hours in (4, 14, 25):
        run(store, NOON + hours * 3600)
    for level in LEVELS[1:]:
        assert sum(map(counted, rows(store, level))) == 54, level
    assert requests_in(store) == 54


def test_late_minute_is_added_to_all_that_it_belongs_to(store: Store) -> None:
    store.write([minute()])
    for hours in (1, 4, 30):
        run(store, NOON + hours * 3600 + 300, replace(SETTINGS, retention_1m_hours=100))
    store.write([minute(owner="one:9:cc", number=5)])
    run(store, NOON + 30 * 3600 + 400, replace(SETTINGS, retention_1m_hours=100))
    for level in LEVELS[1:]:
        assert [counted(row) for row in rows(store, level)] == [6], level
    assert requests_in(store) == 6


def test_minute_that_comes_after_its_level_has_been_trimmed_goes_to_the_coarser_ones(store: Store) -> None:
    store.write([minute()])
    for hours in (1, 4, 28, 29, 30):
        run(store, NOON + hours * 3600)
    assert rows(store, 60) == [], "minutes are kept for 26 hours"
    store.write([minute(owner="one:9:cc", number=5)])
    run(store, NOON + 31 * 3600)
    run(store, NOON + 31 * 3600 + 60)
    assert [counted(row) for row in rows(store, 600)] == [6]
    assert [counted(row) for row in rows(store, 7200)] == [6]
    assert requests_in(store) == 6


def test_levels_are_trimmed_by_their_retention() -> None:
    store = MemoryStore()
    store.write([minute()])
    ages = (3600, 4 * 3600, 25 * 3600, 27 * 3600, 14 * DAY, 16 * DAY, 399 * DAY, 402 * DAY)
    left = []
    for age in ages:
        for _ in range(3):
            run(store, NOON + age)
        left.append([level for level in LEVELS[1:] if rows(store, level)])
    assert left == [[60, 600], [60, 600, 7200], [60, 600, 7200, DAY], [600, 7200, DAY], [600, 7200, DAY], [7200, DAY],
                    [7200, DAY], []]  # fmt: skip


def test_that_a_minute_was_rolled_is_remembered_for_as_long_as_it_may_be_written_again() -> None:
    store = MemoryStore()
    written = minute()
    store.write([written])
    run(store, NOON + 200)
    run(store, NOON + 3600)
    store.write([replace(written, version=2)])
    run(store, NOON + 3700)
    assert requests_in(store) == 1
    run(store, NOON + 3 * 3600)
    assert store.at(0, NOON) == []


def test_second_process_does_nothing_while_the_first_has_the_lease(store: Store) -> None:
    store.write([minute()])
    assert run(store, NOON + 100, owner="a")
    assert not run(store, NOON + 155, owner="b")
    assert requests_in(store) == 1
    assert rows(store, 60) == []
    assert run(store, NOON + 156, owner="a")
    assert len(rows(store, 60)) == 1


class Racing(MemoryStore):
    """Another process does the same just before each fold."""

    def __init__(self) -> None:
        super().__init__()
        self.races = 0

    def fold(self, put: object, taken: object) -> bool:
        if self.races:
            self.races -= 1
            super().fold(put, taken)  # type: ignore[arg-type]
        return super().fold(put, taken)  # type: ignore[arg-type]


def test_fold_that_another_process_did_first_is_not_done_twice() -> None:
    store = Racing()
    store.write([minute(owner=f"one:{n}:aa") for n in range(3)])
    store.races = 1
    run(store, NOON + 200)
    run(store, NOON + 3600)
    assert requests_in(store) == 3


def test_processes_that_roll_up_at_once_count_once(open_store: Open) -> None:
    store = open_store()
    store.write([minute(NOON + 60 * n, owner=f"one:{p}:aa") for n in range(12) for p in range(3)])
    start = threading.Barrier(3)
    errors: list[BaseException] = []

    def work(turn: int) -> None:
        try:
            mine = open_store()
            start.wait(20)
            for again in range(3):
                try:
                    # Without the lease, which only spares the work.
                    rollup._RollUp(mine, SETTINGS, NOON + 4 * 3600 + again).roll_up()
                except StoreError:
                    continue  # Locked: the next turn goes on.
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not errors
    run(store, NOON + 4 * 3600 + 100)
    for level in (60, 600, 7200):
        assert sum(map(counted, rows(store, level))) == 36, level


class Crashing(MemoryStore):
    """Breaks off after so many calls that change something, as a process that is killed does."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1 << 30

    def fold(self, put: object, taken: object) -> bool:
        self.left -= 1
        if self.left < 0:
            raise StoreError("killed")
        return super().fold(put, taken)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.booleans()), max_size=12, unique_by=lambda e: e[:2]),
    st.lists(st.tuples(st.integers(0, 40 * 3600), st.integers(0, 6)), max_size=8),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_in_whatever_order_and_wherever_it_breaks_off_nothing_is_lost_or_doubled(
    written: list[tuple[int, int, bool]], turns: list[tuple[int, int]], data: st.DataObject
) -> None:
    store = Crashing()
    waiting = [minute(NOON + 60 * at, owner=f"one:{p}:aa", closed=closed) for at, p, closed in written]
    for age, folds in turns:
        for row in list(waiting):
            if data.draw(st.booleans()):
                store.write([row])
                waiting.remove(row)
        store.left = folds
        with contextlib.suppress(StoreError):
            run(store, NOON + age)
        assert requests_in(store) == len(written) - len(waiting)
    store.left = 1 << 30
    store.write(waiting)
    for _ in range(3):
        run(store, NOON + 90 * 3600)
    assert requests_in(store) == len(written)
    assert sum(map(counted, rows(store, DAY))) == len(written)


def test_hosts_past_the_limit_are_one() -> None:
    store = MemoryStore()
    few = replace(SETTINGS, max_hosts=2)
    store.write([minute(owner=f"pod{n}:1:aa", host=f"pod{n}") for n in range(5)])
    run(store, NOON + 200, few)
    assert {row.owner: counted(row) for row in rows(store, 60)} == {"pod0": 1, "pod1": 1, "(other)": 3}
    for _ in range(3):
        run(store, NOON + 30 * 3600, few)
    assert sum(map(counted, rows(store, DAY))) == 5
    assert len(rows(store, DAY)) == 3


def test_damaged_row_is_passed_over_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.write([replace(minute(), detail=b"\x01damaged"), minute(owner="one:2:aa", number=2)])
    run(store, NOON + 200)
    assert requests_in(store) == 2
    assert "cannot be read and are lost" in caplog.text
    caplog.clear()
    run(store, NOON + 300)
    assert caplog.text == ""


def test_damaged_sum_begins_anew() -> None:
    store = MemoryStore()
    store.fold([Row(60, NOON, "one", "one", closed=True, summary=b"\x01x", detail=b"\x01x")], [])
    store.write([minute(number=2)])
    run(store, NOON + 200)
    assert requests_in(store) == 2


@pytest.mark.parametrize("newer", ["what is added", "the sum"])
def test_row_of_a_newer_version_is_left_to_it(newer: str) -> None:
    store = MemoryStore()
    later = bytes((payload.VERSION + 1,)) + b"?"
    if newer == "the sum":
        store.fold([Row(60, NOON, "one", "one", closed=True, summary=later, detail=later, samples=later)], [])
        store.write([minute()])
    else:
        store.write([replace(minute(), detail=later)])
    before = store.at(0, NOON), store.at(60, NOON)
    run(store, NOON + 200)
    assert (store.at(0, NOON), store.at(60, NOON)) == before


def test_many_rows_of_a_newer_version_hold_up_no_others(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """New and old processes write to one store while a release goes round, and also after a step back."""
    later = bytes((payload.VERSION + 1,)) + b"?"
    kept = [replace(minute(owner=f"new:{n}:aa", host="new"), summary=later, detail=later) for n in range(450)]
    store.write([*kept, *(minute(NOON + 60, owner=f"old:{n}:aa", host="old") for n in range(3))])
    unread = Unread()
    for seconds in (300, 400):
        assert rollup.run(store, SETTINGS, owner="me", now_s=NOON + seconds, unread=unread)
    assert [(row.owner, counted(row)) for row in rows(store, 60)] == [("old", 3)]
    left = {row.owner for row in rows(store, 0) if not row.rolled}
    assert left == {row.owner for row in kept}
    assert (unread.newer, unread.damaged) == (450, 0)
    assert caplog.text.count("newer django-wsgiperf") == 1


def test_sums_of_a_newer_version_hold_up_no_others(store: Store) -> None:
    later = bytes((payload.VERSION + 1,)) + b"?"
    starts = [NOON - 60 * n for n in range(210)]
    store.fold([Row(60, start, "new", "new", closed=True, summary=later, detail=later) for start in starts], [])
    store.write([minute(start, owner="new:1:aa", host="new") for start in starts])
    store.write([minute(NOON + 60, host="old")])
    unread = Unread()
    rollup.run(store, SETTINGS, owner="me", now_s=NOON + 300, unread=unread)
    assert [row.owner for row in rows(store, 60) if row.start == NOON + 60] == ["old"]


def test_newer_version_rolls_up_what_older_ones_wrote(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write([minute(owner="one:1:aa", number=2)])
    run(store, NOON + 160)
    store.write([minute(owner="one:2:aa", number=3)])
    monkeypatch.setattr(packing, "VERSION", payload.VERSION + 1)
    run(store, NOON + 240)
    (row,) = rows(store, 60)
    assert counted(row) == 5
    assert row.summary[0] == row.detail[0] == packing.VERSION
    assert requests_in(store) == 5


def test_damaged_rows_are_counted_once_each() -> None:
    store, unread = MemoryStore(), Unread()
    store.write([replace(minute(owner=f"one:{n}:aa"), detail=b"\x01damaged") for n in range(3)])
    for _ in range(2):
        reader = Reader(store, unread)
        assert list(reader.details([Extent(60, 0, 1 << 40)])) == []
    rollup.run(store, SETTINGS, owner="me", now_s=NOON + 200, unread=unread)
    assert (unread.damaged, unread.newer) == (3, 0)


def test_slowest_are_kept_at_every_level_and_the_rest_is_not() -> None:
    store = MemoryStore()
    for n in range(30):
        store.write([minute(NOON + 60 * n, number=5)])
    for hours in (1, 4, 25):
        run(store, NOON + hours * 3600)
    for level in (600, 7200, DAY):
        for row in rows(store, level):
            kept = payload.unpack_samples(row.samples)
            assert [sample["ns"] for sample in kept] == [5 * MS] * SETTINGS.slow_samples
            assert len({sample["id"] for sample in kept}) == SETTINGS.slow_samples
    assert all(not row.samples for row in rows(store, 60)), "they are in the next level"
    run(store, NOON + 29 * 3600)
    assert all(not row.samples for row in rows(store, 600))
    assert any(row.samples for row in rows(store, 7200))


def test_reports_of_the_dead_are_forgotten(store: Store) -> None:
    store.report(Report("one:1:aa", "one", NOON, b"r"))
    run(store, NOON + 60)
    assert len(store.reports(0)) == 1
    run(store, NOON + 3 * 3600)
    assert store.reports(0) == []


def test_one_turn_ends_when_its_time_is_up_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.write([minute(NOON + 60 * n) for n in range(5)])
    monkeypatch.setattr(rollup, "_BUDGET_S", 0.0)
    run(store, NOON + 3600)
    assert rows(store, 60) == []
    monkeypatch.setattr(rollup, "_BUDGET_S", 600.0)
    run(store, NOON + 3601)
    assert len(rows(store, 60)) == 5
