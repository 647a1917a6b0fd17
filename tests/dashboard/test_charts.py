"""The pictures: what is drawn where, what it says to those who hear it, and that nothing escapes the picture."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.dashboard import charts, heat, series, tiles
from django_wsgiperf.dashboard.svg import element, path, picture
from django_wsgiperf.dashboard.waterfall import LONGEST_TEXT, waterfall
from django_wsgiperf.metrics.results import BREAKDOWN, HeatCell, Mark, Span
from tests.dashboard.factories import NOW, OverviewFactory, PointFactory, SampleFactory, TotalsFactory

values = st.one_of(st.none(), st.floats(0, 1e12))


def parse(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def chart(*lines: list[float | None], stacked: bool = False, marks: tuple[Mark, ...] = ()) -> series.Chart:
    return series.Chart(
        "key",
        "Title",
        "",
        "number",
        tuple(range(0, 60 * len(lines[0]), 60)),
        tuple(series.Line(f"line-{at}", f"Line {at}", tuple(line)) for at, line in enumerate(lines)),
        marks,
        stacked,
    )


def numbers(d: str) -> list[float]:
    return [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?", d)]


def test_attributes_and_text_are_escaped() -> None:
    drawn = element("text", "<b>", class_='"><script>')
    assert "<b>" not in drawn
    assert "<script>" not in drawn
    assert parse(drawn).get("class") == '"><script>'


def test_picture_with_a_title_is_named_and_one_without_is_hidden() -> None:
    named = parse(picture(10, 10, [], title="Requests", description="Many."))
    assert (named.get("role"), named.findtext("title"), named.findtext("desc")) == ("img", "Requests", "Many.")
    assert parse(picture(10, 10, [])).get("aria-hidden") == "true"


def test_line_breaks_where_nothing_was_measured() -> None:
    assert path([(0, 1), (1, 2), None, (3, 4)]) == "M0 1L1 2M3 4"


@given(st.lists(st.tuples(values, values), min_size=1, max_size=40), st.booleans())
def test_everything_is_drawn_inside_the_picture(steps: list[tuple[float | None, float | None]], stacked: bool) -> None:
    drawn = charts.plot(chart([one for one, _ in steps], [two for _, two in steps], stacked=stacked)).picture
    for found in parse(drawn).iter("path"):
        coordinates = numbers(found.get("d") or "")
        assert all(-0.01 <= each <= charts.WIDTH for each in coordinates)


def test_layers_lie_on_each_other() -> None:
    top = charts.round_up(chart([1.0, 1.0], [3.0, 3.0], stacked=True).top)
    assert top == 5
    assert charts.round_up(chart([1.0, 1.0], [3.0, 3.0]).top) == 5
    assert charts.plot(chart([1.0, 1.0], [3.0, 3.0], stacked=True)).y == ("5", "2.50", "0")


@given(st.floats(1e-12, 1e15))
def test_axis_ends_at_a_round_number_not_far_above(value: float) -> None:
    top = charts.round_up(value)
    assert value <= top * (1 + 1e-9)
    assert top <= value * 2.6


def test_what_is_heard_of_a_chart_is_its_last_and_largest_values() -> None:
    told = parse(charts.plot(chart([1.0, 9.0, 4.0])).picture).findtext("desc")
    assert told == "Line 0: 4 at the end, at most 9."
    assert parse(charts.plot(chart([None, None])).picture).findtext("desc") == "Nothing was measured."


def test_marks_say_what_happened() -> None:
    marks = (Mark(60.0, "deploy", "2.0"), Mark(61.0, "recycle", "web-1:7 2.0"), Mark(62.0, "new", "x"))
    told = [mark["text"] for mark in chart([1.0], marks=marks).to_json()["marks"]]
    assert told == ["Deploy: 2.0", "Process replaced: web-1:7 2.0", "new: x"]


def test_marks_within_the_period_are_drawn() -> None:
    marks = (Mark(60.0, "deploy", "2.0"), Mark(1e9, "start", "later"))
    drawn = charts.plot(chart([1.0, 2.0, 3.0], marks=marks)).picture
    assert drawn.count("wsgiperf-mark-deploy") == 1
    assert "later" not in drawn


def test_sparkline_of_one_value_is_an_empty_picture() -> None:
    assert len(parse(charts.sparkline([1.0], "p50"))) == 0
    assert len(parse(charts.sparkline([1.0, 2.0, None, 3.0, 4.0], "p50"))) == 3


@given(st.dictionaries(st.sampled_from(BREAKDOWN), st.floats(0, 1e9)))
def test_parts_of_a_bar_add_up(parts_s: dict[str, float]) -> None:
    pieces = charts.parts(parts_s)
    assert [piece.key for piece in pieces] == [part for part in BREAKDOWN if parts_s.get(part)]
    if pieces:
        assert sum(piece.share for piece in pieces) == pytest.approx(1)


def test_charts_of_a_period_know_that_its_last_step_is_not_over() -> None:
    points = [PointFactory(start_s=0), PointFactory(start_s=60)]
    requests = series.charts(points, 60, 65.0)[0]
    assert requests.lines[0].values == (50 / 60, 10.0)


def test_parts_that_took_no_time_are_no_layers() -> None:
    found = {each.key: each for each in series.charts([PointFactory()], 60, NOW)}
    assert [line.key for line in found["parts"].lines] == ["python", "db"]
    assert found["parts"].stacked


def test_data_behind_a_chart_is_the_newest_first() -> None:
    rows = chart([1.0, 2.0, 3.0]).rows(2)
    assert rows == [(120, ["3"]), (60, ["2"])]


class TestHeat:
    def test_cells_lie_by_time_and_duration(self) -> None:
        cells = [HeatCell(0, 0.1, 1), HeatCell(60, 0.1, 36), HeatCell(60, 0.2, 9)]
        found = heat.heat_map(cells, [0, 60, 120])
        assert found is not None
        rectangles = [(r.get("x"), r.get("y"), r.get("class")) for r in parse(found.picture).iter("rect")]
        assert rectangles == [
            ("0", "10", "wsgiperf-heat-1"),
            ("10", "10", "wsgiperf-heat-6"),
            ("10", "0", "wsgiperf-heat-3"),
        ]
        assert found.y == ("200 ms", "100 ms")

    def test_many_buckets_are_joined_and_nothing_is_lost(self) -> None:
        cells = [HeatCell(0, 1.05**power, power) for power in range(1, 200)]
        found = heat.heat_map(cells, [0])
        assert found is not None
        drawn = parse(found.picture)
        assert len(list(drawn.iter("rect"))) <= heat.ROWS
        assert f"{sum(range(1, 200)):,} requests" in (drawn.findtext("desc") or "")

    def test_nothing_gives_no_map(self) -> None:
        assert heat.heat_map([], [0, 60]) is None
        assert heat.heat_map([HeatCell(0, 1.0, 0)], [0]) is None


class TestWaterfall:
    def test_rows_are_in_order_and_the_outer_span_comes_first(self) -> None:
        spans = (Span("db", 0.1, 0.1, "SELECT 1"), Span("view", 0.1, 0.3, ""), Span("queue", -0.1, 0.1, ""))
        rows = waterfall(SampleFactory(spans=spans))
        assert [row.kind for row in rows] == ["queue", "view", "db"]
        assert rows[1].start == "200 ms"

    def test_equal_queries_after_each_other_are_one_row_with_their_bars(self) -> None:
        spans = tuple(Span("db", at / 10, 0.05, "SELECT 1" if at < 4 else "SELECT 2") for at in range(5))
        first, second = waterfall(SampleFactory(spans=spans))
        assert (first.count, first.duration, second.count) == (4, "200 ms", 1)
        assert len(list(parse(first.picture).iter("rect"))) == 4

    def test_short_spans_are_seen_and_stay_inside(self) -> None:
        (row,) = waterfall(SampleFactory(duration_s=100.0, spans=(Span("db", 100.0, 1e-9, ""),)))
        (bar,) = parse(row.picture).iter("rect")
        x, width = float(bar.get("x") or 0), float(bar.get("width") or 0)
        assert width >= 3
        assert x + width <= charts.WIDTH

    def test_long_statements_are_cut(self) -> None:
        (row,) = waterfall(SampleFactory(spans=(Span("db", 0, 1, "S" * 9000),)))
        assert len(row.text) < 120
        assert len(row.rest) == LONGEST_TEXT


class TestTiles:
    def tile(self, key: str, now: object, before: object) -> tiles.Tile:
        return next(each for each in tiles.tiles(OverviewFactory(totals=now, previous=before)) if each.key == key)

    def test_change_is_judged_by_what_is_good(self) -> None:
        fewer, more = TotalsFactory(errors_5xx=10, apdex=0.7), TotalsFactory(errors_5xx=20, apdex=0.9)
        assert self.tile("errors", more, fewer).verdict == "worse"
        assert self.tile("errors", fewer, more).verdict == "better"
        assert self.tile("apdex", more, fewer).verdict == "better"
        assert self.tile("requests", TotalsFactory(requests=9000), fewer).verdict == ""

    def test_small_changes_are_not_judged(self) -> None:
        assert self.tile("queries", TotalsFactory(queries=1010), TotalsFactory(queries=1000)).verdict == ""

    def test_rates_are_by_the_length_of_their_own_period(self) -> None:
        overview = OverviewFactory(begin_s=NOW - 1800, previous_s=3600)
        tile = next(each for each in tiles.tiles(overview) if each.key == "requests")
        assert tile.value == "0.56/s"
        assert tile.change == "+100%"

    def test_what_the_server_does_not_tell_has_no_tile(self) -> None:
        overview = OverviewFactory(series=(PointFactory(busy_share=None),))
        assert {"busy", "queue", "cached"}.isdisjoint(tile.key for tile in tiles.tiles(overview))

    def test_every_answer_without_a_view_counts_as_cached(self) -> None:
        cache = {"hit": 5, "stale": 1, "collapsed": 1, "revalidated": 1, "miss": 1, "bypass": 1}
        assert tiles.cached_share(TotalsFactory(page_cache=cache)) == 0.8
        assert tiles.cached_share(TotalsFactory()) is None
