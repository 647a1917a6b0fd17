"""Tests that failed beside others have another chance by themselves, and neither wrong code nor a crash hides there."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from tests._run import again, processes
from tests._run.execution import Execution, Machine, execute
from tests._run.steps import PYTEST, Step
from tests._run.summary import FAILED, OK, UNSTEADY, Result, Summary
from tests._run.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
#: Each test fails as often as its file says that it still has to.
SUITE = """
import os, pathlib, pytest
def due(name):
    file = pathlib.Path(__file__).with_name(name)
    left = int(file.read_text()) if file.exists() else 0
    file.write_text(str(left - 1))
    return left > 0
@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_it(name): assert not due(name), "in company"
def test_crash():
    if due("crash"): os._exit(1)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    env = {**processes.clean_environment(os.environ), "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return Machine(tmp_path, tmp_path / "logs", env, {}, sys.executable, sys.executable)


def suite(folder: Path, **failures: int) -> Step:
    """A suite of which the named tests fail so many times."""
    (folder / "test_suite.py").write_text(SUITE, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for name, times in failures.items():
        (folder / name).write_text(str(times), encoding="utf-8")
    return Step("suite", "", (*PYTEST, "test_suite.py"), 90, is_pytest=True)


def run(machine: Machine, step: Step) -> tuple[Result, list[Result]]:
    """What came of the suite, and of its tests by themselves."""
    first, _ = execute(step, machine)
    more: list[Result] = []
    settled = again.settle(step, first, lambda step: Execution(step, machine), lambda _, result: more.append(result))
    return settled, more


def test_test_that_passes_each_time_by_itself_is_unsteady_and_named(machine: Machine, tmp_path: Path) -> None:
    settled, more = run(machine, suite(tmp_path, a=1, c=1))
    assert (settled.verdict, settled.passed, settled.failed) == (UNSTEADY, 5, 0)
    assert [(result.name, result.passed) for result in more] == [(f"suite-again-{n}", 2) for n in (1, 2, 3)]
    output = io.StringIO()
    summary = Summary(is_ci=True, results=[settled])
    summary.show(Terminal(output))
    assert "UNSTEADY test_suite.py::test_it[c]: failed in suite, then passed each time by itself" in output.getvalue()
    assert "in company" in output.getvalue()
    assert output.getvalue().endswith("\n5 passed, 0 failed\n")


def test_test_that_fails_once_more_has_failed(machine: Machine, tmp_path: Path) -> None:
    settled, more = run(machine, suite(tmp_path, b=2))
    assert (settled.verdict, settled.passed, settled.failed) == (FAILED, 4, 1)
    assert [result.verdict for result in more] == [FAILED]


def test_many_that_failed_are_no_accident(machine: Machine, tmp_path: Path) -> None:
    settled, more = run(machine, suite(tmp_path, a=1, b=1, c=1, d=1))
    assert (settled.failed, more) == (4, [])


def test_crash_stays_a_failure(machine: Machine, tmp_path: Path) -> None:
    settled, more = run(machine, suite(tmp_path, crash=1))
    assert (settled.verdict, settled.failed, more) == (FAILED, 1, [])


def test_suite_that_was_stopped_stays_a_failure() -> None:
    result = Result("suite", FAILED, 90.0, passed=1, failed=2, failures=(("a::b", "E"),), code=None)
    step = Step("suite", "", PYTEST, 90, is_pytest=True)
    assert not again.failed_tests(step, result)


def test_module_that_cannot_be_imported_stays_a_failure(machine: Machine, tmp_path: Path) -> None:
    step = suite(tmp_path)
    (tmp_path / "test_suite.py").write_text("import nothing_like_it", encoding="utf-8")
    settled, more = run(machine, step)
    assert (settled.verdict, settled.failed, more) == (FAILED, 1, [])


def test_good_suite_is_left_as_it_is(machine: Machine, tmp_path: Path) -> None:
    settled, more = run(machine, suite(tmp_path))
    assert (settled.verdict, settled.passed, settled.unsteady, more) == (OK, 5, (), [])


def test_only_the_failed_tests_run_with_the_options_of_the_step() -> None:
    step = Step("shop", "", (*PYTEST, "tests/example_project", "--ignore=tests/x", "--ds=shop.settings"), 300)
    assert again.alone(step, ["a::b"], 2).command == (*PYTEST, "--ds=shop.settings", "a::b")
    assert again.alone(step, ["a::b"], 2).is_alone
