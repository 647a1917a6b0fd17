"""The numbers of the response cache for its screen: all processes added up, reasons sorted, entries as they come.

Reads Engine.numbers() as processes reported it. Keys that are missing are left out, keys that are new are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from django_wsgiperf.metrics.results import ProcessRow, Totals

from . import formats
from .charts import Part
from .numbers import integer, mapping, number
from .outcomes import OUTCOMES, outcome_label


def outcomes(totals: Totals) -> list[Part]:
    """What became of the requests that the cache saw, the answered ones first."""
    counts = totals.page_cache
    whole = sum(counts.values())
    ordered = [*(name for name in OUTCOMES if counts.get(name)), *sorted(set(counts) - set(OUTCOMES))]
    return [
        Part(
            name if name in OUTCOMES else "other",
            outcome_label(name),
            counts[name] / whole,
            formats.number(counts[name]),
        )
        for name in ordered
        if counts[name]
    ]


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """The pages in the memory of one process."""

    process: str
    entries: int
    bytes: int
    max_bytes: int
    evictions: int

    @property
    def share(self) -> float:
        return self.bytes / self.max_bytes if self.max_bytes else 0.0


def memory(processes: Sequence[ProcessRow]) -> list[MemoryRow]:
    found = []
    for process in processes:
        held = mapping(process.page_cache, "memory")
        if held:
            found.append(
                MemoryRow(
                    process.instance,
                    integer(held.get("entries")),
                    integer(held.get("bytes")),
                    integer(held.get("max_bytes")),
                    integer(held.get("evictions")),
                )
            )
    return found


def refusals(processes: Sequence[ProcessRow]) -> list[tuple[str, int]]:
    """Why responses were not kept, most frequent first, since the processes started."""
    found: Counter[str] = Counter()
    for process in processes:
        found.update({str(why): integer(count) for why, count in mapping(process.page_cache, "refusals").items()})
    return [(why, count) for why, count in found.most_common() if count]


def counters(processes: Sequence[ProcessRow]) -> list[tuple[str, str]]:
    """The plain numbers of all processes, added up."""
    found: Counter[str] = Counter()
    for process in processes:
        for name, value in (process.page_cache or {}).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found[str(name)] += int(number(value))
    return [(name, formats.number(count)) for name, count in sorted(found.items())]


def shared_store(processes: Sequence[ProcessRow]) -> list[tuple[str, str]]:
    """What the last process that said something of the shared store said."""
    for process in processes:
        told = mapping(process.page_cache, "store")
        if told:
            return flat(told)
    return []


def shown(value: Any) -> str:
    """A value of Engine.explain() or a store's numbers, in words."""
    if value is None:
        return formats.NOTHING
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float):
        return formats.short(value)
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names with dots and values in words, of mappings in mappings."""
    found: list[tuple[str, str]] = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(each, Mapping) for each in value):
            for at, each in enumerate(value, 1):
                found += flat(each, f"{prefix}{name}.{at}.") if isinstance(each, Mapping) else []
        else:
            found.append((f"{prefix}{name}", shown(value)))
    return found
