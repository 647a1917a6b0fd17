"""The table of routes and its exports, the state in the address, and the numbers of pools and response cache."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.dashboard import columns, figures, pools, processes, response_cache
from django_wsgiperf.dashboard.state import DEFAULT_REFRESH_S, State
from django_wsgiperf.metrics.results import Quantiles
from tests.dashboard.factories import NOW, LiveFactory, ProcessFactory, RowFactory, TotalsFactory, pool_snapshot


class TestState:
    def test_defaults_are_no_part_of_an_address(self) -> None:
        assert State.read({}).query({}) == ""
        assert State.read({"period": "1h", "refresh": "10"}).query({}) == ""

    def test_changes_add_replace_and_remove(self) -> None:
        state = State.read({"period": "6h", "host": "web 1", "q": "x"}, own=("q",))
        assert state.query({}) == "?period=6h&host=web+1&q=x"
        assert state.query({"period": "1h", "host": ""}) == "?q=x"
        assert state.query({"id": "7"}, keep_own=False) == "?period=6h&host=web+1&id=7"

    @given(st.dictionaries(st.sampled_from(["period", "host", "refresh", "q", "other"]), st.text(max_size=2000)))
    def test_any_address_is_read_and_reads_the_same_again(self, data: dict[str, str]) -> None:
        from django.http import QueryDict

        state = State.read(data, own=("q",))
        again = State.read(QueryDict(state.query({}).removeprefix("?")), own=("q",))
        assert again.period == state.period
        assert again.refresh_s == state.refresh_s
        assert again.refresh_s in (0, 10, 60)
        assert len(again.host) <= 1000

    def test_host_has_no_null_character_which_postgresql_would_refuse(self) -> None:
        assert State.read({"host": "web\0-1"}).host == "web-1"

    def test_refresh_that_is_not_offered_is_the_default(self) -> None:
        assert State.read({"refresh": "1"}).refresh_s == DEFAULT_REFRESH_S
        assert State.read({"refresh": "0"}).refresh_s == 0


class TestColumns:
    def test_unknown_values_come_last_in_both_directions(self) -> None:
        rows = [RowFactory(route=name, totals=TotalsFactory(quantiles=Quantiles(p95=p95))) for name, p95 in
                (("a", 1.0), ("b", None), ("c", 2.0))]  # fmt: skip
        assert [row.route for row in columns.arranged(rows, "-p95_s", "")] == ["c", "a", "b"]
        assert [row.route for row in columns.arranged(rows, "p95_s", "")] == ["a", "c", "b"]

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n@x"])
    def test_formulas_are_texts_in_a_spreadsheet(self, text: str) -> None:
        (_, row) = csv.reader(io.StringIO(columns.as_csv([RowFactory(route=text)])))
        assert row[0] == f"'{text}"

    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
    def test_every_name_comes_through_and_none_is_a_formula(self, text: str) -> None:
        written = columns.as_csv([RowFactory(route=text)])
        (_, row) = csv.reader(io.StringIO(written, newline=""))
        assert row[0].removeprefix("'") == text.removeprefix("'")
        assert not row[0].startswith(("=", "+", "-", "@"))

    def test_export_has_plain_numbers(self) -> None:
        data = columns.as_json([RowFactory(route="/a/", share=0.25)], period="1h")
        (row,) = data["routes"]
        assert (data["period"], row["share"], row["requests"], row["p95_s"]) == ("1h", 0.25, 1000, 0.2)
        assert row["parts_s"] == {"python": 60.0, "db": 40.0}


class TestPools:
    def test_histograms_of_all_processes_add_up(self) -> None:
        rows = ProcessFactory.build_batch(3, pools=(pool_snapshot(),))
        (found,) = pools.by_alias(rows)
        assert (found.processes, found.used, found.idle, found.max, found.pending) == (3, 6, 3, 12, 6)
        assert found.wait.count == 12
        assert found.wait.mean_s == pytest.approx(0.000975)
        assert (found.wait.p50_s, found.wait.p95_s) == (0.0, 0.004096)

    def test_each_process_is_shown_by_itself(self) -> None:
        rows = ProcessFactory.build_batch(2, pools=(pool_snapshot(), pool_snapshot()))
        assert len(pools.by_process(rows)) == 4

    def test_no_measurement_has_no_quantiles(self) -> None:
        assert pools.Durations.of([{}]) == pools.Durations()


@pytest.mark.parametrize(("rows", "uncounted", "shown"), [(0, 0, "0"), (8, 0, "4"), (0, 3, "unknown"), (8, 3, "≥ 4")])
def test_rows_that_the_driver_does_not_count_are_not_shown_as_none(rows: int, uncounted: int, shown: str) -> None:
    use = TotalsFactory(queries=4, rows=rows, uncounted=uncounted)
    assert figures.database_figures(use, 2)[1] == shown


class TestProcesses:
    def test_overhead_is_by_request_and_by_core(self) -> None:
        told = {"aggregate_cpu_s": 2.0, "records": 1000, "last_flush_s": NOW - 4, "pending": 3, "dropped": 1}
        found = processes.overhead({**told, "damaged": 2, "newer": 4}, 400.0, NOW)
        assert (found.pending, found.dropped, found.damaged, found.newer) == (3, 1, 2, 4)
        assert (found.per_record_s, found.core_share, found.last_flush) == (0.002, 0.005, "4 s")

    def test_few_requests_do_not_say_what_one_costs(self) -> None:
        found = processes.overhead({"aggregate_cpu_s": 0.1, "records": 6}, 400.0, NOW)
        assert (found.per_record_s, found.core_share) == (None, 0.00025)

    def test_process_without_a_release_does_not_differ(self) -> None:
        rows = (*ProcessFactory.build_batch(2, release="2"), ProcessFactory(release=""))
        assert not any(line.is_other for line in processes.lines(LiveFactory(processes=rows), 10.0))


CACHE = {
    "hits": 5,
    "refusals": {"set-cookie": 2, "private": 0},
    "memory": {"entries": 3, "bytes": 100, "max_bytes": 400, "evictions": 1},
    "store": {
        "title": "Redis",
        "is_reachable": True,
        "unconfirmed_s": 2.0,
        "link": {"is_open": False, "failures": 0},
        "writes": {"is_open": True, "failures": 3, "openings": 1, "avoided": 9},
        "novel": {"thing": 1},
    },
}


class TestResponseCache:
    def test_numbers_of_all_processes_add_up(self) -> None:
        rows = ProcessFactory.build_batch(2, page_cache=CACHE)
        assert response_cache.refusals(rows) == [
            ("set-cookie", "the response sets a cookie, which is one visitor's", 4)
        ]
        assert response_cache.counters(rows) == [("hits", "10")]
        assert [row.share for row in response_cache.memory(rows)] == [0.25, 0.25]
        assert response_cache.shared_store(rows) == [
            ("Name", "Redis"),
            ("Reachable", "yes"),
            ("Last asked for purges", "2 s ago"),
            ("Reading", "works"),
            ("Writing", "paused after failures; failures: 3, pauses: 1, calls left out: 9"),
            ("novel.thing", "1"),
        ]

    def test_outcomes_are_in_order_and_new_ones_are_shown_as_they_are_called(self) -> None:
        totals = TotalsFactory(page_cache={"novel": 1, "bypass": 2, "hit": 5, "miss": 0})
        found = [(part.key, part.label, part.value) for part in response_cache.outcomes(totals)]
        assert found == [("hit", "Hit", "5"), ("bypass", "Passed by", "2"), ("other", "novel", "1")]
