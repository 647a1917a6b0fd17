"""Starting a program that is to be measured, waiting for it, ending it, and reading its memory and processor time.

Linux only, as /proc is read. Every process is ended by its own id; a harness that is itself ended ends them too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

START_S = 20.0
STOP_S = 8.0
POLL_S = 0.02
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class StartError(RuntimeError):
    """A program ended, or did not listen in time."""


def free_port() -> int:
    """Give a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Program:
    """One started program and all its descendants. Use as a context manager, or call stop()."""

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    #: Open files that the program inherits.
    keep: Sequence[int] = ()

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"\n$ {' '.join(self.command)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.cwd,
                env={**os.environ, **self.env}, start_new_session=True, pass_fds=self.keep,
            )  # fmt: skip
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        if self.process is None:
            raise StartError(f"{self.name} has not been started")
        return self.process.pid

    def wait_for_port(self, port: int, timeout_s: float = START_S) -> float:
        """Wait until something listens on 127.0.0.1:port; give the seconds it took. Raises StartError."""
        began_s = time.monotonic()
        while (waited_s := time.monotonic() - began_s) < timeout_s:
            if self.process is not None and self.process.poll() is not None:
                raise StartError(
                    f"{self.name} ended with status {self.process.returncode} before it listened: {self.last_words()}"
                )
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return waited_s
            time.sleep(POLL_S)
        raise StartError(f"{self.name} did not listen on port {port} within {timeout_s:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """Give the end of what the program printed."""
        return " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-6:])

    def stop(self) -> None:
        """Ask the program to end, with its descendants; past STOP_S, end them."""
        if self.process is None:
            return
        family = list(descendants(self.process.pid))
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        for pid in (self.process.pid, *family):
            # The session was made for this program alone: a process of another session has reused the number.
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def family(self) -> list[int]:
        """Give the ids of the program and its descendants."""
        return [self.pid, *descendants(self.pid)]

    def cpu_s(self) -> float:
        """Give the processor time, user and system, that the program and its living descendants have used."""
        return sum(_cpu_s(pid) for pid in self.family())

    def memory_bytes(self) -> int:
        """Give the proportional set size of the program and its descendants (shared pages divided, not doubled)."""
        return sum(_pss_bytes(pid) for pid in self.family())


def descendants(pid: int) -> Iterator[int]:
    """Give the ids of the other living processes in the session that `pid` leads: its children, and theirs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != pid:
            with contextlib.suppress(OSError):
                if os.getsid(int(entry.name)) == pid:
                    yield int(entry.name)


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        # The command name may hold spaces; the numbers start after its closing parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
    return 0.0


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def busy_s() -> float:
    """Give the processor time that this whole machine has spent, on everything and everyone, over all cores.

    Time that the host took away (steal) counts too: whoever had it, we had not.
    """
    user, nice, system, _idle, _wait, irq, softirq, steal, *_ = (
        int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS_A_SECOND


def own_s() -> float:
    """Give the processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
