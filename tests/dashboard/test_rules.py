"""The rules: what each needs to speak up, what it says, and that it keeps quiet otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from django_wsgiperf.dashboard.finding import Facts, Finding, Level, Trouble
from django_wsgiperf.dashboard.findings import RULES, findings
from django_wsgiperf.dashboard.rules import capacity, requests, upkeep
from django_wsgiperf.metrics.results import Quantiles
from tests.dashboard.factories import (
    NOW,
    FactsFactory,
    LiveFactory,
    OverviewFactory,
    PointFactory,
    ProcessFactory,
    RowFactory,
    TotalsFactory,
    pool_snapshot,
)


def facts(*, live: Any = None, troubles: tuple[Trouble, ...] = (), **overview: Any) -> Facts:
    made: Facts = FactsFactory(overview=OverviewFactory(**overview), live=live or LiveFactory(), troubles=troubles)
    return made


def one(rule: Callable[[Facts], Iterable[Finding]], given: Facts) -> Finding:
    (found,) = rule(given)
    return found


def none(rule: Callable[[Facts], Iterable[Finding]], given: Facts) -> bool:
    return list(rule(given)) == []


def test_a_healthy_site_gets_one_green_line() -> None:
    (found,) = findings(facts())
    assert (found.level, found.key) == (Level.OK, "ok")
    assert "1,000 requests" in found.detail


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_has_anything_against_a_healthy_site(rule: Callable[[Facts], Iterable[Finding]]) -> None:
    assert none(rule, facts())


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_bears_a_site_without_anything(rule: Callable[[Facts], Iterable[Finding]]) -> None:
    empty = facts(
        live=LiveFactory(processes=()),
        totals=TotalsFactory(requests=0, wall_s=0.0, cpu_s=0.0, parts_s={}, quantiles=Quantiles(), apdex=None),
        previous=TotalsFactory(requests=0, wall_s=0.0),
        series=(),
        releases=(),
    )
    assert {found.key for found in rule(empty)} <= {"empty"}


def test_most_urgent_comes_first_and_there_is_no_green_line_beside_it() -> None:
    troubled = facts(
        troubles=(Trouble("wsgiperf.W010", "warning", "too many threads"),),
        live=LiveFactory(processes=(ProcessFactory(pipeline={"last_error": "no table"}),)),
        releases=("1", "2"),
    )
    levels = [found.level for found in findings(troubled)]
    assert levels == sorted(levels, key=list(Level).index)
    assert levels[0] is Level.ERROR
    assert Level.OK not in levels


def test_a_note_does_not_take_the_green_line_away() -> None:
    found = findings(facts(top=(RowFactory(route="(other)"),)))
    assert [each.key for each in found] == ["ok", "routes"]


class TestCapacity:
    def busy(self, share: float, **totals: Any) -> Facts:
        return facts(
            series=tuple(PointFactory.build_batch(10, busy_share=share)),
            totals=TotalsFactory(**totals),
        )

    def test_threads_that_wait_should_be_more(self) -> None:
        found = one(capacity.saturated_threads, self.busy(0.85, cpu_s=10.0))
        assert found.level is Level.WARNING
        assert "85%" in found.detail
        assert "raise THREADS" in found.remedy

    def test_threads_that_compute_should_be_in_more_processes(self) -> None:
        found = one(capacity.saturated_threads, self.busy(0.97, cpu_s=90.0))
        assert found.level is Level.ERROR
        assert "WORKERS" in found.remedy

    def test_short_peaks_of_busy_threads_are_found_too(self) -> None:
        points = [*PointFactory.build_batch(8, busy_share=0.1), *PointFactory.build_batch(2, busy_share=1.0)]
        assert one(capacity.saturated_threads, facts(series=tuple(points))).level is Level.WARNING

    def test_server_that_does_not_tell_of_threads_is_not_judged(self) -> None:
        assert none(capacity.saturated_threads, facts(series=tuple(PointFactory.build_batch(3, busy_share=None))))

    @pytest.mark.parametrize(("waited", "level"), [(0.06, Level.WARNING), (0.7, Level.ERROR)])
    def test_queue_that_stands(self, waited: float, level: Level) -> None:
        assert one(capacity.queue_waits, facts(totals=TotalsFactory(queue_p95_s=waited))).level is level

    def test_short_queue_is_none(self) -> None:
        assert none(capacity.queue_waits, facts(totals=TotalsFactory(queue_p95_s=0.01)))

    def with_pool(self, **snapshot: Any) -> Facts:
        process = ProcessFactory(pools=(pool_snapshot(**snapshot),))
        return facts(live=LiveFactory(processes=(process, process)))

    def test_pool_that_timed_out(self) -> None:
        found = one(capacity.pool_waits, self.with_pool(**{"db.client.connection.timeouts": 2}))
        assert found.level is Level.ERROR
        assert "default" in found.title
        assert "4 requests" in found.detail

    def test_database_that_cannot_be_reached(self) -> None:
        assert one(capacity.pool_waits, self.with_pool(outage="connection refused")).detail == "connection refused"

    def test_waits_for_connections_that_take_much_of_the_time(self) -> None:
        found = one(capacity.pool_waits, facts(totals=TotalsFactory(parts_s={"pool": 10.0})))
        assert "10%" in found.detail

    def test_two_releases_are_a_deploy_for_ten_minutes_and_a_mistake_after(self) -> None:
        fresh = LiveFactory(processes=(ProcessFactory(started_s=NOW - 60),))
        assert one(capacity.version_skew, facts(releases=("1", "2"), live=fresh)).level is Level.INFO
        assert one(capacity.version_skew, facts(releases=("1", "2"))).level is Level.WARNING

    def test_processes_that_went_silent_are_named_by_their_hosts(self) -> None:
        silent = ProcessFactory(seen_s=NOW - 120, reachable=False, host="web-9")
        found = one(capacity.stale_processes, facts(live=LiveFactory(processes=(silent, ProcessFactory()))))
        assert "web-9" in found.detail

    def test_process_that_answers_is_not_silent_whenever_it_wrote(self) -> None:
        answering = ProcessFactory(seen_s=NOW - 120)
        assert none(capacity.stale_processes, facts(live=LiveFactory(processes=(answering,))))


class TestRequests:
    def test_errors_that_are_more_than_before_name_the_worst_route(self) -> None:
        top = (RowFactory(), RowFactory(route="/pay/", totals=TotalsFactory(errors_5xx=60)))
        found = one(requests.error_burst, facts(totals=TotalsFactory(errors_5xx=60), top=top))
        assert found.level is Level.ERROR
        assert "6%" in found.detail
        assert "/pay/" in found.remedy
        assert found.query == {"route": "/pay/"}

    def test_errors_after_a_period_without_requests_are_not_more_than_before(self) -> None:
        silent = TotalsFactory(requests=0, wall_s=0.0)
        found = one(requests.error_burst, facts(totals=TotalsFactory(errors_5xx=60), previous=silent))
        assert found.title == "Server errors"
        assert "nothing was measured in the period before" in found.detail

    def test_errors_as_many_as_before_are_no_burst(self) -> None:
        steady = TotalsFactory(errors_5xx=60)
        assert none(requests.error_burst, facts(totals=steady, previous=steady))

    def test_very_many_errors_are_told_also_where_there_were_as_many_before(self) -> None:
        down = TotalsFactory(errors_5xx=700)
        found = one(requests.error_burst, facts(totals=down, previous=down))
        assert (found.level, found.title) == (Level.ERROR, "Server errors")
        assert "70% of all, ended in a server error; 70% in the period before" in found.detail

    def test_a_few_errors_are_no_burst(self) -> None:
        assert none(requests.error_burst, facts(totals=TotalsFactory(requests=100, errors_5xx=9)))

    @pytest.mark.parametrize(
        ("part", "word"),
        [
            ("db", "queries"),
            ("python", "stacks"),
            ("pool", "MAX_SIZE"),
            ("queue", "THREADS"),
            ("template", "fragments"),
        ],
    )
    def test_slow_route_is_told_where_its_time_goes(self, part: str, word: str) -> None:
        totals = TotalsFactory(quantiles=Quantiles(p95=2.5), parts_s={part: 9.0, "gc": 1.0})
        found = one(requests.slow_routes, facts(top=(RowFactory(route="/slow/", totals=totals),)))
        assert "/slow/" in found.title
        assert "2.50 s" in found.detail
        assert word in found.remedy

    def test_route_with_few_requests_is_not_judged(self) -> None:
        totals = TotalsFactory(requests=5, quantiles=Quantiles(p95=2.5))
        assert none(requests.slow_routes, facts(top=(RowFactory(totals=totals),)))

    def test_only_the_slowest_routes_are_named(self) -> None:
        rows = [RowFactory(totals=TotalsFactory(quantiles=Quantiles(p95=2.0 + at))) for at in range(1, 9)]
        found = list(requests.slow_routes(facts(top=tuple(rows))))
        assert [each.query["route"] for each in found] == [row.route for row in reversed(rows[5:])]

    def test_repeated_queries(self) -> None:
        row = RowFactory(route="/list/", n_plus_one=500, totals=TotalsFactory(queries=30_000))
        found = one(requests.repeated_queries, facts(top=(row,)))
        assert "50%" in found.detail
        assert "30 queries" in found.detail
        assert "prefetch_related" in found.remedy

    def test_rare_repeated_queries_are_let_be(self) -> None:
        assert none(requests.repeated_queries, facts(top=(RowFactory(n_plus_one=4),)))

    def test_clients_that_leave(self) -> None:
        assert "8%" in one(requests.clients_leave, facts(totals=TotalsFactory(aborted=80))).detail

    def test_nothing_measured(self) -> None:
        assert "MIDDLEWARE" in one(requests.nothing_measured, facts(totals=TotalsFactory(requests=0))).remedy


class TestUpkeep:
    def test_errors_and_warnings_of_the_checks_are_one_line_each(self) -> None:
        troubles = (
            Trouble("wsgiperf.E003", "error", "THREADS: too few", "Write 1."),
            Trouble("wsgiperf.W010", "warning", "too many threads", "Fewer."),
            Trouble("wsgiperf.W012", "warning", "public statistics", "Set a token."),
            Trouble("wsgiperf.I001", "info", "no pool", ""),
        )
        error, warning = upkeep.bad_settings(facts(troubles=troubles))
        assert (error.level, error.remedy) == (Level.ERROR, "Write 1.")
        assert "wsgiperf.W010" in warning.detail
        assert "1 more" in warning.detail

    def test_lost_measurements(self) -> None:
        live = LiveFactory(processes=tuple(ProcessFactory.build_batch(2, pipeline={"dropped": 5})))
        assert "10 requests" in one(upkeep.dropped_records, facts(live=live)).detail

    def test_damaged_and_newer_rows_are_not_summed_over_processes_that_met_the_same(self) -> None:
        pipeline = {"damaged": 2, "newer": 1}
        live = LiveFactory(processes=tuple(ProcessFactory.build_batch(2, pipeline=pipeline)))
        damaged, newer = upkeep.unread_rows(facts(live=live))
        assert (damaged.level, damaged.detail) == (Level.WARNING, "2 rows could not be read and are in no number.")
        assert newer.level == Level.INFO
        assert "1 row that" in newer.detail
        assert none(upkeep.unread_rows, facts())

    def test_measurements_that_cannot_be_written(self) -> None:
        live = LiveFactory(processes=(ProcessFactory(pipeline={"last_error": "disk full", "dropped": 0}),))
        assert one(upkeep.dropped_records, facts(live=live)).detail == "disk full"

    def test_cache_that_misses(self) -> None:
        found = one(upkeep.missed_cache, facts(totals=TotalsFactory(cache_hits=200, cache_misses=800)))
        assert "20%" in found.detail
        assert none(upkeep.missed_cache, facts(totals=TotalsFactory(cache_hits=20, cache_misses=80)))

    def test_response_cache_that_is_passed_by_says_the_usual_reason(self) -> None:
        cache = {"refusals": {"set-cookie": 70, "private": 20}}
        live = LiveFactory(processes=tuple(ProcessFactory.build_batch(2, page_cache=cache)))
        totals = TotalsFactory(page_cache={"hit": 100, "bypass": 900})
        found = one(upkeep.passed_by_response_cache, facts(totals=totals, live=live))
        assert "90%" in found.detail
        assert "set-cookie (140 times)" in found.detail

    def test_response_cache_with_few_requests_is_not_judged(self) -> None:
        assert none(upkeep.passed_by_response_cache, facts(totals=TotalsFactory(page_cache={"bypass": 100})))

    def test_routes_that_are_counted_together(self) -> None:
        assert "MAX_ROUTES" in one(upkeep.too_many_routes, facts(top=(RowFactory(route="(other)"),))).remedy

    def test_routes_beyond_those_that_are_told_apart_have_a_number(self) -> None:
        processes = (ProcessFactory(pipeline={"routes_other": 40}), ProcessFactory(pipeline={"routes_other": 1000}))
        finding = one(upkeep.too_many_routes, facts(live=LiveFactory(processes=processes)))
        assert "at least 1,000 more routes" in finding.detail


def test_broken_reports_of_other_processes_are_borne() -> None:
    odd = ProcessFactory(
        pools=(
            {},
            {
                "closed": None,
                "db.client.connection.count": 3,
                "db.client.connection.wait_time": {"buckets_us": {"x": "y"}},
            },
        ),
        page_cache={"refusals": "none", "memory": 3},
        pipeline={"dropped": "many", "aggregate_cpu_s": None},
    )
    given = replace(facts(), live=LiveFactory(processes=(odd,)))
    assert [found.key for found in findings(given)] == ["ok"]
