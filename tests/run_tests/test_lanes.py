"""Steps run side by side within bounds; what measures runs alone; an interrupted run leaves none behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests._run import execution, lanes, processes
from tests._run.execution import Execution, Machine
from tests._run.steps import Step
from tests._run.summary import OK, Result

ROOT = Path(__file__).resolve().parents[2]
#: Says that it is there, waits until so many have been, and looks at who is there now.
MEETS = """
import pathlib, sys, time
folder, name, wanted = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for kind in ("there", "been"):
    (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / kind / name).touch()
deadline = time.monotonic() + 60
while len(list((folder / "been").iterdir())) < wanted and time.monotonic() < deadline:
    time.sleep(0.01)
print("together:", *sorted(file.name for file in (folder / "there").iterdir()))
(folder / "there" / name).unlink()
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    env = processes.clean_environment(os.environ)
    return Machine(ROOT, tmp_path / "logs", env, {}, sys.executable, sys.executable)


def meets(folder: Path, name: str, others: int, **more: bool) -> Step:
    return Step(name, "", ("-c", MEETS, str(folder), name, str(others)), 90, **more)


def run(machine: Machine, steps: list[Step], count: int) -> dict[str, str]:
    """Who each step saw beside itself."""
    ended: list[Result] = []
    lanes.run(steps, count, lambda step: Execution(step, machine), lambda step, result, _: ended.append(result))
    assert sorted(result.name for result in ended) == sorted(step.name for step in steps)
    assert {result.verdict for result in ended} == {OK}
    return {step.name: processes.tail(machine.log(step), 1)[0] for step in steps}


def test_steps_run_side_by_side(machine: Machine, tmp_path: Path) -> None:
    seen = run(machine, [meets(tmp_path / "meet", name, 2) for name in ("a", "b")], 2)
    assert "together: a b" in seen.values()


def test_no_more_steps_run_than_there_are_lanes(machine: Machine, tmp_path: Path) -> None:
    seen = run(machine, [meets(tmp_path / "meet", name, 1) for name in ("a", "b", "c")], 1)
    assert seen == {name: f"together: {name}" for name in ("a", "b", "c")}


def test_step_that_measures_runs_alone(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "meet"
    steps = [meets(folder, "a", 1), meets(folder, "bench", 1, is_alone=True), meets(folder, "c", 1)]
    assert run(machine, steps, 3)["bench"] == "together: bench"


def test_step_that_cannot_be_run_is_passed_over(machine: Machine) -> None:
    ended: list[str] = []
    steps = [Step(name, "", ("-c", ""), 30) for name in ("gone", "there")]
    lanes.run(
        steps,
        2,
        lambda step: Execution(step, machine) if step.name == "there" else None,
        lambda step, result, _: ended.append(result.name),
    )
    assert ended == ["there"]


def unheard(step: Step, result: Result, untested: list[tuple[str, str]]) -> None:
    raise AssertionError(f"{step.name} has ended by itself")


def test_interrupted_run_ends_what_runs(machine: Machine) -> None:
    started: list[Execution] = []

    def start(step: Step) -> Execution:
        if len(started) == 2:
            raise KeyboardInterrupt
        started.append(Execution(step, machine))
        return started[-1]

    with pytest.raises(KeyboardInterrupt):
        lanes.run([Step(name, "", ("-c", "import time; time.sleep(90)"), 90) for name in "abc"], 3, start, unheard)
    assert [execution.poll() is None for execution in started] == [False, False]


def test_each_step_has_places_of_its_own_that_are_gone_afterwards(machine: Machine) -> None:
    code = "import os, tempfile; print(tempfile.mkdtemp(), os.environ['BOOKSHOP_DATA']); assert MODE == 0o1777"
    code = code.replace("MODE", "os.stat(tempfile.gettempdir()).st_mode & 0o7777")
    steps = [Step(name, "", ("-c", code), 30) for name in ("a", "b")]
    told = [processes.tail(machine.log(step), 1)[0].split() for step in steps if execution.execute(step, machine)]
    assert len({place for places in told for place in places}) == 4
    assert not any(Path(temporary).parent.exists() for temporary, _ in told)


def test_one_core_has_one_lane_and_many_have_few() -> None:
    assert [lanes.usual(cores) for cores in (1, 2, 64)] == [1, 2, 2]
