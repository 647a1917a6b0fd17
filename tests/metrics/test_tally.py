"""Sums merge exactly, in any order, and stay within their bounds."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.tally import (
    MAX_ALIASES,
    MAX_EXCEPTIONS,
    MAX_MARKS,
    MAX_STATUSES,
    OTHER,
    SUMS,
    Cell,
    Tally,
    merged_marks,
)

from .making import record, records, tally_of

some = st.lists(records, min_size=1, max_size=15)


def told(cell: Cell) -> dict[str, Any]:
    """A cell as something that compares."""
    return {name: getattr(cell, name) for name in Cell.__slots__}


def routes(tally: Tally) -> dict[str, Any]:
    return {route: told(cell) for route, cell in tally.routes.items()}


def merged(*tallies: Tally) -> Tally:
    whole = Tally()
    for each in tallies:
        whole.merge(each, 100)
    return whole


@given(some, some)
def test_merging_two_processes_is_counting_all_in_one(one: list[Record], two: list[Record]) -> None:
    assert routes(merged(tally_of(one), tally_of(two))) == routes(tally_of(one + two))


@given(some, some, some)
def test_merging_is_associative_and_commutative(one: list[Record], two: list[Record], three: list[Record]) -> None:
    a, b, c = tally_of(one), tally_of(two), tally_of(three)
    assert routes(merged(merged(a, b), c)) == routes(merged(a, merged(c, b)))


@given(some)
def test_what_is_merged_is_not_changed(found: list[Record]) -> None:
    tally = tally_of(found)
    before = routes(tally_of(found))
    whole = merged(tally, tally)
    whole.merge(tally, 100)
    assert routes(tally) == before


@given(some)
def test_total_is_the_sum_of_the_routes(found: list[Record]) -> None:
    tally = tally_of(found)
    total = tally.total()
    for name in SUMS:
        assert total[name] == sum(cell[name] for cell in tally.routes.values())
    assert total.response.count == len(found) == total["requests"] == sum(total.outcomes.values())


def test_routes_past_the_limit_are_counted_as_other() -> None:
    whole = Tally()
    for number in range(10):
        whole.merge(tally_of([record(f"/{number}/")]), 3)
    assert sorted(whole.routes) == [OTHER, "/0/", "/1/", "/2/"]
    assert whole.routes[OTHER]["requests"] == 7
    assert whole.total()["requests"] == 10


def test_every_kind_of_key_has_a_bound() -> None:
    whole = Tally()
    for number in range(200):
        made = record(status=number, exception=f"app.Error{number}", page_cache=f"outcome{number}")
        made.database(f"db{number}").queries = 1
        made.cached(f"cache{number}").calls = 1
        whole.merge(tally_of([made], release=f"v{number}"), 100)
    (cell,) = whole.routes.values()
    assert len(cell.outcomes) <= MAX_STATUSES + 1
    assert len(cell.exceptions) <= MAX_EXCEPTIONS + 1
    assert len(cell.page_cache) <= MAX_EXCEPTIONS + 1
    assert len(cell.databases) <= MAX_ALIASES + 1
    assert len(cell.caches) <= MAX_ALIASES + 1
    assert len(whole.releases) < 200
    assert sum(cell.outcomes.values()) == sum(cell.exceptions.values()) == sum(whole.releases.values()) == 200
    assert sum(numbers[0] for numbers in cell.databases.values()) == 200


def test_marks_are_kept_once_and_the_first_of_each_release_always() -> None:
    starts = [(float(number), "start", "v1", f"p{number}") for number in range(200)]
    deploy = (500.0, "start", "v2", "p500")
    marks = merged_marks([*starts, *starts], [deploy])
    assert len(marks) == MAX_MARKS
    assert deploy in marks
    assert len(set(marks)) == MAX_MARKS
    assert marks == sorted(marks)


def test_peak_is_the_highest_and_unknown_stays_unknown() -> None:
    one, two, three = Tally(), Tally(), Tally()
    assert merged(one, two).queue_peak == -1
    two.queue_peak, three.queue_peak = 3, 0
    assert merged(one, two, three).queue_peak == 3
    assert merged(one, three).queue_peak == 0
