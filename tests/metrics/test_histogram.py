"""The laws of the histograms: exact merging, bounded errors, exact powers of two, nothing lost."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.metrics.histogram import Histogram, apdex, index_of, middle_s, upper_s

#: From nothing to three days, in nanoseconds.
durations = st.integers(-5, 3 * 86_400 * 10**9)
many = st.lists(durations, max_size=60)

QUANTILE_ERROR = 2 ** (1 / 16) - 1
"""Half a bucket: 4.43 %."""


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def merged(*histograms: Histogram) -> Histogram:
    whole = Histogram()
    for each in histograms:
        whole.merge(each)
    return whole


@given(many, many)
def test_merging_two_is_counting_all(one: list[int], two: list[int]) -> None:
    assert merged(of(one), of(two)) == of(one + two)


@given(many, many)
def test_merging_is_commutative(one: list[int], two: list[int]) -> None:
    assert merged(of(one), of(two)) == merged(of(two), of(one))


@given(many, many, many)
def test_merging_is_associative(one: list[int], two: list[int], three: list[int]) -> None:
    left = merged(merged(of(one), of(two)), of(three))
    assert left == merged(of(one), merged(of(two), of(three)))


@given(many)
def test_merging_with_nothing_changes_nothing(values: list[int]) -> None:
    assert merged(of(values), Histogram()) == of(values) == merged(Histogram(), of(values))


@given(many)
def test_nothing_is_lost(values: list[int]) -> None:
    histogram = of(values)
    assert histogram.count == len(values) == histogram.zeros + sum(count for _, count in histogram)
    assert histogram.sum_ns == sum(max(0, value) for value in values)
    assert histogram.max_ns == max((0, *values))
    assert histogram.min_ns == max(0, min(values, default=0))


@given(st.lists(durations, min_size=1, max_size=60), st.floats(0, 1))
def test_quantile_is_off_by_half_a_bucket_at_most(values: list[int], share: float) -> None:
    ordered = sorted(max(0, value) for value in values)
    true = ordered[max(1, math.ceil(share * len(ordered))) - 1] / 1e9
    found = of(values).quantile(share)
    assert found is not None
    assert abs(found - true) <= true * (QUANTILE_ERROR + 1e-9)


@given(st.lists(durations, min_size=1, max_size=60))
def test_quantiles_never_fall_and_never_leave_what_was_measured(values: list[int]) -> None:
    histogram = of(values)
    quantiles = [histogram.quantile(share / 10) for share in range(11)]
    assert quantiles == sorted(quantiles, key=lambda value: value or 0.0)
    assert histogram.min_ns / 1e9 <= (quantiles[0] or 0.0)
    assert quantiles[10] is not None
    assert quantiles[10] <= histogram.max_ns / 1e9


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_value_lies_in_its_bucket(seconds: float) -> None:
    index = index_of(seconds)
    assert upper_s(index - 1) < seconds <= upper_s(index)
    assert upper_s(index - 1) < middle_s(index) < upper_s(index)


@pytest.mark.parametrize("power", range(-30, 20))
def test_power_of_two_is_the_last_value_of_its_bucket(power: int) -> None:
    # OpenTelemetry, Metrics Data Model, "Exponential Buckets": bounds are upper-inclusive.
    seconds = math.ldexp(1.0, power)
    assert index_of(seconds) == (power << 3) - 1
    assert upper_s(index_of(seconds)) == seconds
    assert index_of(math.nextafter(seconds, math.inf)) == power << 3


def test_there_are_eight_buckets_to_a_doubling() -> None:
    bounds = [upper_s(index) for index in range(-1, 8)]
    assert bounds[0] == 1.0
    assert bounds[8] == 2.0
    for lower, upper in pairwise(bounds):
        assert upper / lower == pytest.approx(2 ** (1 / 8))


@given(many, st.integers(-10, 10))
def test_count_up_to_a_power_of_two_is_exact(values: list[int], power: int) -> None:
    bound = math.ldexp(1.0, power)
    assert of(values).at_most(bound) == sum(value / 1e9 <= bound for value in values)


@given(many, st.floats(1e-6, 1e5), st.floats(1e-6, 1e5))
def test_count_up_to_a_bound_grows_with_it(values: list[int], one: float, two: float) -> None:
    histogram = of(values)
    assert histogram.at_most(min(one, two)) <= histogram.at_most(max(one, two)) <= len(values)


def test_nothing_measured_has_no_quantile_no_mean_and_no_apdex() -> None:
    empty = Histogram()
    assert empty.quantile(0.5) is None
    assert empty.mean is None
    assert empty.max is None
    assert apdex(empty, 0.5) is None


def test_apdex_counts_satisfied_whole_and_tolerated_half() -> None:
    # 4 up to 0.5 s, 2 up to 2 s, 2 beyond: (4 + 2/2) / 8. apdex.org, "Apdex Technical Specification", section 5.
    values = [100, 499, 500, 500, 501, 2000, 2001, 9000]
    assert apdex(of([value * 1_000_000 for value in values]), 0.5) == 5 / 8


def test_a_process_cannot_grow_it_without_end() -> None:
    histogram = of([3**power for power in range(60)])
    assert len(histogram.buckets) <= 8 * 96
