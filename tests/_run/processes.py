"""Runs commands: output to a log file, a time limit, and nothing left behind.

`run` waits for the end of one; a `Job` is looked after with `poll`, by whoever has several. Every command gets a
process group of its own, so that all of its children can be ended with it, by their ids. On Linux it is also ended by
the kernel when this process dies. What the result means is for the caller.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 5.0
TICK_S = 0.05
PR_SET_PDEATHSIG = 1

#: Gets the seconds since the start, and what was printed since the last call.
Listener = Callable[[float, str], None]

#: Variables of the user's that would change what the tests see.
FOREIGN = {
    "ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_URL",
    "DEBUG",
    "DJANGO_SETTINGS_MODULE",
    "GUNICORN_CMD_ARGS",
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "PYTHONHOME",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "REDIS_URL",
    "SECRET_KEY",
    "VIRTUAL_ENV",
    "WEB_CONCURRENCY",
}
FOREIGN_PREFIXES = ("WSGIPERF_", "BOOKSHOP_")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. `code` is None when it went past its limit and was stopped."""

    code: int | None
    seconds: float
    log: Path
    left_children: bool

    @property
    def ok(self) -> bool:
        return self.code == 0

    def tail(self, lines: int = 40) -> list[str]:
        """The last lines of its output."""
        return tail(self.log, lines)


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log file; none when there is no such file."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 400 * lines))
        return file.read().decode("utf-8", "replace").rstrip().splitlines()[-lines:]


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for commands: the user's, without what would change the tests' results."""
    kept = {
        name: value for name, value in environ.items() if name not in FOREIGN and not name.startswith(FOREIGN_PREFIXES)
    }
    return {**kept, "PYTHONUNBUFFERED": "1"}


def dies_with_us(signal_number: int) -> Callable[[], None] | None:
    """For Popen's preexec_fn: the kernel sends the signal when this process ends, however it ends. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here and not in the child, where only system calls are safe.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)

    return ask_kernel


class Job:
    """A command that runs. Look at it with `poll`, often; `stop` ends it before its time."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        limit_s: float,
        env: Mapping[str, str],
        cwd: Path,
        on_output: Listener | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.limit_s = limit_s
        self._on_output = on_output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._began = time.monotonic()
        self._outcome: Outcome | None = None
        with log.open("ab") as output:
            output.write(f"$ {' '.join(str(part) for part in command)}\n".encode())
            output.flush()
            self._heard = output.tell()
            try:
                self._process = subprocess.Popen(
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(env),
                    cwd=cwd,
                    start_new_session=True,
                    preexec_fn=dies_with_us(signal.SIGTERM),
                )
            except OSError as error:
                output.write(f"{command[0]} cannot be run: {error}\n".encode())
                self._outcome = Outcome(127, time.monotonic() - self._began, log, False)

    def poll(self, wait_s: float = 0.0) -> Outcome | None:
        """How it ended, or None while it runs; waits that long for its end. Stops it when it is past its limit."""
        if self._outcome is None:
            code = _wait(self._process, wait_s)
            elapsed = time.monotonic() - self._began
            self._tell(elapsed)
            if code is not None:
                left = _group_lives_on(self._process.pid)
                if left:
                    end_group(self._process)
                self._outcome = Outcome(code, elapsed, self.log, left)
            elif elapsed > self.limit_s:
                self.stop()
        return self._outcome

    def stop(self) -> None:
        """End it and its children, if it has not ended."""
        if self._outcome is None:
            end_group(self._process)
            elapsed = time.monotonic() - self._began
            self._outcome = Outcome(None, elapsed, self.log, False)
            self._tell(elapsed)

    def _tell(self, elapsed: float) -> None:
        """Give the listener what was printed since the last time."""
        if self._on_output:
            with self.log.open("rb") as reader:
                reader.seek(self._heard)
                text = reader.read()
            self._heard += len(text)
            self._on_output(elapsed, self._decoder.decode(text))


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    limit_s: float,
    env: Mapping[str, str],
    cwd: Path,
    on_output: Listener | None = None,
) -> Outcome:
    """Run a command to its end or its limit. `on_output` gets the seconds so far and what was printed since."""
    job = Job(command, log=log, limit_s=limit_s, env=env, cwd=cwd, on_output=on_output)
    try:
        while (outcome := job.poll(TICK_S)) is None:
            pass
    finally:
        job.stop()
    return outcome


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children: asked first, then forced."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        for _ in _until(GRACE_S):
            if _wait(process, TICK_S) is not None and not _group_exists(process.pid):
                return
            time.sleep(TICK_S)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _group_lives_on(group: int) -> bool:
    """Whether children outlive their parent by more than a moment."""
    for _ in _until(1.0):
        if not _group_exists(group):
            return False
        time.sleep(TICK_S)
    return True


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
