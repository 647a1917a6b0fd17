"""Commands are bounded in time, leave nothing behind, and see a clean environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests._run import processes

WAITS = "import time; print('begun', flush=True); time.sleep(60)"
LEAVES_A_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', "{WAITS}"])
print(child.pid)
"""


def run(tmp_path: Path, code: str, limit_s: float = 30.0) -> processes.Outcome:
    return processes.run(
        [sys.executable, "-c", code], log=tmp_path / "log", limit_s=limit_s, env=dict(os.environ), cwd=tmp_path
    )


def test_exit_code_and_output_are_kept(tmp_path: Path) -> None:
    outcome = run(tmp_path, "print('hello'); raise SystemExit(3)")
    assert (outcome.code, outcome.ok, outcome.tail(1)) == (3, False, ["hello"])


def test_command_past_its_limit_is_stopped_and_has_no_code(tmp_path: Path) -> None:
    outcome = run(tmp_path, WAITS, limit_s=0.5)
    assert outcome.code is None
    assert outcome.seconds < 10


def test_child_that_outlives_its_parent_is_ended_and_reported(tmp_path: Path) -> None:
    outcome = run(tmp_path, LEAVES_A_CHILD)
    child = next(int(line) for line in outcome.tail() if line.isdigit())
    assert outcome.ok
    assert outcome.left_children
    assert not is_running(child)


def test_program_that_does_not_exist_is_a_failure_like_any_other(tmp_path: Path) -> None:
    outcome = processes.run([tmp_path / "gone"], log=tmp_path / "log", limit_s=5, env={}, cwd=tmp_path)
    assert outcome.code == 127
    assert "cannot be run" in outcome.tail()[-1]


def test_output_is_heard_while_it_comes(tmp_path: Path) -> None:
    heard: list[str] = []
    processes.run(
        [sys.executable, "-c", "print('one'); print('two')"],
        log=tmp_path / "log",
        limit_s=30,
        env=dict(os.environ),
        cwd=tmp_path,
        on_output=lambda seconds, text: heard.append(text),
    )
    assert "".join(heard).splitlines()[-2:] == ["one", "two"]


def test_variables_that_change_results_are_kept_out() -> None:
    user = {"PATH": "/bin", "WSGIPERF_THREADS": "3", "DATABASE_URL": "x", "PYTHONPATH": "y", "CI": "true"}
    assert processes.clean_environment(user) == {"PATH": "/bin", "CI": "true", "PYTHONUNBUFFERED": "1"}


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie that its new parent has yet to collect."""
    status = Path(f"/proc/{pid}/stat")
    if status.parent.parent.joinpath("self").exists():
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
