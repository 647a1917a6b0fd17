"""The numbers of the response cache for its screen: all processes added up, reasons sorted, entries as they come.

Reads Engine.numbers() as processes reported it. Keys that are missing are left out, keys that are new are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from django_wsgiperf.cache.policy.meanings import meaning
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
                    f"{process.host} {process.pid}",
                    integer(held.get("entries")),
                    integer(held.get("bytes")),
                    integer(held.get("max_bytes")),
                    integer(held.get("evictions")),
                )
            )
    return found


def refusals(processes: Sequence[ProcessRow]) -> list[tuple[str, str, int]]:
    """Why responses were not kept and what that means, most frequent first, since the processes started."""
    found: Counter[str] = Counter()
    for process in processes:
        found.update({str(why): integer(count) for why, count in mapping(process.page_cache, "refusals").items()})
    return [(why, meaning(why).what, count) for why, count in found.most_common() if count]


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
        told = dict(mapping(process.page_cache, "store"))
        if told:
            return [*_known_of_store(told), *flat(told)]
    return []


def _known_of_store(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """In words what is known to be told, which is taken out."""
    if "title" in told:
        yield _("Name"), shown(told.pop("title"))
    if "is_reachable" in told:
        yield _("Reachable"), shown(bool(told.pop("is_reachable")))
    if "unconfirmed_s" in told:
        age = told.pop("unconfirmed_s")
        ago = _("never") if age is None else _("%(duration)s ago") % {"duration": formats.duration(number(age))}
        yield _("Last asked for purges"), ago
    for key, label in (("link", _("Reading")), ("writes", _("Writing"))):
        if key in told:
            yield label, _state(mapping(told, key))
            del told[key]


def _state(numbers: Mapping[str, Any]) -> str:
    """Of a breaker (cache/breaker.py)."""
    state = _("paused after failures") if numbers.get("is_open") else _("works")
    failures = integer(numbers.get("failures"))
    if not failures:
        return state
    counted = _("failures: %(failures)s, pauses: %(pauses)s, calls left out: %(avoided)s")
    avoided, pauses = integer(numbers.get("avoided")), integer(numbers.get("openings"))
    return f"{state}; " + counted % {
        "failures": formats.number(failures),
        "pauses": formats.number(pauses),
        "avoided": formats.number(avoided),
    }


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
