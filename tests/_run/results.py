"""Counts tests: a small pytest plugin (`-p tests._run.results`) writes, the runner reads.

Each line of the file named by TEST_RESULTS is one fact, written when it happens, so that a run that was stopped
still tells what it had done and which test it was in. Without that variable nothing is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

VARIABLE = "TEST_RESULTS"
#: How much of a failure is noted.
WHY_LINES = 8
WHY_WIDTH = 400


@dataclass(slots=True)
class Counts:
    """What a results file says. `failures` and `untested` give, by what failed or was left out, why."""

    passed: int = 0
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    untested: list[tuple[str, str]] = field(default_factory=list)
    running: str = ""


def read(file: Path) -> Counts:
    """Read a results file; one that is missing or half-written counts for what it holds."""
    counts = Counts()
    worst: dict[str, str] = {}
    running: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            fact = json.loads(line)
        except ValueError:
            continue
        match fact:
            case {"start": str(test)}:
                running.append(test)
            case {"end": str(test)} if test in running:
                running.remove(test)
            case {"passed": str(test)}:
                worst.setdefault(test, "passed")
            case {"failed": str(test), "why": str(why)}:
                worst[test] = "failed"
                counts.failures.append((test, why))
            case {"untested": str(what), "why": str(why)}:
                counts.untested.append((what, why))
    counts.passed = sum(1 for verdict in worst.values() if verdict == "passed")
    counts.failed = len(worst) - counts.passed
    counts.running = running[-1] if running else ""
    return counts


def is_ci(environ: Mapping[str, str]) -> bool:
    """Whether a missing part is a failure."""
    return environ.get("CI", "").strip().lower() in {"1", "true", "yes"}


def note_untested(what: str, why: str) -> None:
    """Note that something was left out."""
    _write({"untested": what, "why": why})


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test begins."""
    _write({"start": nodeid})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A phase of a test is over: a failed set-up or tear-down is a failed test too."""
    if report.failed:
        _write({"failed": report.nodeid, "why": assertion(report.longreprtext)})
    elif report.skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "skipped")
        note_untested(report.nodeid, str(why))
    elif report.when == "call":
        _write({"passed": report.nodeid})


def pytest_runtest_logfinish(nodeid: str) -> None:
    """A test is over."""
    _write({"end": nodeid})


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported is a failure, one that skips itself was not tested."""
    if report.failed:
        _write({"failed": report.nodeid, "why": assertion(report.longreprtext)})
    elif report.skipped:
        note_untested(report.nodeid, report.longreprtext)


def assertion(traceback: str) -> str:
    """What pytest's traceback says was wrong: its lines that begin with E, or else its last ones."""
    lines = traceback.strip().splitlines()
    said = [line.rstrip() for line in lines if line.startswith("E ")]
    return "\n".join(line[:WHY_WIDTH] for line in (said or lines[-WHY_LINES:])[:WHY_LINES])


def _write(fact: dict[str, str]) -> None:
    file = os.environ.get(VARIABLE)
    if file:
        with open(file, "a", encoding="utf-8") as output:
            output.write(json.dumps(fact) + "\n")
