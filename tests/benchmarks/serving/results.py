"""A run's results as data: kept in memory while it runs, written as JSON after it, read back to print it again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.serving.servers import LIMIT, OURS, SERVERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The numbers of one server in one round of one scenario."""

    scenario: str
    workers: int
    server: str
    round: int
    values: dict[str, float]


@dataclass(slots=True)
class Run:
    """Everything one run measured. `about` holds the machine, the versions, the pages and the command."""

    about: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def cells(self) -> list[tuple[str, int]]:
        """Give the scenarios and worker counts that were measured, in their order."""
        return list(dict.fromkeys((item.scenario, item.workers) for item in self.measurements))

    def servers(self, scenario: str, workers: int) -> list[str]:
        """Give the servers of one cell, in the order of the comparison."""
        seen = {item.server for item in self._of(scenario, workers)}
        return [name for name in SERVERS if name in seen]

    def values(self, scenario: str, workers: int, server: str, key: str) -> dict[int, float]:
        """Give one number's value in each round that has it."""
        return {
            item.round: item.values[key]
            for item in self._of(scenario, workers)
            if item.server == server and key in item.values
        }

    def peers(self, scenario: str, workers: int) -> list[str]:
        return [name for name in self.servers(scenario, workers) if name not in (OURS, LIMIT)]

    def _of(self, scenario: str, workers: int) -> Iterable[Measurement]:
        return (item for item in self.measurements if item.scenario == scenario and item.workers == workers)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Run:
        """Read what save() wrote. Raises OSError or ValueError."""
        data = json.loads(path.read_text(encoding="utf-8"))
        measurements = [Measurement(**item) for item in data.pop("measurements")]
        return cls(**data, measurements=measurements)
