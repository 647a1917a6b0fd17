"""Judges two runs of the same tests: what each test became on one side and on the other. Plain data, no Django."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

#: The worst outcome of a test counts: a failed subtest outweighs what follows, and so does a failed tear-down.
WORST_FIRST = ("error", "failed", "passed unexpectedly", "failed as expected", "skipped", "passed")
GOOD = frozenset({"passed", "failed as expected", "skipped"})
NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a test, and why when it did not pass."""

    outcome: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A test that did not end alike on both sides."""

    test: str
    stock: Outcome
    pooled: Outcome


def read(lines: Iterable[str]) -> dict[str, Outcome]:
    """The outcomes by test, from what the recorder wrote. A half-written last line is no fact."""
    outcomes: dict[str, Outcome] = {}
    for line in lines:
        try:
            fact = json.loads(line)
        except ValueError:
            continue
        new = Outcome(fact["outcome"], fact["why"])
        old = outcomes.get(fact["test"])
        if old is None or WORST_FIRST.index(new.outcome) < WORST_FIRST.index(old.outcome):
            outcomes[fact["test"]] = new
    return outcomes


def differences(
    stock: Mapping[str, Outcome], pooled: Mapping[str, Outcome], *, may_skip: Collection[str] = ()
) -> list[Difference]:
    """Every test that ended otherwise on one side, by name. Those of `may_skip` may be skipped on ours."""
    missing = Outcome(NOT_RUN)
    pairs = [(name, stock.get(name, missing), pooled.get(name, missing)) for name in sorted({*stock, *pooled})]
    return [
        Difference(name, one, other)
        for name, one, other in pairs
        if one.outcome != other.outcome and not (name in may_skip and other.outcome == "skipped")
    ]


def counted(outcomes: Mapping[str, Outcome]) -> str:
    """ "812 passed, 97 skipped", the worst first."""
    counts = Counter(outcome.outcome for outcome in outcomes.values())
    return ", ".join(f"{counts[word]} {word}" for word in WORST_FIRST if counts[word]) or "no test"
