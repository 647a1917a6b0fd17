"""What every store promises, on real servers: rows that are written again, consistent looks, folds all or nothing."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connections, transaction

from django_wsgiperf.db import registry
from django_wsgiperf.metrics.stores.base import EMPTIED, LEVELS, Extent, Report, Row, Store
from django_wsgiperf.metrics.stores.base import StoreError as StoreBusy
from django_wsgiperf.metrics.stores.database import DatabaseStore

from .conftest import ALIAS, Open, database, entry_of
from .making import ALWAYS, NOON, key

ONE = Row(0, NOON, "one:1:aa", "one", version=1, summary=b"s1", detail=b"d1", samples=b"x1")
TWO = replace(ONE, owner="two:1:bb", host="two")
HOUR = Row(60, NOON, "one", "one", closed=True, summary=b"S", detail=b"D", samples=b"X")


def everything(store: Store, *extents: Extent) -> dict[tuple[int, int, str], Row]:
    return {key(row): row for row in store.read(list(extents) or ALWAYS, ("summary", "detail", "samples"))}


def test_row_is_read_as_it_was_written(store: Store) -> None:
    store.write([ONE, TWO])
    assert everything(store) == {key(ONE): ONE, key(TWO): TWO}


def test_row_is_written_in_its_own_place(store: Store) -> None:
    store.write([ONE])
    again = replace(ONE, version=2, closed=True, summary=b"s2", detail=bytes(range(256)), samples=b"")
    store.write([again, TWO])
    assert everything(store) == {key(ONE): again, key(TWO): TWO}


def test_only_the_parts_that_are_asked_for_are_read(store: Store) -> None:
    store.write([ONE])
    for part in ("summary", "detail", "samples"):
        (row,) = store.read(ALWAYS, (part,))
        empty = {name: b"" for name in ("summary", "detail", "samples") if name != part}
        assert row == replace(ONE, **empty)


def test_rows_of_one_host_alone(store: Store) -> None:
    store.write([ONE, TWO])
    assert [row.owner for row in store.read(ALWAYS, (), "two")] == ["two:1:bb"]
    assert list(store.read(ALWAYS, (), "three")) == []


def test_extent_ends_before_its_end(store: Store) -> None:
    store.write([replace(ONE, start=NOON + 60 * n) for n in range(4)])
    found = store.read([Extent(60, NOON + 60, NOON + 180)], ())
    assert sorted(row.start for row in found) == [NOON + 60, NOON + 120]


def test_extents_that_overlap_give_a_row_once(store: Store) -> None:
    store.write([ONE])
    extents = [Extent(60, NOON, NOON + 60), Extent(600, NOON, NOON + 600), Extent(600, NOON, NOON + 60)]
    assert len(list(store.read(extents, ()))) == 1


def test_nothing_is_read_of_no_extent(store: Store) -> None:
    store.write([ONE])
    assert list(store.read([], ())) == []


def test_fold_puts_the_sum_and_empties_what_is_in_it(store: Store) -> None:
    store.write([replace(ONE, closed=True), TWO])
    assert store.fold([HOUR], [replace(ONE, closed=True)])
    assert everything(store) == {key(HOUR): replace(HOUR, version=1), key(TWO): TWO}
    assert {key(row) for row in store.at(0, NOON)} == {key(ONE), key(TWO)}, "that it was rolled is remembered"


def test_finer_rows_that_are_rolled_are_read_as_the_coarser_one(store: Store) -> None:
    store.fold([HOUR], [])
    ten = replace(HOUR, level=600, summary=b"T")
    assert store.fold([ten], [replace(HOUR, version=1)])
    assert set(everything(store, Extent(600, NOON, NOON + 600))) == {key(ten)}
    kept = everything(store, Extent(60, NOON, NOON + 600))[key(HOUR)]
    assert (kept.rolled, kept.summary, kept.detail, kept.samples) == (True, b"S", b"D", b"")


@pytest.mark.parametrize("level", LEVELS[2:-1])
def test_coarse_rows_keep_their_samples_when_they_are_rolled(store: Store, level: int) -> None:
    assert level not in EMPTIED
    store.fold([replace(HOUR, level=level)], [])
    assert store.fold([], [replace(HOUR, level=level, version=1)])
    (row,) = store.at(level, NOON)
    assert row.rolled
    assert row.samples == b"X"


def test_row_that_was_rolled_is_never_written_again(store: Store) -> None:
    closed = replace(ONE, closed=True)
    store.write([closed])
    assert store.fold([HOUR], [closed])
    store.write([replace(closed, version=2)])
    assert set(everything(store)) == {key(HOUR)}


def test_fold_into_a_row_that_is_there_replaces_it(store: Store) -> None:
    assert store.fold([HOUR], [])
    assert store.fold([replace(HOUR, version=1, summary=b"more")], [])
    (row,) = store.at(60, NOON)
    assert (row.version, row.summary) == (2, b"more")


def refused(store: Store, put: list[Row], taken: list[Row]) -> None:
    before = {key(row): row for level in LEVELS for row in store.at(level, NOON)}
    assert not store.fold(put, taken)
    assert {key(row): row for level in LEVELS for row in store.at(level, NOON)} == before


def test_fold_is_refused_whole_when_the_sum_has_changed(store: Store) -> None:
    closed = replace(ONE, closed=True)
    store.write([closed])
    store.fold([HOUR], [])
    refused(store, [HOUR], [closed])
    refused(store, [replace(HOUR, version=7)], [closed])
    refused(store, [replace(HOUR, start=NOON, owner="new", version=1)], [closed])


def test_fold_is_refused_whole_when_what_is_taken_has_changed(store: Store) -> None:
    store.write([ONE])
    refused(store, [HOUR], [replace(ONE, version=2)])
    refused(store, [HOUR], [TWO])
    store.fold([HOUR], [ONE])
    refused(store, [replace(HOUR, owner="other")], [ONE])


def test_fold_is_refused_whole_when_the_last_of_many_has_changed(store: Store) -> None:
    store.write([ONE, TWO])
    refused(store, [HOUR, replace(HOUR, level=600)], [ONE, replace(TWO, version=5)])


def test_of_folds_at_the_same_time_one_succeeds(open_store: Open) -> None:
    store = open_store()
    closed = [replace(ONE, closed=True, start=NOON + 60 * n) for n in range(6)]
    store.write(closed)
    start = threading.Barrier(3)
    won: list[int] = []
    errors: list[BaseException] = []

    def fold() -> None:
        try:
            mine = open_store()
            start.wait(20)
            for row in closed:
                # As a roll-up does it: who is refused or told to wait tries the next time.
                try:
                    if mine.fold([replace(HOUR, start=row.start)], [row]):
                        won.append(row.start)
                except StoreBusy:
                    continue
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert len(won) == len(set(won))
    assert len(everything(store)) == 6
    assert all(row.version == 1 for row in everything(store).values())


def test_reader_sees_each_row_once_while_rows_are_folded(open_store: Open) -> None:
    store = open_store()
    count = 40
    rows = [replace(ONE, closed=True, start=NOON + 60 * n) for n in range(count)]
    store.write(rows)
    done = threading.Event()
    errors: list[BaseException] = []

    def fold() -> None:
        try:
            mine = open_store()
            for row in rows:
                while True:
                    try:
                        assert mine.fold([replace(HOUR, start=row.start)], [row])
                        break
                    except StoreBusy:
                        continue
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=fold)
    thread.start()
    looks = 0
    while not done.is_set() or not looks:
        found = [row.start for row in store.read([Extent(60, NOON, NOON + 60 * count)], ())]
        assert sorted(found) == [row.start for row in rows]
        looks += 1
    thread.join(60)
    assert not errors


def test_unrolled_are_told_oldest_first_and_by_whether_they_are_closed(store: Store) -> None:
    rows = [replace(ONE, start=NOON + 60 * n, closed=n % 2 == 0) for n in range(6)]
    store.write(rows[::-1])
    store.fold([], [rows[0]])
    assert store.unrolled(0, NOON + 300, 10, closed=True) == [rows[2], rows[4]]
    assert store.unrolled(0, NOON + 300, 1, closed=True) == [rows[2]]
    assert store.unrolled(0, NOON + 300, 1, closed=True, skip=1) == [rows[4]]
    assert store.unrolled(0, NOON + 300, 9, closed=True, skip=2) == []
    assert store.unrolled(0, NOON + 300, 10, closed=False) == [rows[1], rows[3]]
    assert store.unrolled(60, NOON + 300, 10, closed=True) == []


def test_trimming_takes_rolled_rows_that_are_old_a_few_at_a_time(store: Store) -> None:
    rows = [replace(HOUR, start=NOON + 60 * n) for n in range(6)]
    store.fold(rows, [])
    store.fold([], [replace(row, version=1) for row in rows[:4]])
    assert store.trim(60, NOON + 180, 2) == 2
    assert store.trim(60, NOON + 180, 2) == 1
    assert store.trim(60, NOON + 180, 2) == 0
    left = [row.start - NOON for row in store.read([Extent(60, 0, 1 << 40)], ())]
    assert sorted(left) == [180, 240, 300]
    store.trim(60, NOON + 10_000, 10)
    assert len(store.unrolled(60, NOON + 10_000, 10, closed=True)) == 2, "what was not rolled is never trimmed"


def test_last_level_is_trimmed_by_age_alone(store: Store) -> None:
    store.fold([replace(HOUR, level=LEVELS[-1])], [])
    assert store.trim(LEVELS[-1], NOON, 10) == 0
    assert store.trim(LEVELS[-1], NOON + 1, 10) == 1
    assert everything(store) == {}


def test_samples_are_trimmed_before_their_rows(store: Store) -> None:
    rows = [replace(HOUR, level=600, start=NOON + 600 * n) for n in range(5)]
    store.fold(rows, [])
    for _ in range(10):
        store.trim(600, NOON + 1800, 2, samples_only=True)
    found = {row.start: row.samples for row in store.read([Extent(600, 0, 1 << 40)], ("samples",))}
    assert found == {row.start: b"" if row.start < NOON + 1800 else b"X" for row in rows}
    assert store.trim(600, NOON + 1800, 2, samples_only=True) == 0


def test_lease_is_one_owners_until_it_ends(store: Store) -> None:
    assert store.lease("rollup", "a", NOON, 60)
    assert not store.lease("rollup", "b", NOON + 1, 60)
    assert store.lease("rollup", "a", NOON + 2, 60), "its owner prolongs it"
    assert store.lease("other", "b", NOON + 2, 60)


def test_of_many_that_want_a_lease_at_once_one_gets_it(open_store: Open) -> None:
    open_store()
    start = threading.Barrier(4)
    got: list[str] = []
    errors: list[BaseException] = []

    def want(owner: str) -> None:
        try:
            mine = open_store()
            start.wait(20)
            try:
                if mine.lease("rollup", owner, NOON, 60):
                    got.append(owner)
            except StoreBusy:
                pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=want, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert len(got) == 1


def test_processes_report_and_leave(store: Store) -> None:
    one, two = Report("one:1:aa", "one", NOON, b"\x00r1"), Report("two:1:bb", "two", NOON + 50, b"r2")
    store.report(one)
    store.report(two)
    store.report(replace(one, seen=NOON + 20, report=b"again"))
    assert sorted(each.report for each in store.reports(NOON + 20)) == [b"again", b"r2"]
    assert [each.instance for each in store.reports(NOON + 21)] == ["two:1:bb"]
    store.forget_reports(NOON + 30)
    assert [each.instance for each in store.reports(0)] == ["two:1:bb"]
    store.remove("two:1:bb")
    store.remove("never:1:cc")
    assert store.reports(0) == []


def test_names_may_hold_anything_that_hosts_are_called(store: Store) -> None:
    odd = replace(ONE, owner="höst-1.example:99:ab~2", host="höst-1.example")
    store.write([odd])
    store.report(Report(odd.owner, odd.host, NOON, b"r"))
    assert everything(store) == {key(odd): odd}
    assert [each.instance for each in store.reports(0)] == [odd.owner]


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
@pytest.mark.parametrize("atomic", [False, True])
def test_reading_ends_when_the_table_is_locked_for_long(
    kind: str, atomic: bool, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_wsgiperf.metrics.stores.database._READ_S", 0.2)
    lock = {
        "postgres": ["BEGIN", "LOCK TABLE wsgiperf_bucket, wsgiperf_process IN ACCESS EXCLUSIVE MODE"],
        "mysql": ["LOCK TABLES wsgiperf_bucket WRITE, wsgiperf_process WRITE"],
    }
    entry = entry_of(kind, request, tmp_path)
    with request.getfixturevalue("django_db_blocker").unblock(), database(entry):
        store = DatabaseStore(ALIAS)
        store.write([ONE])
        with contextlib.ExitStack() as stack:
            if atomic:
                stack.enter_context(transaction.atomic(ALIAS))
            other = connections.create_connection(ALIAS)
            stack.callback(other.close)
            with other.cursor() as cursor:
                for statement in lock[kind]:
                    cursor.execute(statement)
                with pytest.raises(StoreBusy):
                    store.read(ALWAYS, ("summary",))
                with pytest.raises(StoreBusy):
                    store.reports(0)
                cursor.execute("ROLLBACK" if kind == "postgres" else "UNLOCK TABLES")
            assert set(everything(store)) == {key(ONE)}
            assert store.reports(0) == []
            with connections[ALIAS].cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.4)" if kind == "postgres" else "SELECT SLEEP(0.4)")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_writing_makes_no_pool_beside_the_one_of_the_project(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    entry = entry_of(kind, request, tmp_path)
    entry["ENGINE"] = entry["ENGINE"].replace("django.db.backends", "django_wsgiperf.db.backends")
    with request.getfixturevalue("django_db_blocker").unblock(), database(entry):
        connections[ALIAS].close()
        before = {pool.name for pool in registry.pools()} - {ALIAS}
        store = DatabaseStore(ALIAS)
        store.write([ONE])
        assert key(ONE) in everything(store)
        assert {pool.name for pool in registry.pools()} - before == {ALIAS}
        connections[ALIAS].close()
        registry.close_all(0)
