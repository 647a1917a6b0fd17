"""Targets and whether they were met: one line each, the same in the terminal and in the docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.common.tables import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One target. `measured` is None when something it needs was not measured."""

    scenario: str
    what: str
    at_least: float | None = None
    at_most: float | None = None
    measured: float | None

    @property
    def wanted(self) -> str:
        if self.at_least is not None:
            return f"at least {number(self.at_least)}"
        return f"at most {number(self.at_most or 0)}"

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        if self.at_least is not None:
            return self.measured >= self.at_least
        return self.measured <= (self.at_most or 0)

    @property
    def word(self) -> str:
        return {True: "met", False: "not met", None: "not measured"}[self.met]

    def row(self) -> list[str]:
        measured = "-" if self.measured is None else number(self.measured)
        return [f"{self.scenario}: {self.what}", self.wanted, measured, self.word]


HEAD = ("target", "wanted", "measured", "verdict")


def tally(verdicts: Sequence[Verdict]) -> str:
    """Say how many targets were met."""
    met, missed = (sum(verdict.met is answer for verdict in verdicts) for answer in (True, False))
    return f"{met} of {len(verdicts)} targets met, {missed} not met, {len(verdicts) - met - missed} not measured"
