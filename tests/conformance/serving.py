"""Starts the suite's server and, before it, one cache: ours as a Django site, or another in a folder of its own.

Everything listens on free ports of 127.0.0.1 and is ended by its id.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests._run.servers import free_port
from tests.benchmarks.common.processes import Program
from tests.conformance import suite
from tests.conformance.peers import Peer

PROJECT = suite.HERE / "project"
LOGS = suite.RUN_FOLDER / "logs"
THREADS = 12


@dataclass(frozen=True, slots=True)
class Ours:
    """Our cache, as it comes but for these settings."""

    name: str
    title: str
    settings: Mapping[str, Any]


OURS = (
    Ours("wsgiperf", "django-wsgiperf", {}),
    Ours(
        "wsgiperf-all",
        "the same, with options",
        {"HEURISTIC": True, "REQUEST_DIRECTIVES": True, "STORE_NO_CACHE": True, "TARGETS": ["Surrogate-Control"]},
    ),
)


@contextlib.contextmanager
def origin(folder: Path) -> Iterator[int]:
    """The suite's server: its port. Raises StartError, NoSuite."""
    port = free_port()
    environment = suite.server_environment(port, suite.RUN_FOLDER)
    with _started("the suite's server", "origin", suite.server_command(), environment, folder, port):
        yield port


@contextlib.contextmanager
def ours(which: Ours, origin_port: int) -> Iterator[int]:
    """`manage.py serve` before the suite's server: its port. Raises StartError."""
    port = free_port()
    serve = ["serve", f"127.0.0.1:{port}", "--threads", str(THREADS), "--workers", "1"]
    environment = {
        "PYTHONPATH": f"{suite.ROOT}:{PROJECT}",
        "DJANGO_SETTINGS_MODULE": "passing.settings",
        "CONFORMANCE_ORIGIN": str(origin_port),
        "CONFORMANCE_CACHE": json.dumps(which.settings),
        "NO_COLOR": "1",
    }
    with _started(which.title, which.name, [sys.executable, "manage.py", *serve], environment, PROJECT, port):
        yield port


@contextlib.contextmanager
def peer(which: Peer, program: str, origin_port: int) -> Iterator[int]:
    """Another cache before the suite's server: its port. Raises StartError."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix=f"wsgiperf-{which.name}-"))
    try:
        # Some give up root's rights, and write here then.
        folder.chmod(0o777)
        command = which.make(program, folder, port, origin_port)
        with _started(which.title, which.name, command, {}, folder, port):
            yield port
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _started(
    title: str, name: str, command: list[str], environment: Mapping[str, str], folder: Path, port: int
) -> Iterator[None]:
    log = LOGS / f"{name}.log"
    log.unlink(missing_ok=True)
    with Program(title, command, log, environment, folder) as program:
        program.wait_for_port(port)
        yield
