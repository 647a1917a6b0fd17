"""A folder for sockets that is the test's alone, and processes that take part in the channel there."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from django_wsgiperf import control
from django_wsgiperf.control import folder, handlers

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 40.0

MEMBER = """
import os, sys, threading, time
import django
django.setup()
from django_wsgiperf import control
def echo(message):
    return {"pid": os.getpid(), "heard": message}
def hang(message):
    threading.Event().wait()
def fail(message):
    raise ValueError("a secret")
control.handle("echo", echo)
control.handle("hang", hang)
control.handle("fail", fail)
assert control.start()
print("ready", flush=True)
sys.stdin.read()
"""


class Member:
    """A process that takes part until it is told to end."""

    def __init__(self, program: str, environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "tests.settings", **environ},
            text=True,
        )
        self.pid = self.process.pid
        assert self.line() == "ready"

    def line(self) -> str:
        """The next line that the process prints."""
        assert self.process.stdout is not None
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                assert selector.select(DEADLINE_S), "the process said nothing"
                byte = os.read(self.process.stdout.fileno(), 1)
                assert byte, "the process has ended"
                line += byte
        return line.decode().strip()

    def end(self) -> None:
        """Have it end as a program does that has come to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(DEADLINE_S) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def clean(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of CONTROL_DIR; its path is short enough for a socket's, and no other test's processes are there."""
    path = Path(tempfile.mkdtemp(prefix="wp"))
    monkeypatch.setattr(folder, "_said", set())
    monkeypatch.setattr(handlers, "_handlers", {})
    control.stop()
    with override_settings(WSGIPERF={"SERVER": {"CONTROL_DIR": str(path)}}):
        yield path
        control.stop()
    shutil.rmtree(path)


@pytest.fixture
def private(base: Path) -> Path:
    """The private folder in it."""
    return Path(folder.folder())


@pytest.fixture
def member(base: Path) -> Iterator[Callable[..., Member]]:
    """Starts a process that takes part; afterwards all of them have ended."""
    members: list[Member] = []

    def begin(program: str = MEMBER, **environ: str) -> Member:
        members.append(Member(program, {"WSGIPERF_CONTROL_DIR": str(base), **environ}))
        return members[-1]

    yield begin
    for each in members:
        each.clean()


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        threading.Event().wait(0.01)
