"""Who is compared: which of those that were chosen can take part here, and the versions of what is measured.

A benchmark knows its subjects (servers, setups) and what each lacks; this only sorts, and has the rest told.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from tests.benchmarks.common.results import Run


class Subject(Protocol):
    """One of those that are compared."""

    @property
    def title(self) -> str: ...


class Packaged(Protocol):
    """One that comes with a package. `version` is empty when that is not installed."""

    @property
    def package(self) -> str: ...
    def version(self) -> str: ...


S = TypeVar("S", bound=Subject)


def present(subjects: Iterable[S], run: Run, lacking: Callable[[S], str]) -> list[S]:
    """Those that can take part here. The others are noted with what is `lacking`, or under CI counted as failures."""
    able = []
    for subject in subjects:
        if why := lacking(subject):
            run.absent(f"{subject.title} was not measured: {why}")
        else:
            able.append(subject)
    return able


def lacking_package(subject: Packaged) -> str:
    """Why it cannot take part; empty where its package is installed."""
    return "" if subject.version() else f"the package {subject.package} is not installed"


def versions(*packages: str) -> dict[str, str]:
    """Of packages that all of them use."""
    return {name: importlib.metadata.version(name) for name in packages}
