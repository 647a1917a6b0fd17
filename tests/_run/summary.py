"""What a run came to: one result for each step, what was not tested, and the closing lines.

A step that runs pytest counts its tests; any other step counts as one. A step that failed without a failed test (a
crash, a limit) counts as one failure more. So the closing line says 0 failed exactly when the exit code is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests._run.terminal import Terminal

OK = "ok"
FAILED = "FAILED"
MISSING = "missing"
UNSTEADY = "unsteady"
#: How many failed tests of a step are named in the end.
NAMED_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Result:
    """How one step ended. `failures` are its tests that failed, each with what was wrong; `unsteady`, those that failed
    beside other steps and passed by themselves; `code`, its exit code, None when it was stopped."""

    name: str
    verdict: str
    seconds: float
    passed: int = 0
    failed: int = 0
    note: str = ""
    failures: tuple[tuple[str, str], ...] = ()
    unsteady: tuple[tuple[str, str], ...] = ()
    code: int | None = None


@dataclass(slots=True)
class Summary:
    """The results so far. `is_ci`: what was not tested is a failure."""

    is_ci: bool
    #: How long the steps took together; less than their sum where they ran side by side.
    seconds: float = 0.0
    results: list[Result] = field(default_factory=list)
    untested: dict[str, list[str]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """One more step is over."""
        self.results.append(result)

    def not_tested(self, what: str, why: str) -> None:
        """Something was left out. Each reason is told once, with all that it kept from being tested."""
        named = self.untested.setdefault(why, [])
        if what not in named:
            named.append(what)

    @property
    def passed(self) -> int:
        return sum(result.passed for result in self.results)

    @property
    def failed(self) -> int:
        failed = sum(result.failed for result in self.results)
        return failed + (len(self.untested) if self.is_ci else 0)

    def show(self, terminal: Terminal) -> None:
        """The table, what was not tested, and the closing line."""
        terminal.heading("Summary")
        rows = [("step", "verdict", "passed", "failed", "seconds")]
        rows += [
            (result.name, result.verdict, str(result.passed), str(result.failed), f"{result.seconds:.1f}")
            for result in self.results
        ]
        total = self.seconds or sum(result.seconds for result in self.results)
        if len(self.results) > 1:
            verdict = FAILED if self.failed else OK
            rows.append(("all", verdict, str(self.passed), str(self.failed), f"{total:.1f}"))
        terminal.table(rows)
        self._name_failures(terminal)
        self._name_unsteady(terminal)
        terminal.line()
        for why, what in self.untested.items():
            colour = "red" if self.is_ci else "yellow"
            terminal.line(f"not tested: {', '.join(what)}, because {why}", colour)
        if self.untested and self.is_ci:
            terminal.line("Under CI=true, what is not tested counts as failed.", "red")
        if not self.untested:
            terminal.line("Everything that was asked for was tested.")
        terminal.line()
        # Alone on its line and never painted: machines read it.
        terminal.line(f"{self.passed} passed, {self.failed} failed")

    def _name_failures(self, terminal: Terminal) -> None:
        """Which tests failed, last of all, so that who sees only the end sees that."""
        for result in self.results:
            if result.verdict == FAILED:
                terminal.line()
            for line in failed_tests(result, NAMED_FAILURES, 1):
                terminal.line(line, "red")

    def _name_unsteady(self, terminal: Terminal) -> None:
        """Which tests passed only by themselves: no failure, but a fault of the test or of what it tests."""
        for result in self.results:
            if result.unsteady:
                terminal.line()
            for test, why in result.unsteady:
                terminal.line(f"UNSTEADY {test}: failed in {result.name}, then passed each time by itself", "yellow")
                for line in why.splitlines()[:1]:
                    terminal.line(f"  {line}", "yellow")


def failed_tests(result: Result, tests: int, lines: int) -> list[str]:
    """The step's failed tests, at most so many, each with at most so many lines of what was wrong."""
    shown = []
    for test, why in result.failures[:tests]:
        shown.append(f"FAILED {test}")
        shown += [f"  {line}" for line in why.splitlines()[:lines]]
    if len(result.failures) > tests:
        shown.append(f"... and {len(result.failures) - tests} more")
    if not shown and result.verdict == FAILED:
        shown.append(f"FAILED {result.name}: {result.note}")
    return shown
