"""What a server under `serve --reload` tells its supervisor through a pipe: which files it has loaded, that it serves.

One pipe for each server, so that none speaks for another. What follows from the reports is reloader.py's to say.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path

from django.utils import autoreload

from .preload import REPORT_VARIABLE
from .spare import preloadable


class Reporter:
    """The child's end of the pipe to the supervisor; without a supervisor it does nothing.

    A report is one line of JSON, and no write is longer than PIPE_BUF, so that those of several processes do not mix.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._modules = 0
        self._told: set[str] = set()
        self._told_modules: set[str] = set()

    @classmethod
    def from_environment(cls) -> Reporter:
        return cls(int(os.environ.get(REPORT_VARIABLE, "-1")))

    def report_modules(self) -> None:
        """The files of all modules that are loaded now. Cheap when none was loaded since the last call."""
        if self._fd < 0 or len(sys.modules) == self._modules:
            return
        try:
            self._modules = len(sys.modules)
            files = {str(path) for path in autoreload.iter_all_python_module_files()} - self._told
            modules = [[name, file] for name, file in preloadable(self._told_modules)]
        except (KeyError, RuntimeError):
            self._modules = 0  # A thread imports something just now.
            return
        self._told |= files
        self._told_modules.update(name for name, _ in modules)
        self._send([*(["file", file] for file in sorted(files)), *(["module", *module] for module in modules)])

    def report_folders(self) -> None:
        """The templates, translations and whatever else Django and the project want watched."""
        if self._fd >= 0:
            wishes = autoreload.StatReloader()
            autoreload.autoreload_started.send(sender=wishes)
            self._send([["file", str(Path(file).absolute())] for file in wishes.extra_files])
            for folder, patterns in wishes.directory_globs.items():
                self._send([["glob", str(folder), pattern] for pattern in sorted(patterns)])

    def report_replaced(self, name: str) -> None:
        """The project has put something else for what a spare process imports early."""
        if self._fd >= 0:
            self._send([["replaced", name]])

    def report_ready(self) -> None:
        """The server listens."""
        if self._fd >= 0:
            self._send([["ready"]])

    def _send(self, reports: Sequence[Sequence[str]]) -> None:
        data = b""
        with contextlib.suppress(BrokenPipeError):  # The supervisor is gone; the master will notice.
            for report in reports:
                line = json.dumps(report).encode() + b"\n"
                if data and len(data) + len(line) > select.PIPE_BUF:
                    os.write(self._fd, data)
                    data = b""
                data += line
            if data:
                os.write(self._fd, data)


class Reports:
    """The supervisor's end."""

    def __init__(self) -> None:
        self.fd, self.theirs = os.pipe()
        """`theirs` is for the server to inherit; it is -1 when that is done. `fd` is -1 when the server has ended."""
        os.set_blocking(self.fd, False)
        self._unread = b""

    def handed_over(self) -> None:
        """The server has its end."""
        os.close(self.theirs)
        self.theirs = -1

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read(self) -> list[list[str]]:
        """What has come since; at once."""
        with contextlib.suppress(BlockingIOError):
            while self.fd >= 0:
                data = os.read(self.fd, 65_536)
                self._unread += data
                if not data:
                    self.close()
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]
