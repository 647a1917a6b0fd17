"""A run's results as data: kept while it runs, written as JSON after it, read back to print it again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The numbers of one subject (a setup, or a way through the code) in one round of one scenario."""

    scenario: str
    subject: str
    round: int
    values: dict[str, float]


@dataclass(slots=True)
class Run:
    """Everything that one run measured. `about` holds the machine, the versions and the command."""

    about: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def scenarios(self) -> list[str]:
        return list(dict.fromkeys(item.scenario for item in self.measurements))

    def subjects(self, scenario: str) -> list[str]:
        """In the order in which they first came."""
        return list(dict.fromkeys(item.subject for item in self.measurements if item.scenario == scenario))

    def values(self, scenario: str, subject: str, key: str) -> dict[int, float]:
        """One number's value in each round that has it."""
        return {
            item.round: item.values[key]
            for item in self.measurements
            if (item.scenario, item.subject) == (scenario, subject) and key in item.values
        }

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Run:
        """Read what save() wrote. Raises OSError or ValueError."""
        data = json.loads(path.read_text(encoding="utf-8"))
        measurements = [Measurement(**item) for item in data.pop("measurements")]
        return cls(**data, measurements=measurements)
