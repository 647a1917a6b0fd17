"""What is said when the configuration is wrong: where a value came from, what is the matter, what to write.

Plain data with no knowledge of the option table. A secret's value never gets in here: whoever makes a
`Refused` or a `Problem` writes `MASK` in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from django.core.exceptions import ImproperlyConfigured

MASK = "********"


class Source(StrEnum):
    """The places a value can come from; the later one wins."""

    DEFAULT = "default"
    SETTINGS = "settings"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"

    @property
    def rank(self) -> int:
        return list(Source).index(self)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value was set. Printed as `environment (WSGIPERF_THREADS)`, or as `default`."""

    source: Source
    name: str = ""

    def __str__(self) -> str:
        return f"{self.source} ({self.name})" if self.name else str(self.source)


DEFAULT = Origin(Source.DEFAULT)


class ProblemKind(StrEnum):
    """The sorts of problem; the system checks give each its own number."""

    UNKNOWN = "unknown"
    TYPE = "type"
    RANGE = "range"
    FORMAT = "format"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `value` is for display, empty when it would not help or could be a secret."""

    kind: ProblemKind
    key: str
    value: str
    origin: Origin
    message: str
    remedy: str
    nearest: str | None = None

    def __str__(self) -> str:
        return f"{self.key}: {self.message}\n    set by:  {self.origin}\n    instead: {self.remedy}"


class ConfigurationError(ImproperlyConfigured):
    """Every problem that was found, in `problems`, so that a user can mend them all at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"The WSGIPERF configuration has {count}:", *map(str, self.problems)]))

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class Refused(ValueError):
    """One value that cannot be taken: what is the matter with it, and what to write instead."""

    def __init__(self, kind: ProblemKind, message: str, remedy: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Conflict:
    """Options that are each valid and together are not. `names` lists all of them, the one to blame first."""

    names: tuple[str, ...]
    message: str
    remedy: str


def nearest(name: str, names: Sequence[str], prefix: str = "") -> str | None:
    """The valid name that `name` was most likely meant to be, or None when nothing is close."""
    written = name.upper()
    found = get_close_matches(written, names, n=1, cutoff=0.6)
    # The prefix that all have in common, as environment variables do, brings none nearer.
    is_near = bool(found) and get_close_matches(
        written.removeprefix(prefix), [found[0].removeprefix(prefix)], cutoff=0.5
    )
    return found[0] if is_near else None
