"""Base-2 exponential histograms, scale 3: eight buckets to each doubling, so that a quantile is off by 4.5 % at most.

The buckets are those of OpenTelemetry's exponential histograms with scale 3 and of Prometheus' native ones with schema
3, of values in seconds. Merging adds counts and is exact. Powers of two are bounds: how many values are at most 2**n
seconds is exact, too. Plain Python; knows nothing of requests.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

SCALE: Final = 3
_PER_DOUBLING: Final = 1 << SCALE
#: Lower bounds of the buckets of one doubling, of a mantissa between 1/2 and 1.
_BOUNDS: Final = tuple(0.5 * 2 ** (step / _PER_DOUBLING) for step in range(_PER_DOUBLING))


def index_of(seconds: float) -> int:
    """The bucket of a positive value. Bucket i has the values above 2**(i / 8) and up to 2**((i + 1) / 8) seconds."""
    mantissa, exponent = math.frexp(seconds)
    return ((exponent - 1) << SCALE) + bisect_left(_BOUNDS, mantissa) - 1


def _index_of_ns(nanoseconds: int) -> int:
    return index_of(nanoseconds / 1e9)


def upper_s(index: int) -> float:
    """The largest value of a bucket, in seconds; exact where it is a power of two."""
    doublings, step = divmod(index + 1, _PER_DOUBLING)
    return math.ldexp(2.0 * _BOUNDS[step], doublings)


def middle_s(index: int) -> float:
    """What a value of a bucket is taken for: the geometric middle, 4.5 % from either bound."""
    return math.pow(2.0, (index + 0.5) / _PER_DOUBLING)


class Histogram:
    """Durations in nanoseconds. Values of 0 and below are counted apart, as 0."""

    __slots__ = ("buckets", "count", "max_ns", "min_ns", "sum_ns", "zeros")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        """By index_of() of the value in seconds. At most eight for each doubling from a nanosecond on."""
        self.zeros = 0
        self.count = 0
        self.sum_ns = 0
        self.min_ns = 0
        self.max_ns = 0

    def record(self, duration_ns: int) -> None:
        """Count one duration."""
        if duration_ns <= 0:
            self.zeros += 1
            duration_ns = 0
        else:
            mantissa, exponent = math.frexp(duration_ns / 1e9)
            index = (exponent << SCALE) + bisect_left(_BOUNDS, mantissa) - 9
            buckets = self.buckets
            buckets[index] = buckets.get(index, 0) + 1
            self.sum_ns += duration_ns
            if duration_ns > self.max_ns:
                self.max_ns = duration_ns
        if duration_ns < self.min_ns or not self.count:
            self.min_ns = duration_ns
        self.count += 1

    def record_none(self, count: int) -> None:
        """Count that something took no time, `count` times."""
        self.zeros += count
        self.count += count
        self.min_ns = 0

    def record_all(self, durations_ns: list[int]) -> None:
        """Count many durations, in a quarter of the time that it takes to count each."""
        ordered, buckets = sorted(durations_ns), self.buckets
        if not ordered:
            return
        zeros = at = bisect_right(ordered, 0)
        least_ns = max(0, ordered[0])
        if least_ns < self.min_ns or not self.count:
            self.min_ns = least_ns
        self.max_ns = max(self.max_ns, ordered[-1])
        self.zeros += zeros
        self.count += len(ordered)
        self.sum_ns += sum(ordered[zeros:])
        while at < len(ordered):
            index = _index_of_ns(ordered[at])
            end = bisect_right(ordered, index, at, key=_index_of_ns)
            buckets[index] = buckets.get(index, 0) + end - at
            at = end

    def merge(self, other: Histogram) -> None:
        """Add what `other` has counted."""
        if not other.count:
            return
        if not self.count:
            self.min_ns = other.min_ns
            self.buckets = dict(other.buckets)
        else:
            self.min_ns = min(self.min_ns, other.min_ns)
            buckets = self.buckets
            get = buckets.get
            for index, count in other.buckets.items():
                buckets[index] = get(index, 0) + count
        self.max_ns = max(self.max_ns, other.max_ns)
        self.zeros += other.zeros
        self.count += other.count
        self.sum_ns += other.sum_ns

    def quantile(self, share: float) -> float | None:
        """The duration in seconds that `share` (0 to 1) of all do not exceed; None when there are none."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        if rank <= self.zeros:
            return 0.0
        seen = self.zeros
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                # No quantile lies outside of what was measured.
                return min(max(middle_s(index), self.min_ns / 1e9), self.max_ns / 1e9)
        return self.max_ns / 1e9

    @property
    def mean(self) -> float | None:
        """Seconds; None when there are none."""
        return self.sum_ns / self.count / 1e9 if self.count else None

    @property
    def max(self) -> float | None:
        """Seconds; None when there are none."""
        return self.max_ns / 1e9 if self.count else None

    def at_most(self, seconds: float) -> float:
        """How many durations are at most so long: exact for powers of two, else with the share of the bucket that the
        bound cuts."""
        if seconds <= 0:
            return float(self.zeros)
        cut = index_of(seconds)
        counted = float(self.zeros + sum(count for index, count in self.buckets.items() if index < cut))
        inside = self.buckets.get(cut, 0)
        if inside:
            lower, upper = upper_s(cut - 1), upper_s(cut)
            counted += inside * min(1.0, (seconds - lower) / (upper - lower))
        return counted

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(index, count) of each bucket that has any, in ascending order, without the zeros."""
        return iter(sorted(self.buckets.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and all(
            getattr(self, name) == getattr(other, name) for name in Histogram.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}, {self.sum_ns / 1e9:g} s>"


def apdex(histogram: Histogram, threshold_s: float) -> float | None:
    """Satisfied up to the threshold, tolerated up to four times that, each of these counting half (apdex.org)."""
    if not histogram.count:
        return None
    satisfied = histogram.at_most(threshold_s)
    return (satisfied + (histogram.at_most(4 * threshold_s) - satisfied) / 2) / histogram.count
