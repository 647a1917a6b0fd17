"""What came of it as text, for people and pages: a line for each cache, and the reasons for what ours does not pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.common.tables import markdown_table, text_table
from tests.conformance import reasons, scoring
from tests.conformance.reasons import Reason
from tests.conformance.scoring import OPTIMAL, REQUIRED
from tests.conformance.suite import Outcome

HEAD = ["cache", "version", "required: passed", "failed", "untested", "optimal: passed", "of"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One cache, and what the suite came to with it."""

    title: str
    version: str
    outcome: Outcome

    def row(self) -> list[str]:
        required, optimal = (scoring.score(self.outcome, kind) for kind in (REQUIRED, OPTIMAL))
        numbers = (required.passed, required.failed, required.untested, optimal.passed, optimal.all)
        return [self.title, self.version, *map(str, numbers)]


def table(measured: Sequence[Measured]) -> str:
    """For a terminal."""
    return text_table(HEAD, [one.row() for one in measured])


def markdown(measured: Sequence[Measured], about: str) -> str:
    """For a page. `about` says with what, when and by which command it was measured."""
    return f"{markdown_table(HEAD, [one.row() for one in measured])}\n\n{about}"


def explained(outcome: Outcome) -> tuple[dict[Reason, list[str]], list[str], list[str]]:
    """What was not passed: by its reason; what is required and has none; and what is optimal and has none."""
    found: dict[Reason, list[str]] = {}
    without: dict[str, list[str]] = {REQUIRED: [], OPTIMAL: []}
    for kind in (REQUIRED, OPTIMAL):
        for test in scoring.not_passed(outcome, kind):
            reason = reasons.of(test)
            if reason is None:
                without[kind].append(test)
            else:
                found.setdefault(reason, []).append(test)
    return found, without[REQUIRED], without[OPTIMAL]
