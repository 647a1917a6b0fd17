"""Which tests run where: nothing is left out on the way to less time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests._run.steps import LONG, TOOLS, Step, all_steps, left_to_others, shared

ROOT = Path(__file__).resolve().parents[2]


def suites(*newest: str, sharing: Iterable[str] | None = None) -> dict[str, set[str]]:
    """Of each step that runs the suite, what it leaves out."""

    def left_out(step: Step) -> set[str]:
        return {each.removeprefix("--ignore=tests/") for each in step.command if each.startswith("--ignore=")}

    steps = all_steps(ROOT, "3.11", newest, sharing)
    return {step.name: left_out(step) for step in steps if step.name.startswith("pytest-")}


def test_what_is_left_out_by_name_is_there() -> None:
    assert [name for name in TOOLS if not (ROOT / "tests" / name).is_dir()] == []
    assert LONG.keys() <= set(shared(ROOT / "tests"))


def test_the_oldest_django_is_tested_with_everything() -> None:
    assert not suites("3.12", "3.13")["pytest-3.11"] & {*shared(ROOT / "tests"), *TOOLS}


def test_each_module_runs_with_the_newest_django_once() -> None:
    modules = set(shared(ROOT / "tests"))
    assert len(modules) > 100
    one, other = (suites("3.12", "3.13")[f"pytest-{minor}"] & modules for minor in ("3.12", "3.13"))
    assert one | other == modules
    assert not one & other


def test_what_takes_long_is_shared_evenly() -> None:
    modules = shared(ROOT / "tests")
    left = [left_to_others(modules, minor, ("3.12", "3.13")) for minor in ("3.12", "3.13")]
    one, other = (sum(LONG.get(name, 1) for name in names) for names in left)
    assert abs(one - other) <= 1


def test_a_single_new_python_runs_all_of_them() -> None:
    assert not suites("3.12")["pytest-3.12"] & set(shared(ROOT / "tests"))


def test_a_new_python_that_is_missing_leaves_its_part_to_the_other() -> None:
    left_out = suites("3.12", "3.13", sharing=["3.13"])
    assert not left_out["pytest-3.13"] & set(shared(ROOT / "tests"))
    # Its step stays, so that it is named as not tested.
    assert "pytest-3.12" in left_out


@pytest.mark.parametrize(
    ("arguments", "why"), [(["--python", "3.9"], "3.9 is not tested"), (["--only", "no"], "No step")]
)
def test_what_selects_nothing_says_so_and_ends_with_2(arguments: list[str], why: str) -> None:
    command = [sys.executable, str(ROOT / "tests" / "run.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, why in done.stdout + done.stderr) == (2, True)
