"""Judges what each test of the suite came to, by the suite's own rules. Plain data: runs nothing, prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.conformance.suite import Case, Outcome

REQUIRED, OPTIMAL = KINDS = ("required", "optimal")
"""The kinds that are counted. A third one, the checks, only asks."""


class Verdict(Enum):
    """What a test came to."""

    PASSED = "passed"
    FAILED = "failed"
    #: A test that it rests on was not passed, so that it says nothing.
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class Score:
    """How many tests of one kind came to what."""

    passed: int
    failed: int
    untested: int

    @property
    def all(self) -> int:
        return self.passed + self.failed + self.untested


def verdicts(outcome: Outcome) -> dict[str, Verdict]:
    """What each test came to, by its id."""
    tests = {test.id: test for test in outcome.tests}
    known: dict[str, Verdict] = {}

    def judge(test: Case) -> Verdict:
        if test.id not in known:
            result = outcome.results.get(test.id, False)
            resting = [judge(tests[name]) for name in test.needs if name in tests]
            if any(found is not Verdict.PASSED for found in resting):
                known[test.id] = Verdict.UNTESTED
            else:
                known[test.id] = Verdict.PASSED if result is True else Verdict.FAILED
        return known[test.id]

    for test in outcome.tests:
        judge(test)
    return known


def score(outcome: Outcome, kind: str) -> Score:
    """The sums of one kind of tests."""
    found = verdicts(outcome)
    ended = [found[test.id] for test in outcome.tests if test.kind == kind]
    return Score(*(ended.count(verdict) for verdict in (Verdict.PASSED, Verdict.FAILED, Verdict.UNTESTED)))


def not_passed(outcome: Outcome, kind: str) -> list[str]:
    """The ids of the tests of one kind that were not passed, in the suite's order."""
    found = verdicts(outcome)
    return [test.id for test in outcome.tests if test.kind == kind and found[test.id] is not Verdict.PASSED]


def failed(outcome: Outcome, kind: str) -> list[str]:
    """Those of them that failed by themselves."""
    found = verdicts(outcome)
    return [test.id for test in outcome.tests if test.kind == kind and found[test.id] is Verdict.FAILED]


def why(outcome: Outcome, test: str) -> str:
    """What the suite says was wrong."""
    result = outcome.results.get(test, "it was not run")
    return " ".join(map(str, result[1:])) if isinstance(result, Sequence) and not isinstance(result, str) else ""


def merged(outcome: Outcome, again: Outcome) -> Outcome:
    """The outcome with what a second run gave of some tests."""
    results: Mapping[str, bool | Sequence[str]] = {**outcome.results, **again.results}
    return Outcome(outcome.tests, results)
