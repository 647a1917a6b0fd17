"""Closed-loop load from wrk, and its result as data.

wrk sends a connection's next request when the last is answered, so a server that stalls is asked less often while
it stalls (coordinated omission). wrk 4 adds the requests it thinks it missed, by the mean interval; that is a
guess. Where waiting is the point, the benchmarks also measure with an open loop.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk_report.lua")
#: wrk prints its result soon after its time is over; past this it hangs.
GRACE_S = 15.0
#: A response that takes longer than this is an error to wrk.
TIMEOUT_S = 10
POLL_S = 0.005


class LoadError(RuntimeError):
    """wrk is missing, or did not give a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One wrk result. Latencies in ms. `failed` counts answers that are not 2xx or 3xx, and socket errors."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.duration_s if self.duration_s else 0.0

    @property
    def failed(self) -> int:
        return sum(self.errors.values())


class Wrk:
    """A running wrk. `result()` waits for it."""

    def __init__(self, url: str, *, connections: int, seconds: float, prefix: Sequence[str] = ()) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise LoadError("wrk is not installed: install the Debian package wrk, or build it from source")
        self.seconds = seconds
        # wrk takes whole seconds only; a shorter run is ended by SIGINT, at which it reports as usual.
        self.command = [
            *prefix, program, "--threads", "1", "--connections", str(connections),
            "--duration", f"{math.ceil(seconds)}s", "--timeout", f"{TIMEOUT_S}s", "--script", str(SCRIPT), url,
        ]  # fmt: skip
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(self) -> Load:
        """Wait for the end of the run and give its result. Raises LoadError."""
        try:
            if self.seconds != int(self.seconds):
                self._wait_until_interruptible()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(self.seconds)
                self.process.send_signal(signal.SIGINT)
            output, _ = self.process.communicate(timeout=self.seconds + GRACE_S)
        except subprocess.TimeoutExpired:
            self.stop()
            raise LoadError(f"wrk gave no result {GRACE_S:.0f} s after its end: {' '.join(self.command)}") from None
        return parse(output)

    def result_now(self) -> Load:
        """End the run, and give the result so far. Raises LoadError."""
        self._wait_until_interruptible()
        self.seconds = 0.0
        self.process.send_signal(signal.SIGINT)
        return self.result()

    def _wait_until_interruptible(self) -> None:
        """Wait until wrk handles SIGINT, which it does just before its clock starts; before, SIGINT kills it."""
        until_s = time.monotonic() + GRACE_S
        while self.process.poll() is None and time.monotonic() < until_s:
            caught = re.search(r"^SigCgt:\s*(\w+)", _status(self.process.pid), re.MULTILINE)
            if caught and int(caught[1], 16) >> (signal.SIGINT - 1) & 1:
                return
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End wrk without a result."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def run(url: str, *, connections: int, seconds: float, prefix: Sequence[str] = ()) -> Load:
    """Load `url` from `connections` keep-alive connections for `seconds`. Raises LoadError."""
    return Wrk(url, connections=connections, seconds=seconds, prefix=prefix).result()


def parse(output: str) -> Load:
    """Read what wrk_report.lua printed. Raises LoadError when it is not there."""
    for line in output.splitlines():
        if line.startswith("WRK "):
            data = json.loads(line.removeprefix("WRK "))
            return Load(
                requests=data["requests"],
                duration_s=data["duration_us"] / 1e6,
                p50_ms=data["percentiles_us"]["50"] / 1000,
                p99_ms=data["percentiles_us"]["99"] / 1000,
                max_ms=data["max_us"] / 1000,
                errors=data["errors"],
            )
    raise LoadError(f"wrk printed no result line; it said: {output.strip()[-500:] or 'nothing'}")


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
