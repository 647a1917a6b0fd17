"""Statistics over rounds. Plain numbers in, plain numbers out; knows nothing of what was measured.

A shared machine drifts, so two programs are compared within a round, where they ran minutes apart at most, and
the median of those ratios is taken. A ratio of two medians would mix rounds that do not belong together.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, and the smallest and largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise `values`. Raises ValueError when there are none."""
        if not values:
            raise ValueError("no values to summarise: every round of this measurement failed or none was run")
        return cls(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the smallest value that at least `percent` per cent of `values` do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values to take a percentile of")
    if not 0 < percent <= 100:
        raise ValueError(f"a percentile is above 0 and at most 100, not {percent}")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def paired_ratios(upper: Mapping[int, float], lower: Mapping[int, float]) -> list[float]:
    """Divide round by round. Rounds that one side lacks, or where the divisor is 0, are left out."""
    return [upper[number] / lower[number] for number in sorted(upper) if lower.get(number)]


def paired_differences(upper: Mapping[int, float], lower: Mapping[int, float]) -> list[float]:
    """Subtract round by round. Rounds that one side lacks are left out."""
    return [upper[number] - lower[number] for number in sorted(upper) if number in lower]


def schedule(names: Sequence[str], rounds: int, seed: int) -> list[list[str]]:
    """Give the order of each round: all names once a round, shuffled, the same for the same seed."""
    chance = random.Random(seed)
    return [chance.sample(list(names), len(names)) for _ in range(rounds)]
