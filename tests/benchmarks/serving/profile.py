"""`--profile`: py-spy looks at `serve` under load, and leaves a flame graph and a speedscope file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.common import wrk
from tests.benchmarks.serving.scenarios import Effort, Scenario
from tests.benchmarks.serving.servers import OURS, SERVERS
from tests.benchmarks.serving.session import Starter

SAMPLES_A_SECOND = 400
FORMATS = {"flamegraph": "svg", "speedscope": "speedscope.json"}
GRACE_S = 30.0


def py_spy() -> str:
    """Give the path of py-spy, or nothing."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy") or ""


def missing() -> str:
    """Say why nothing can be profiled here; empty when it can be."""
    return "" if py_spy() else "--profile needs py-spy: install the package py-spy"


def record(scenario: Scenario, starter: Starter, effort: Effort, folder: Path) -> list[Path]:
    """Profile `serve` under the load of `scenario`'s first page, and give the files. Raises LoadError."""
    program, path, written = py_spy(), scenario.paths[0], []
    with starter.running(SERVERS[OURS], workers=1, paths=list(scenario.paths)) as session:
        for kind, suffix in FORMATS.items():
            target = folder / f"serve-{scenario.name}.{suffix}"
            load = wrk.Wrk(session.url(path), connections=effort.clients, seconds=effort.seconds + GRACE_S)
            try:
                subprocess.run(
                    [
                        program, "record", "--pid", str(session.program.pid), "--subprocesses", "--threads",
                        "--duration", str(max(1, round(effort.seconds))), "--rate", str(SAMPLES_A_SECOND),
                        "--format", kind, "--output", str(target),
                    ],
                    check=True, capture_output=True, timeout=effort.seconds + GRACE_S,
                )  # fmt: skip
            except subprocess.SubprocessError as error:
                said = getattr(error, "stderr", b"") or b""
                raise wrk.LoadError(f"py-spy failed: {said.decode(errors='replace').strip() or error}") from error
            finally:
                load.stop()
            written.append(target)
    return written
