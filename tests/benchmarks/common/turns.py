"""How long and how often is measured, and in which order: all once a round, in another order each round.

So those that are compared run within seconds: on a shared machine the speed of minutes apart says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.benchmarks.common.stats import schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What every benchmark lets one choose. `seconds`: of one measurement; `seed`: of the order."""

    rounds: int = 5
    seconds: float = 4.0
    seed: int = 1


def turns(names: Sequence[str], effort: Effort) -> Iterator[tuple[int, str]]:
    """The number of the round, from 0, and whose turn it is."""
    for number, order in enumerate(schedule(names, effort.rounds, effort.seed)):
        for name in order:
            yield number, name
