"""A run's results as data: kept while it runs, written as JSON after it, read back to print it again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.database.setups import SETUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The numbers of one setup in one round of one scenario. `size`: of its pool; 0 for setups without one."""

    scenario: str
    setup: str
    size: int
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

    def rows(self, scenario: str) -> list[tuple[str, int]]:
        """The setups and sizes of one scenario, in the order of the comparison."""
        seen = {(item.setup, item.size) for item in self.measurements if item.scenario == scenario}
        order = list(SETUPS)
        return sorted(seen, key=lambda row: (-row[1] if row[1] else -1000, order.index(row[0])))

    def values(self, scenario: str, setup: str, size: int, key: str) -> dict[int, float]:
        """One number's value in each round that has it."""
        return {
            item.round: item.values[key]
            for item in self.measurements
            if (item.scenario, item.setup, item.size) == (scenario, setup, size) and key in item.values
        }

    def keep(self, older: Run) -> None:
        """Take over what an older run has measured of scenarios that this one has not."""
        mine = set(self.scenarios())
        self.measurements = [item for item in older.measurements if item.scenario not in mine] + self.measurements
        self.about["commands"] = [*older.about["commands"], *self.about["commands"]]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Run:
        """Read what save() wrote. Raises OSError or ValueError."""
        data = json.loads(path.read_text(encoding="utf-8"))
        measurements = [Measurement(**item) for item in data.pop("measurements")]
        return cls(**data, measurements=measurements)
