"""Tests that failed in company are run again by themselves, to tell a test that bears no company from wrong code.

Suites run beside each other on few cores, where everything takes its time in another order. When a handful of tests
failed in a suite that came to its end, those run again, several times, with nothing beside them. What passes each
time is unsteady: it fails no run, but is named in the end with what was wrong, for somebody to mend it. What fails
once more has failed, and so has a suite that crashed, was stopped, or in which more went wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tests._run import processes
from tests._run.execution import Execution
from tests._run.steps import PYTEST, Step
from tests._run.summary import FAILED, UNSTEADY, Result

#: How often each has to pass.
TIMES = 3
#: More that failed at once are no accident.
MOST = 3
LIMIT_S = 600.0
#: pytest's exit code when it has run to its end and tests have failed.
TESTS_FAILED = 1


def failed_tests(step: Step, result: Result) -> list[str]:
    """The tests to run again; none, where that could change nothing."""
    tests = list(dict.fromkeys(test for test, _ in result.failures))
    came_to_its_end = result.code == TESTS_FAILED and result.failed == len(tests)
    # Without "::" it is a module that could not be imported.
    is_worth_it = step.is_pytest and came_to_its_end and len(tests) <= MOST and all("::" in test for test in tests)
    return tests if is_worth_it else []


def alone(step: Step, tests: Iterable[str], number: int) -> Step:
    """The step with these tests only."""
    options = (word for word in step.command[len(PYTEST) :] if word.startswith("-") and "--ignore" not in word)
    return replace(
        step, name=f"{step.name}-again-{number}", command=(*PYTEST, *options, *tests), limit_s=LIMIT_S, is_alone=True
    )


def settle(
    step: Step, result: Result, start: Callable[[Step], Execution | None], ended: Callable[[Step, Result], None]
) -> Result:
    """What the step's result is after its failed tests had another chance. Nothing else may run meanwhile."""
    tests = failed_tests(step, result)
    if not tests:
        return result
    for number in range(1, TIMES + 1):
        execution = start(again := alone(step, tests, number))
        if execution is None:
            return result
        try:
            while (outcome := execution.poll(processes.TICK_S)) is None:
                pass
        finally:
            execution.stop()
        ended(again, outcome[0])
        if outcome[0].verdict == FAILED or outcome[0].passed != len(tests):
            return result
    return replace(
        result,
        verdict=UNSTEADY,
        passed=result.passed + len(tests),
        failed=0,
        failures=(),
        unsteady=result.failures,
        note=f"{len(tests)} unsteady",
    )
