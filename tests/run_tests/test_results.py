"""Every test is counted once, and what was left out is named: by the plugin, the fixtures and the summary."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests._run import execution, processes, results, steps
from tests._run.execution import Machine
from tests._run.steps import Step
from tests._run.summary import FAILED, OK, Result, Summary, failed_tests
from tests._run.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
import pytest

def test_good(): pass
def test_bad(): assert False
@pytest.fixture
def broken():
    yield
    raise ValueError
def test_bad_in_the_end(broken): pass
def test_skipped(): pytest.skip("no moon")
"""
NEEDS_REDIS = "def test_it(redis_url): pass\ndef test_other(): pass\n"


def run_pytest(folder: Path, suite: str, **variables: str) -> tuple[results.Counts, subprocess.CompletedProcess[str]]:
    """Run a suite of its own, with our plugin and our fixtures."""
    (folder / "test_suite.py").write_text(suite, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    plugins = ("-p", "tests._run.results", "-p", "tests.conftest", "-p", "no:cacheprovider")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "PYTEST_"))}
    env.pop("CI", None)
    # Other plugins take longer to import than the suite to run.
    alone = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder), *plugins, str(folder)],
        cwd=folder,
        env={**env, **alone, results.VARIABLE: str(folder / "facts"), **variables},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    return results.read(folder / "facts"), done


def test_each_test_counts_once(tmp_path: Path) -> None:
    counts, _ = run_pytest(tmp_path, SUITE)
    assert (counts.passed, counts.failed, counts.running) == (1, 2, "")
    [(what, why)] = counts.untested
    assert "test_skipped" in what
    assert "no moon" in why


def test_each_failure_is_noted_with_what_was_wrong(tmp_path: Path) -> None:
    counts, _ = run_pytest(tmp_path, SUITE)
    noted = {test.rpartition("::")[2]: " ".join(why.split()) for test, why in counts.failures}
    assert noted == {"test_bad": "E assert False", "test_bad_in_the_end": "E ValueError"}
    counts, _ = run_pytest(tmp_path, "def broken(:")
    [(test, why)] = counts.failures[-1:]
    assert "test_suite.py" in test
    assert "SyntaxError" in why


def test_file_that_cannot_be_imported_is_a_failure(tmp_path: Path) -> None:
    counts, _ = run_pytest(tmp_path, "import nothing_like_it")
    assert (counts.passed, counts.failed) == (0, 1)


def test_test_whose_service_is_missing_is_left_out_and_named(tmp_path: Path) -> None:
    counts, done = run_pytest(tmp_path, NEEDS_REDIS, TEST_REDIS_URL="redis://127.0.0.1:1/")
    assert (counts.passed, counts.failed, done.returncode) == (1, 0, 0)
    [(what, why)] = counts.untested
    assert what == "1 test"
    assert "TEST_REDIS_URL=redis://127.0.0.1:1/ does not work" in why
    assert "not tested: 1 test(s), because Redis" in done.stdout


def test_test_whose_service_is_missing_fails_in_ci(tmp_path: Path) -> None:
    counts, done = run_pytest(tmp_path, NEEDS_REDIS, TEST_REDIS_URL="redis://127.0.0.1:1/", CI="true")
    assert (counts.passed, counts.failed, counts.untested) == (1, 1, [])
    assert "ServiceMissing" in done.stdout


def test_reason_of_the_runner_is_the_one_that_is_told(tmp_path: Path) -> None:
    counts, _ = run_pytest(tmp_path, NEEDS_REDIS, TEST_MISSING='{"redis": "only root can install it"}')
    assert counts.untested == [("1 test", "Redis: only root can install it")]


def test_stopped_run_tells_which_test_it_was_in(tmp_path: Path) -> None:
    facts = tmp_path / "facts"
    facts.write_text('{"start": "a"}\n{"passed": "a"}\n{"end": "a"}\n{"start": "b"}\n{"hal', encoding="utf-8")
    counts = results.read(facts)
    assert (counts.passed, counts.failed, counts.running) == (1, 0, "b")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(ROOT, tmp_path, processes.clean_environment(os.environ), {}, sys.executable, sys.executable)


def test_step_that_hangs_fails_and_shows_its_end(machine: Machine) -> None:
    step = Step("slow", "", ("-c", "import time; print('here', flush=True); time.sleep(60)"), limit_s=0.5)
    result, _ = execution.execute(step, machine)
    assert (result.verdict, result.failed, result.note) == (FAILED, 1, "stopped after 0 s")
    assert processes.tail(machine.log(step), 1) == ["here"]


def test_step_that_is_no_suite_counts_as_one(machine: Machine) -> None:
    good, _ = execution.execute(Step("good", "", ("-c", ""), 30), machine)
    bad, _ = execution.execute(Step("bad", "", ("-c", "raise SystemExit(2)"), 30), machine)
    assert (good.verdict, good.passed, good.failed) == (OK, 1, 0)
    assert (bad.verdict, bad.passed, bad.failed, bad.note) == (FAILED, 0, 1, "exit code 2")


def shown(summary: Summary) -> list[str]:
    stream = io.StringIO()
    summary.show(Terminal(stream))
    return stream.getvalue().splitlines()


def test_closing_line_adds_everything_up() -> None:
    summary = Summary(is_ci=False)
    summary.add(Result("a", OK, 1.0, passed=5))
    summary.add(Result("b", FAILED, 1.0, passed=2, failed=1))
    summary.not_tested("Redis tests", "there is no Redis")
    summary.not_tested("shop", "there is no Redis")
    lines = shown(summary)
    assert lines[-1] == "7 passed, 1 failed"
    assert "not tested: Redis tests, shop, because there is no Redis" in lines


def test_failed_tests_are_named_in_the_end() -> None:
    summary = Summary(is_ci=False)
    failures = (("tests/a.py::test_it", "E  assert 40 == 39\nE  more"),)
    summary.add(Result("pytest-3.12", FAILED, 1.0, passed=2, failed=1, failures=failures))
    summary.add(Result("wheel", FAILED, 1.0, failed=1, note="exit code 1"))
    lines = shown(summary)
    at = lines.index("FAILED tests/a.py::test_it")
    assert lines[at + 1 : at + 4] == ["  E  assert 40 == 39", "", "FAILED wheel: exit code 1"]
    assert lines[-1] == "2 passed, 2 failed"


def test_many_failures_are_named_up_to_a_number() -> None:
    result = Result("pytest", FAILED, 1.0, failed=5, failures=tuple((f"t{n}", "E") for n in range(5)))
    assert failed_tests(result, 2, 0) == ["FAILED t0", "FAILED t1", "... and 3 more"]


def test_untested_part_is_a_failure_in_ci() -> None:
    summary = Summary(is_ci=True)
    summary.add(Result("a", OK, 1.0, passed=5))
    summary.not_tested("Redis tests", "there is no Redis")
    assert shown(summary)[-1] == "5 passed, 1 failed"


def test_steps_are_chosen_by_name_beginning_and_pattern() -> None:
    every = [
        Step(name, "", (), 1, is_fast=name == "ruff") for name in ("ruff", "shop-sqlite", "shop-mariadb", "shopping")
    ]
    assert [step.name for step in steps.select(every, only=["shop"])] == ["shop-sqlite", "shop-mariadb"]
    assert [step.name for step in steps.select(every, only=["*maria*", "ruff"])] == ["ruff", "shop-mariadb"]
    assert [step.name for step in steps.select(every, fast=True)] == ["ruff"]


def test_folder_that_does_not_exist_has_no_step(tmp_path: Path) -> None:
    names = [step.name for step in steps.all_steps(tmp_path, "3.11", ["3.13"])]
    assert names == ["ruff", "format", "mypy", "pytest-3.11", "pytest-3.13", "wheel"]


def test_a_test_that_never_ends_its_request_fails_and_names_it(tmp_path: Path) -> None:
    suite = """
import threading

from django.conf import settings

from tests import conftest

settings.configure()
conftest.REQUEST_END_LIMIT_S = 0.1

from django_wsgiperf.metrics import pipeline
from django_wsgiperf.metrics.record import Record


def begin():
    record = Record("GET")
    record.route = "/books/<id>"
    pipeline.begin(record)
    return record


def test_left_running():
    begin()


def test_next_one_has_nothing_of_it():
    assert not pipeline.running


def test_ended_a_little_later_in_another_thread():
    conftest.REQUEST_END_LIMIT_S = 20
    threading.Timer(0.05, pipeline.forget, [begin()]).start()
"""
    counts, done = run_pytest(tmp_path, suite)
    assert "requests were never ended: GET /books/<id>" in done.stdout
    assert (counts.failed, done.returncode) == (1, 1), done.stdout
    assert "ERROR test_suite.py::test_left_running" in done.stdout
