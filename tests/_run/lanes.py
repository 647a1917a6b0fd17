"""Runs steps side by side, in their order, as many at a time as there are lanes.

Most steps wait for sockets and processes more than they compute. One that measures runs alone: it waits until the
others have ended, and they wait for it. A step is started and its result taken by whoever makes the lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests._run import processes
from tests._run.execution import Execution
from tests._run.steps import Step
from tests._run.summary import Result

#: More would be faster on many cores, and would make tests on few wait longer than they expect.
MOST = 2


def usual(cores: int) -> int:
    """How many steps run at a time on a machine with so many cores."""
    return max(1, min(cores, MOST))


def run(
    steps: Iterable[Step],
    lanes: int,
    start: Callable[[Step], Execution | None],
    ended: Callable[[Step, Result, list[tuple[str, str]]], None],
) -> None:
    """Run every step. `start` gives None for one that cannot be run; `ended` gets each result when it is there."""
    waiting = list(steps)
    running: list[Execution] = []
    try:
        while waiting or running:
            while waiting and _has_room(waiting[0], [execution.step for execution in running], lanes):
                if execution := start(waiting.pop(0)):
                    running.append(execution)
            for execution in list(running):
                if outcome := execution.poll(processes.TICK_S):
                    running.remove(execution)
                    ended(execution.step, *outcome)
    finally:
        for execution in running:
            execution.stop()


def _has_room(step: Step, running: list[Step], lanes: int) -> bool:
    if not running:
        return True
    return len(running) < lanes and not step.is_alone and not any(other.is_alone for other in running)
