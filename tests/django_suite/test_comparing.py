from __future__ import annotations

import json

import pytest

from tests.django_suite.comparing import NOT_RUN, Outcome, counted, differences, read


def line(test: str, outcome: str, why: str = "") -> str:
    return json.dumps({"test": test, "outcome": outcome, "why": why})


def test_worst_outcome_of_a_test_counts_in_whichever_order_it_comes() -> None:
    assert read([line("a", "passed"), line("a", "error", "tear-down")]) == {"a": Outcome("error", "tear-down")}
    assert read([line("a", "failed", "subtest"), line("a", "passed")]) == {"a": Outcome("failed", "subtest")}


def test_half_written_last_line_is_no_fact() -> None:
    assert read([line("a", "passed"), line("b", "passed")[:9]]) == {"a": Outcome("passed")}


def test_equal_outcomes_are_no_difference_whatever_the_traceback_says() -> None:
    assert differences({"a": Outcome("error", "at 1")}, {"a": Outcome("error", "at 2")}) == []


@pytest.mark.parametrize("ours", ["failed", "error", "skipped", "failed as expected", "passed unexpectedly"])
def test_any_other_outcome_is_a_difference(ours: str) -> None:
    (found,) = differences({"a": Outcome("passed")}, {"a": Outcome(ours)})
    assert (found.test, found.stock.outcome, found.pooled.outcome) == ("a", "passed", ours)


def test_test_that_is_not_run_is_a_difference_on_either_side() -> None:
    left_out, added = differences({"a": Outcome("passed")}, {"b": Outcome("passed")})
    assert (left_out.test, left_out.pooled.outcome) == ("a", NOT_RUN)
    assert (added.test, added.stock.outcome) == ("b", NOT_RUN)


def test_test_that_knows_engines_by_name_may_skip_itself_on_ours_and_do_nothing_else() -> None:
    stock = {"a": Outcome("passed")}
    assert differences(stock, {"a": Outcome("skipped")}, may_skip={"a"}) == []
    assert len(differences(stock, {"a": Outcome("skipped")}, may_skip={"b"})) == 1
    for ours in ("failed", "error", "passed unexpectedly"):
        assert len(differences(stock, {"a": Outcome(ours)}, may_skip={"a"})) == 1
    assert len(differences(stock, {}, may_skip={"a"})) == 1


def test_counts_name_the_worst_first() -> None:
    outcomes = {"a": Outcome("passed"), "b": Outcome("passed"), "c": Outcome("error")}
    assert counted(outcomes) == "1 error, 2 passed"
    assert counted({}) == "no test"
