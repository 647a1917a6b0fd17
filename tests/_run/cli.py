"""`python3 tests/run.py`: reads the command line, prepares, runs the steps, and tells what came of it.

Environments and servers are made first, then steps run side by side. Everything that is written goes to .venvs/,
.run/ and temporary folders that are gone in the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests._run import again, environments, interpreters, lanes, processes, results, steps
from tests._run.debian import Debian
from tests._run.execution import Execution, Machine
from tests._run.provide import Provider
from tests._run.steps import MAIN, Step
from tests._run.summary import FAILED, MISSING, OK, Result, Summary, failed_tests
from tests._run.terminal import Terminal
from tests.services import SERVICES, Missing

ROOT = Path(__file__).resolve().parents[2]
#: The oldest Python with the oldest Django; then the newest Django on the Pythons that it supports.
OLDEST = "3.11"
NEWER = ("3.12", "3.13")
OLDEST_DJANGO = "django>=5.2,<5.3"
NEWEST_DJANGO = "django>=6"
KEPT_LOGS = 5
#: What is shown of a failed step: its failed tests, lines of each, and lines of its log.
SHOWN_TESTS = 10
SHOWN_LINES = 6
SHOWN_LOG = 40


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="tests/run.py",
        description="Run every test of this checkout; all that it needs is installed into .venvs/.",
        epilog="Services: " + ", ".join(f"{s.title} ({s.variable})" for s in SERVICES.values()),
    )
    made.add_argument("--fast", action="store_true", help="the inner loop: one Python, nothing slow, nothing started")
    made.add_argument("--only", action="append", default=[], metavar="STEP", help="only this step; may be repeated")
    made.add_argument("--list", action="store_true", help="list the steps and end")
    made.add_argument("-k", metavar="EXPR", help="only tests that match, as in pytest")
    made.add_argument("--python", metavar="3.X", help="only the steps that run on this Python")
    made.add_argument("--private", action="store_true", help="start own servers, even where some are running")
    made.add_argument("--no-install", action="store_true", help="do not install Debian packages, even as root")
    usual = lanes.usual(os.cpu_count() or 1)
    made.add_argument("-j", "--jobs", type=int, metavar="N", help=f"how many steps run at a time (here: {usual})")
    made.add_argument("-v", "--verbose", action="store_true", help="show the steps' output as it comes, one at a time")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for. Returns 0, 1 when something failed, 2 when nothing can be run."""
    options = parser().parse_args(arguments)
    terminal = Terminal()
    # The end by a signal is an end like that by the keyboard: private servers are stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    run = Run(options, terminal)
    try:
        return run.all()
    except KeyboardInterrupt:
        terminal.line()
        terminal.line("Interrupted. Private servers are stopped; nothing else was left running.", "yellow")
        return 130
    finally:
        run.close()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class Run:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace, terminal: Terminal) -> None:
        self.options = options
        self.terminal = terminal
        self.env = processes.clean_environment(os.environ)
        self.logs = ROOT / ".run" / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        self.debian = Debian(
            not (options.no_install or options.fast), self.logs / "apt.log", self.env, self._showing("apt-get")
        )
        self.summary = Summary(results.is_ci(os.environ))
        self.provider: Provider | None = None
        self.missing: dict[str, str] = {}
        self.ready: dict[str, environments.Environment | None] = {}
        self.pythons = {minor: interpreters.find(minor) for minor in (OLDEST, *NEWER)}

    def all(self) -> int:
        """Prepare, run, sum up."""
        if not any(self.pythons.values()):
            self.terminal.line("No Python 3.11, 3.12 or 3.13 was found on PATH, in pyenv or in uv.", "red")
            return 2
        if self.options.python and self.options.python not in self.pythons:
            known = ", ".join(self.pythons)
            self.terminal.line(f"--python {self.options.python} is not tested here. Write one of {known}.", "red")
            return 2
        main_minor = next(minor for minor, found in self.pythons.items() if found)
        wanted = self._wanted(main_minor)
        if self.options.list:
            for step in wanted:
                self.terminal.line(f"{step.name:<20}{step.what}")
            return 0
        if not wanted:
            self.terminal.line("No step is like that. These are: tests/run.py --list", "red")
            return 2
        self._head(wanted)
        if main_minor != OLDEST and not self.options.python:
            self.summary.not_tested(f"Python {OLDEST}", f"python{OLDEST} was not found")
        self.terminal.heading("Getting ready")
        for which in dict.fromkeys(step.environment for step in wanted):
            self.ready[which] = self._environment(which, main_minor)
        if ready := next((one for one in self.ready.values() if one), None):
            self._services(wanted, ready)
        self.terminal.heading("Steps")
        began = time.monotonic()
        lanes.run(wanted, self._lanes(), lambda step: self._start(step, main_minor), self._ended)
        self._run_again({step.name: step for step in wanted}, main_minor)
        self.summary.seconds = time.monotonic() - began
        self.summary.show(self.terminal)
        return 1 if self.summary.failed else 0

    def close(self) -> None:
        """Stop what was started."""
        if self.provider is not None:
            self.provider.close()

    def _wanted(self, main_minor: str) -> list[Step]:
        only_on = self.options.python
        if only_on:
            only_on = MAIN if only_on == main_minor else only_on
        newer = [minor for minor in NEWER if minor != main_minor]
        # One that is asked for alone, or is there alone, runs all of what they share.
        sharing = [only_on] if only_on in newer else [minor for minor in newer if self.pythons[minor]]
        every = steps.all_steps(ROOT, main_minor, newer, sharing)
        return steps.select(every, fast=self.options.fast, only=self.options.only, environment=only_on)

    @staticmethod
    def _minor(step: Step, main_minor: str) -> str:
        return main_minor if step.environment == MAIN else step.environment

    def _head(self, wanted: Sequence[Step]) -> None:
        what = "the inner loop" if self.options.fast else f"{len(wanted)} step{'s' if len(wanted) > 1 else ''}"
        self.terminal.line(f"django-wsgiperf: {what}", "bold")
        cores = os.cpu_count() or 1
        where = f"{platform.system()} {platform.machine()}, {cores} core{'s' if cores > 1 else ''}"
        self.terminal.line(f"{where}; logs in {self.logs.relative_to(ROOT)}", "dim")
        self.logs.mkdir(parents=True)
        for old in sorted(self.logs.parent.iterdir())[:-KEPT_LOGS]:
            shutil.rmtree(old, ignore_errors=True)

    def _environment(self, which: str, main_minor: str) -> environments.Environment | None:
        minor = main_minor if which == MAIN else which
        interpreter = self.pythons[minor]
        if interpreter is None:
            why = f"python{minor} was not found on PATH, in pyenv or in uv"
            self.terminal.verdict(MISSING, f"Python {minor}", None, why)
            self.summary.not_tested(f"Python {minor} with the newest Django", why)
            return None
        oldest = which == MAIN
        plan = environments.Plan(
            f"py{minor.replace('.', '')}-django{'52' if oldest else '6'}",
            interpreter,
            OLDEST_DJANGO if oldest else NEWEST_DJANGO,
            ("test", "bench") if oldest else ("test",),
        )
        name = f"Python {interpreter.version}"
        began = time.monotonic()
        try:
            ready = environments.prepare(
                plan,
                ROOT,
                log=self.logs / f"{plan.name}.log",
                env=self.env,
                debian=self.debian,
                on_output=self._showing(name),
            )
        except environments.EnvironmentFailed as error:
            seconds = time.monotonic() - began
            self.terminal.verdict(FAILED, name, seconds, str(error))
            if error.log is not None:
                self._excerpt(error.log, 40)
            self.summary.add(Result(name, FAILED, seconds, failed=1, note=str(error)))
            return None
        note = f"Django {ready.django_version}, " + ("installed" if ready.is_new else "as it was")
        self.terminal.verdict(OK, name, time.monotonic() - began, note)
        for why in ready.left_out.values():
            self.terminal.verdict(MISSING, "", None, why)
        return ready

    def _services(self, wanted: Sequence[Step], ready: environments.Environment) -> None:
        """Get what the steps take, in the order in which the user reads it."""
        self.provider = Provider(
            ready.python,
            ROOT,
            self.logs,
            self.env,
            self.debian,
            only_there=self.options.fast,
            only_private=self.options.private,
            on_wait=lambda seconds, note: self.terminal.live("", seconds, note),
        )
        taken = {key for step in wanted for key in (*step.needs, *step.uses)}
        for key, service in SERVICES.items():
            if key not in taken:
                continue
            began = time.monotonic()
            without = ready.left_out.get("mysqlclient") if key == "mysql" else None
            found = Missing(without) if without else self.provider.provide(key)
            seconds = time.monotonic() - began
            if isinstance(found, Missing):
                self.missing[key] = found.why
                self.terminal.verdict(FAILED if found.is_mistake else MISSING, service.title, seconds, found.why)
            else:
                self.terminal.verdict(OK, f"{service.title} {found.version}", seconds, found.origin)
        if "postgres" in self.missing or "mysql" in self.missing:
            self.terminal.line("          Tests that need what is missing are left out, and named in the end.", "dim")

    def _lanes(self) -> int:
        if self.options.jobs is not None:
            return max(1, int(self.options.jobs))
        return 1 if self.options.verbose else lanes.usual(os.cpu_count() or 1)

    def _start(self, step: Step, main_minor: str) -> Execution | None:
        """Start the step; None when it cannot be run, which is then said."""
        ready = self.ready[step.environment]
        interpreter = self.pythons[self._minor(step, main_minor)]
        if ready is None or interpreter is None:
            # A Python that is missing has been named before.
            if interpreter is not None:
                self.summary.not_tested(step.name, "its environment could not be made")
            return None
        lacking = [key for key in step.needs if key in self.missing]
        if not lacking and step.name.startswith("bench-") and ready.left_out:
            lacking_build = next(iter(ready.left_out.values()))
            self.summary.not_tested(f"parts of {step.name}", lacking_build)
        if lacking:
            why = "; ".join(f"{SERVICES[key].title}: {self.missing[key]}" for key in lacking)
            self.terminal.verdict(MISSING, step.name, None, why)
            self.summary.not_tested(step.name, why)
            return None
        python = interpreter.path if step.is_bare else str(ready.python)
        machine = Machine(ROOT, self.logs, self.env, self.missing, python, str(ready.python), self.options.k)
        return Execution(step, machine, self._showing(step.name))

    def _ended(self, step: Step, result: Result, untested: list[tuple[str, str]]) -> None:
        """Say how a step ended."""
        self.summary.add(result)
        for what, why in untested:
            self.summary.not_tested(f"{what} of {step.name}", why)
        self._tell(step, result)
        if result.verdict != FAILED:
            return
        if result.failures:
            self.terminal.excerpt(f"failed in {step.name}", failed_tests(result, SHOWN_TESTS, SHOWN_LINES))
        if not self.options.verbose:
            self._excerpt(self.logs / f"{step.name}.log", SHOWN_LOG)

    def _run_again(self, wanted: Mapping[str, Step], main_minor: str) -> None:
        """Give the few tests that failed another chance, with nothing beside them."""
        for index, result in enumerate(self.summary.results):
            if step := wanted.get(result.name):
                self.summary.results[index] = again.settle(
                    step, result, lambda step: self._start(step, main_minor), self._tell
                )

    def _tell(self, step: Step, result: Result) -> None:
        self.terminal.verdict(result.verdict, step.name, result.seconds, result.note)

    def _excerpt(self, log: Path, lines: int) -> None:
        self.terminal.excerpt(f"the end of {log.relative_to(ROOT)}", processes.tail(log, lines))

    def _showing(self, name: str) -> processes.Listener:
        """What to do with a command's output while it runs."""
        last = [""]

        def show(seconds: float, text: str) -> None:
            if self.options.verbose:
                self.terminal.raw(text)
                return
            said = [line for line in text.splitlines() if line.strip()]
            last[0] = said[-1].strip() if said else last[0]
            self.terminal.live(name, seconds, last[0])

        return show


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
