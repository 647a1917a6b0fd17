"""The command: starts the servers one after the other, runs the suite against each, and prints what came of it.

Ends with 1 when ours does not pass a required test and reasons.py does not say why, with 2 when nothing could be run.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests._run.terminal import Terminal
from tests.benchmarks.common.page import write_tables
from tests.benchmarks.common.processes import StartError
from tests.conformance import report, scoring, serving, suite
from tests.conformance.peers import PEERS
from tests.conformance.reasons import REASONS
from tests.conformance.report import Measured
from tests.conformance.scoring import KINDS
from tests.conformance.suite import NoSuite, Outcome

DOCS = suite.ROOT / "docs" / "response-cache.md"
COMMAND = "python -m tests.conformance"
OURS_LIMIT_S = 60.0
INDENT, WIDTH = " " * 6, 100


@dataclass(frozen=True, slots=True)
class Subject:
    """A cache that is to be run: `start` gives its port."""

    name: str
    title: str
    version: str
    is_ours: bool
    start: AbstractContextManager[int]


def main(arguments: Sequence[str]) -> int:
    """Run it. Returns the exit code."""
    options = _options(arguments)
    terminal = Terminal()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # What was started is ended.
    try:
        folder = suite.get()
        with serving.origin(folder) as port:
            return _run(options, terminal, folder, port)
    except (NoSuite, StartError) as error:
        terminal.line(str(error), "red")
        return 2


def _run(options: argparse.Namespace, terminal: Terminal, folder: Path, origin: int) -> int:
    terminal.line(f"The suite for HTTP caches, {suite.PACKAGE} {suite.VERSION} (https://cache-tests.fyi)", "bold")
    measured: list[Measured] = []
    ours: list[Measured] = []
    for subject in _subjects(options, terminal, origin):
        began = time.monotonic()
        try:
            with subject.start as port:
                limit_s = OURS_LIMIT_S if subject.is_ours else suite.RUN_LIMIT_S
                outcome = suite.run(folder, port, options.test, limit_s=limit_s)
                outcome = _steady(outcome, folder, port, subject.is_ours)
        except (NoSuite, StartError) as error:
            if subject.is_ours:
                raise
            terminal.verdict("FAILED", subject.title, time.monotonic() - began, str(error))
            continue
        measured.append(Measured(subject.title, subject.version, outcome))
        if subject.is_ours:
            ours.append(measured[-1])
        terminal.verdict("ok", subject.name, time.monotonic() - began)
    terminal.line()
    terminal.line(report.table(measured))
    told: set[str] = set()
    unexplained = [_explain(one, terminal, told) for one in ours]
    if len(ours) == len(serving.OURS) and not options.test:
        needed = {reason for one in ours for reason in report.explained(one.outcome)[0]}
        for reason in REASONS:
            if reason not in needed:
                terminal.line(f"  no longer needed in reasons.py: {reason.title}", "yellow")
    if options.write_docs:
        version = suite.VERSION
        about = f"{suite.PACKAGE} {version}, {datetime.datetime.now(datetime.UTC).date()}: `{COMMAND}`."
        write_tables(DOCS, "conformance", {"caches": report.markdown(measured, about)}, ["caches"])
    return 1 if any(unexplained) else 0


def _subjects(options: argparse.Namespace, terminal: Terminal, origin: int) -> Iterator[Subject]:
    """What is asked for, and there."""
    version = metadata.version("django-wsgiperf")
    for one in serving.OURS:
        if not options.server or one.name in options.server:
            yield Subject(one.name, one.title, version, True, serving.ours(one, origin))
    for other in () if options.ours else PEERS:
        if options.server and other.name not in options.server:
            continue
        program = other.find()
        if program is None:
            terminal.verdict("missing", other.name, None, f"{other.program} was not found (Debian: {other.package})")
        else:
            yield Subject(other.name, other.title, other.version(program), False, serving.peer(other, program, origin))


def _steady(outcome: Outcome, folder: Path, port: int, is_ours: bool) -> Outcome:
    """The outcome with what was not passed run once more, by itself: the suite goes by the clock, and a machine may be
    busy. Of ours, that has a reason or it has not; of the others no reason is known."""
    _, required, optimal = report.explained(outcome)
    again = [*required, *optimal] if is_ours else [name for kind in KINDS for name in scoring.failed(outcome, kind)]
    return scoring.merged(outcome, suite.run(folder, port, again)) if again else outcome


def _explain(one: Measured, terminal: Terminal, told: set[str]) -> list[str]:
    """Name what was not passed, but for what was `told` before. Gives what is required among it and has no reason."""
    found, required, optimal = report.explained(one.outcome)
    found = {reason: new for reason, tests in found.items() if (new := [test for test in tests if test not in told])}
    if found or required or optimal:
        terminal.heading(f"Not passed by {one.title}")
    for reason, tests in found.items():
        terminal.line(f"  {reason.title}")
        terminal.line(textwrap.fill(reason.why, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT), "dim")
        named = ", ".join(tests)
        terminal.line(
            textwrap.fill(named, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False)
        )
        told.update(tests)
    for kind, tests, style in (("optimal", optimal, "yellow"), ("required", required, "red")):
        for test in tests:
            terminal.line(f"  {kind}, and no reason is known: {test}: {scoring.why(one.outcome, test)}", style)
    return required


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    width = min(shutil.get_terminal_size().columns, 100)
    names = [*(one.name for one in serving.OURS), *(one.name for one in PEERS)]
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="The public test suite for HTTP caches, against our response cache and against others.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=width),
    )
    parser.add_argument("--ours", action="store_true", help="no other cache than ours")
    parser.add_argument("--server", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--test", action="append", default=[], metavar="ID", help="only this test; may be repeated")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into docs/{DOCS.name}")
    options = parser.parse_args(arguments)
    if options.write_docs and (options.ours or options.server or options.test):
        parser.error("--write-docs puts the whole table into the page: leave --ours, --server and --test out")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
