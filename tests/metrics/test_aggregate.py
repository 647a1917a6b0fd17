"""Records become sums: what counts where, exclusive parts that add up, and bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.metrics import samples
from django_wsgiperf.metrics.aggregate import MAX_OVERFLOW, Aggregator
from django_wsgiperf.metrics.alike import Alike
from django_wsgiperf.metrics.histogram import Histogram
from django_wsgiperf.metrics.minute import Hit
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.tally import OTHER, PARTS, Cell

from .making import MS, NOON, aggregator, record, records, tally_of


def cell_of(*found: Record) -> Cell:
    (cell,) = tally_of(found).routes.values()
    return cell


@given(st.lists(records, min_size=1, max_size=15))
def test_parts_add_up_to_queue_and_total(found: list[Record]) -> None:
    total = tally_of(found).total()
    expected = 0
    for each in found:
        parts = each.parts_ns()
        expected += sum(parts.values())
    assert total.wall_ns == expected
    for part, index in PARTS.items():
        assert total.sums[index] == sum(each.parts_ns()[part] for each in found), part


def test_response_time_is_from_the_queue_to_the_first_byte() -> None:
    cell = cell_of(record(ttfb_ns=10 * MS, queue_ns=5 * MS, write_ns=100 * MS))
    assert cell.response.sum_ns == 15 * MS
    assert cell.queue.sum_ns == 5 * MS
    assert cell["write_ns"] == 100 * MS


def test_unknown_queue_is_no_queue_of_nothing() -> None:
    cell = cell_of(record(queue_ns=-1), record(queue_ns=0))
    assert cell.queue.count == 1


def test_stream_counts_until_its_first_byte() -> None:
    stream = Record("GET")
    stream.route, stream.status, stream.streaming = "/events/", 200, True
    stream.began_s, stream.ttfb_ns = NOON, 10 * MS
    stream.first_byte_parts = (4 * MS, 0, 0, 1 * MS, 0)
    stream.database("default").execute_ns = 60_000 * MS
    stream.accounted_ns = 60_001 * MS
    stream.end(stream.began_ns + 3_600_000 * MS)
    sums = aggregator()
    sums.add([stream], NOON + 4000)
    cell = next(iter(sums.minutes.values())).tally.routes["/events/"]
    assert cell.wall_ns == 10 * MS
    assert cell["db_ns"] == 4 * MS
    assert cell["python_ns"] == 5 * MS
    assert cell["streamed"] == 1
    assert cell.response.max_ns == 10 * MS
    assert cell.databases["default"][2] == 60_000 * MS, "by alias all of it is told"


def test_everything_is_counted_under_its_name() -> None:
    made = record(
        status=503, method="POST", exception="shop.NoStock", aborted=True, page_cache="miss",
        queries=3, db_ns=7, wait_ns=2, cache_ns=4, cpu_ns=6, body_bytes=99,
    )  # fmt: skip
    made.template_ns, made.gc_ns = 5, 3
    cell = cell_of(made)
    assert cell.outcomes == {("POST", 503): 1}
    assert cell.exceptions == {"shop.NoStock": 1}
    assert cell.page_cache == {"miss": 1}
    assert cell.databases == {"default": [3, 6, 7, 2, 0, 0]}
    assert cell.caches == {"default": [3, 2, 1, 4]}
    expected = {
        "requests": 1, "exceptions": 1, "aborted": 1, "cpu_known": 1, "cpu_ns": 6, "db_ns": 7, "pool_ns": 2,
        "cache_ns": 4, "template_ns": 5, "gc_ns": 3, "queries": 3, "rows": 6, "cache_calls": 3, "cache_hits": 2,
        "cache_misses": 1, "bytes": 99,
    }  # fmt: skip
    assert {name: cell[name] for name in expected} == expected
    assert cell.of_status(5) == 1
    assert cell.of_status(2) == 0


def test_unknown_methods_are_one() -> None:
    cell = cell_of(record(method="BREW"), record(method="FOO1"), record(method="GET"))
    assert cell.outcomes == {("_OTHER", 200): 2, ("GET", 200): 1}


def test_repeated_queries_are_counted_once_a_request() -> None:
    made = record(queries=12)
    made.queries = {"SELECT a": [5, 10, "views.py:1"], "SELECT b": [7, 10, ""]}
    usual = record(queries=4)
    usual.queries = {"SELECT a": [4, 10, ""]}
    assert cell_of(made, usual)["n_plus_one"] == 1


def test_record_counts_in_the_minute_in_which_it_ended() -> None:
    sums = aggregator()
    sums.add([record(at_s=NOON + 59.9, ttfb_ns=200 * MS), record(at_s=NOON + 59.9, ttfb_ns=1)], NOON + 61)
    assert {start: sum(c["requests"] for c in m.tally.routes.values()) for start, m in sums.minutes.items()} == {
        NOON: 1,
        NOON + 60: 1,
    }


def test_record_of_a_closed_minute_counts_in_the_next() -> None:
    sums = aggregator()
    sums.close(NOON)
    sums.add([record(at_s=NOON + 10)], NOON + 61)
    assert list(sums.minutes) == [NOON + 60]


def test_record_from_the_future_counts_now() -> None:
    # The clock was ahead when it began, and has been set since.
    sums = aggregator()
    sums.add([record(at_s=NOON + 86_400)], NOON + 5)
    assert list(sums.minutes) == [NOON]


def test_routes_are_bounded_over_all_minutes_and_the_rest_is_told() -> None:
    sums = aggregator(max_routes=2)
    for number in range(4):
        sums.add([record(f"/{number}/", at_s=NOON + 60 * number)], NOON + 300)
    names = [sorted(minute.tally.routes) for minute in sums.minutes.values()]
    assert names == [["/0/"], ["/1/"], [OTHER], [OTHER]]
    assert sums.overflow == {"/2/", "/3/"}
    for number in range(2 * MAX_OVERFLOW):
        sums.add([record(f"/x{number}/")], NOON + 300)
    assert len(sums.overflow) == MAX_OVERFLOW
    assert len(sums.routes) == 2


def test_route_without_a_name_and_one_that_is_too_long_are_counted() -> None:
    assert sorted(tally_of([record(""), record("/" + "x" * 500)]).routes) == sorted(["(middleware)", "/" + "x" * 199])


def test_releases_are_counted() -> None:
    assert tally_of([record(), record()], release="v7").releases == {"v7": 2}
    assert tally_of([record()]).releases == {}


# -- hits of the page cache


def test_hit_counts_under_its_route() -> None:
    sums = aggregator(release="v1")
    sums.add([record("/books/", page_cache="miss")], NOON + 1)
    sums.add_hits([Hit(NOON + 1.0, "/books/", "GET", 200, 10, 3000, "hit", 500)] * 9, NOON + 2)
    cell = sums.minutes[NOON].tally.routes["/books/"]
    assert cell.page_cache == {"miss": 1, "hit": 9}
    assert cell.outcomes == {("GET", 200): 10}
    assert cell.response.count == 10
    assert cell.queue.sum_ns == 4500
    assert cell["bytes"] == 190
    assert sums.minutes[NOON].tally.releases == {"v1": 10}
    assert sums.records == 10


def test_hits_keep_to_the_bounds_too() -> None:
    sums = aggregator(max_routes=1)
    sums.add_hits([Hit(NOON, f"/{n}/", f"M{n}", 200, 1, 1, f"o{n}", -1) for n in range(50)], NOON)
    tally = sums.minutes[NOON].tally
    assert sorted(tally.routes) == [OTHER, "/0/"]
    assert set(tally.routes[OTHER].outcomes) == {("_OTHER", 200)}
    assert len(tally.routes[OTHER].page_cache) <= 21


@given(st.lists(st.tuples(st.integers(-5, 10**10), st.integers(0, 10**6)), min_size=1))
def test_hits_that_are_alike_count_as_each_would(hits: list[tuple[int, int]]) -> None:
    alike, sums, others = Alike("/books/", 200), aggregator(release="v1"), aggregator(release="v1")
    for duration_ns, body_bytes in hits:
        alike.tooks.append(duration_ns)
        alike.sizes.append(body_bytes)
    alike.tooks.append(7)  # Its size is yet to be told.
    sums.add_alike(alike, NOON + 1)
    others.add_hits(
        [Hit(NOON + 1.0, "/books/", "GET", 200, body_bytes, took, "hit", 0) for took, body_bytes in hits], NOON + 1
    )
    tally, expected = sums.minutes[NOON].tally, others.minutes[NOON].tally
    cell, wanted = tally.routes["/books/"], expected.routes["/books/"]
    for name in ("sums", "outcomes", "page_cache"):
        assert getattr(cell, name) == getattr(wanted, name)
    for name in ("response", "queue"):
        for part in Histogram.__slots__:
            assert getattr(getattr(cell, name), part) == getattr(getattr(wanted, name), part)
    assert tally.releases == expected.releases
    assert (sums.records, alike.tooks, alike.sizes) == (len(hits), [7], [])
    sums.add_alike(alike, NOON + 1)
    assert sums.records == len(hits)


def test_hits_that_are_alike_keep_to_the_bounds_too() -> None:
    sums = aggregator(max_routes=1)
    for number in range(50):
        alike = Alike(f"/{number}/", 200 + number)
        alike.tooks, alike.sizes = [1], [1]
        sums.add_alike(alike, NOON)
    tally = sums.minutes[NOON].tally
    assert sorted(tally.routes) == [OTHER, "/0/"]
    assert tally.routes[OTHER]["requests"] == 49


# -- slow requests


def slowest(sums: Aggregator, most: int = 100) -> list[tuple[str, int]]:
    return [(each["route"], each["ns"] // MS) for each in sums.samples(sums.minutes[NOON], most)]


def test_slowest_of_each_route_are_kept() -> None:
    sums = aggregator(slow_samples=2)
    for milliseconds in (5, 90, 10, 70, 80, 1):
        sums.add([record("/a/", ttfb_ns=milliseconds * MS)], NOON)
    sums.add([record("/b/", ttfb_ns=2 * MS)], NOON)
    assert slowest(sums) == [("/a/", 90), ("/b/", 2), ("/a/", 80)]
    assert slowest(sums, 2) == [("/a/", 90), ("/b/", 2)], "of each route the slowest comes first"


@given(st.lists(st.integers(0, 1000), max_size=80), st.integers(1, 5))
def test_no_slower_request_than_the_kept_ones_was_there(times: list[int], kept: int) -> None:
    sums = aggregator(slow_samples=kept)
    sums.minute(NOON)
    sums.add([record(ttfb_ns=time * MS) for time in times], NOON)
    assert [each[1] for each in slowest(sums)] == sorted(times, reverse=True)[:kept]


def test_no_samples_when_none_are_wanted() -> None:
    sums = aggregator(slow_samples=0)
    sums.add([record()], NOON)
    assert slowest(sums) == []


def test_sample_tells_all_of_its_request() -> None:
    made = record(
        "/books/<int:pk>/", status=500, method="POST", ttfb_ns=80 * MS, queue_ns=20 * MS, cpu_ns=9, db_ns=30 * MS,
        queries=6, exception="builtins.KeyError", page_cache="bypass", request_id="r1", trace_id="t1",
    )  # fmt: skip
    made.spans = [("db", 1 * MS, 2 * MS, "SELECT 1"), ("cache", 3 * MS, 1 * MS, "get")]
    made.spans_dropped = 2
    made.queries = {"SELECT 1": [6, 12 * MS, "shop/views.py:3 in book"], "SELECT 2": [1, 1, ""]}
    made.stacks = ["a stack"]
    (data,) = tally_of([made]).samples
    sample = samples.read(data)
    assert sample.at_s == pytest.approx(NOON - 0.02)
    assert (sample.route, sample.method, sample.status) == ("/books/<int:pk>/", "POST", 500)
    assert sample.duration_s == pytest.approx(0.1)
    assert sum(sample.parts_s.values()) == pytest.approx(0.1)
    assert sample.parts_s["db"] == pytest.approx(0.03)
    assert [(span.kind, span.text) for span in sample.spans[:2]] == [("db", "SELECT 1"), ("cache", "get")]
    assert sample.spans_dropped == 2
    assert [(each.sql, each.count, each.site) for each in sample.repeated] == [
        ("SELECT 1", 6, "shop/views.py:3 in book")
    ]
    assert sample.stacks == ("a stack",)
    assert (sample.queries, sample.cpu_s, sample.page_cache) == (6, 9e-9, "bypass")
    assert (sample.exception, sample.request_id, sample.trace_id) == ("builtins.KeyError", "r1", "t1")
    assert sample.host == "one"


def test_sample_of_a_route_past_the_limit_is_found_under_other() -> None:
    sums = aggregator(max_routes=1)
    sums.add([record("/a/"), record("/b/")], NOON)
    assert {route for route, _ in slowest(sums)} == {"/a/", OTHER}


def test_long_texts_are_cut() -> None:
    made = record(exception="x" * 5000, request_id="r" * 500)
    made.spans = [("db", 0, 1, "S" * 9999), ("template", 0, 1, "t" * 9999)]
    made.stacks = ["s" * 99_999] * 50
    (data,) = tally_of([made]).samples
    assert [len(text) for *_, text in data["spans"][:2]] == [2048, 300]
    assert len(data["exception"]) == 300
    assert len(data["request_id"]) == 64
    assert [len(stack) for stack in data["stacks"]] == [8000] * 10


def test_no_path_and_no_parameter_is_kept() -> None:
    made = record("/reset/<token>/")
    made.path = "/reset/secret-token/"
    (data,) = tally_of([made]).samples
    assert "secret" not in repr(data)
