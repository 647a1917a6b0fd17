"""The command: runs the stock engine (or takes what is kept of it), then ours, and prints where they differ.

Ends with 0 when every test ended alike on both, 1 when one did not, 2 when a side could not be run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence

import django

from tests._run.terminal import Terminal
from tests.django_suite import engines, source
from tests.django_suite.comparing import GOOD, Difference, Outcome, counted, differences
from tests.django_suite.engines import DATABASES, POOLED, STOCK, Database
from tests.django_suite.running import ROOT, RunFailed, Suite
from tests.services import ServiceMissing

WHY_LINES = 6


def main(arguments: Sequence[str]) -> int:
    """Run it. Returns the exit code."""
    options = _options(arguments)
    usual = engines.CORE_LABELS if options.core else engines.LABELS
    terminal = Terminal()
    folder = ROOT / ".run" / "django-suite"
    version = django.get_version()
    try:
        tests = source.django_tests(version, folder)
    except source.NoSource as error:
        terminal.line(str(error), "red")
        return 2
    terminal.line(f"Django {version}'s own tests, stock engine and ours", "bold")
    worst = 0
    for name in options.database or list(DATABASES):
        database = DATABASES[name]
        labels = tuple(options.labels or database.labels or usual)
        terminal.line(f"  {database.title}: {' '.join(labels)}", "dim")
        suite = Suite(
            tests, version, folder, labels, options.limit, lambda seconds, text: terminal.live("", seconds, text)
        )
        worst = max(worst, _compare(suite, database, options, terminal))
    verdicts = (
        "only the stock engine was run" if options.stock_only else "alike: every test ended as with the stock engine",
        "not alike",
        "not compared",
    )
    terminal.line(verdicts[worst], "red" if worst else "green")
    return worst


def _compare(suite: Suite, database: Database, options: argparse.Namespace, terminal: Terminal) -> int:
    """Compare on one database. Returns the exit code of it alone."""
    sides: dict[str, dict[str, Outcome]] = {}
    try:
        for side in (STOCK,) if options.stock_only else engines.SIDES:
            began = time.monotonic()
            again = side == POOLED or options.again
            sides[side] = suite.run(database, POOLED) if side == POOLED else suite.run_stock(database, again=again)
            seconds = time.monotonic() - began
            terminal.line(f"  {database.title:16} {side:7} {counted(sides[side])}  ({seconds:.0f} s)")
    except (RunFailed, ServiceMissing) as error:
        terminal.line(f"  {error}", "red")
        return 2
    if options.stock_only:
        return 0
    found = differences(sides[STOCK], sides[POOLED], may_skip=engines.KNOW_ENGINES_BY_NAME)
    for difference in found:
        _show(difference, terminal, options.full)
    return 1 if found else 0


def _show(difference: Difference, terminal: Terminal, is_full: bool) -> None:
    stock, pooled = difference.stock, difference.pooled
    terminal.line(f"    {difference.test}: {stock.outcome} with stock, {pooled.outcome} with ours", "yellow")
    told = pooled if pooled.outcome not in GOOD or pooled.why else stock
    lines = told.why.strip().splitlines()
    for line in lines if is_full else lines[-WHY_LINES:]:
        terminal.line(f"        {line}", "dim")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    width = min(shutil.get_terminal_size().columns, 100)
    parser = argparse.ArgumentParser(
        prog="python -m tests.django_suite",
        description="Django's own tests with the stock engine and with ours, compared test by test.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=width),
    )
    parser.add_argument("--database", action="append", choices=list(DATABASES), help="only this one; may be repeated")
    parser.add_argument("--labels", nargs="+", help="Django's test labels, instead of all that concern an engine")
    parser.add_argument("--core", action="store_true", help=f"only {' '.join(engines.CORE_LABELS)}")
    parser.add_argument("--again", action="store_true", help="run the stock engine even when a run of it is kept")
    parser.add_argument("--stock-only", action="store_true", help="run and keep the stock engine's results, no more")
    parser.add_argument("--full", action="store_true", help="show whole tracebacks")
    parser.add_argument("--limit", type=float, default=1200.0, metavar="SECONDS", help="for one run (default: 1200)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
