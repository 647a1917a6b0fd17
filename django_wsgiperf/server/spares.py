"""Which spare process of `serve --reload` waits for the next save, and whether it may serve then.

The first one only finds out what cannot be imported before the settings are known; those after it do without. One such
process, from outside, is spare.py's. When one is made, and what it becomes, is for reloader.py to say.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .reports import Reports
from .spare import Spare

_IN_VAIN_MAX = 5

Launch = Callable[[Sequence[str], Reports, Mapping[str, str], int], subprocess.Popen[bytes]]
"""Starts a child with a command, what it reports to, environment variables, and a descriptor that it is to inherit."""


class Child(NamedTuple):
    process: subprocess.Popen[bytes]
    reports: Reports


class Spares:
    """At most one at a time, which is to become the server that `command` starts."""

    def __init__(self, command: Sequence[str], launch: Launch) -> None:
        self._command = command
        self._launch = launch
        self._spare: Spare | None = None
        self._reports: Reports
        self._modules: dict[str, str] = {}
        """Those that one is to import: name and file."""
        self._unfit: set[str] = set()
        """Those of them that it cannot."""
        self._knows_unfit = False
        """One has tried all. Before that it would be of no use, most likely."""
        self._in_vain = 0

    def add_module(self, name: str, file: str) -> None:
        """A server has loaded it, and it is none of the project's."""
        self._modules[name] = file

    def leave_out(self, name: str) -> None:
        """A module that one which was needed before that was known could not import."""
        self._unfit.add(name)

    def give_up(self) -> None:
        """There is no use for any."""
        self._in_vain = _IN_VAIN_MAX

    def consider(self, *, now: bool) -> None:
        """Have one ready for the next save, which takes up no time before that. `now`: one may be started."""
        if self._spare is not None:
            told = self._reports.read()
            self._knows_unfit |= ["imported"] in told
            unfit = {report[1] for report in told if report[0] == "unfit"}
            if unfit or self._spare.process.poll() is not None:
                # What it has imported cannot be taken back.
                self._unfit |= unfit
                self._in_vain += 1
                self.discard()
        elif now and self._in_vain < _IN_VAIN_MAX and "django.conf" in self._modules:
            modules = {name: file for name, file in self._modules.items() if name not in self._unfit}
            self._reports = reports = Reports()
            self._spare = Spare(
                self._command, modules, lambda command, more, fd: self._launch(command, reports, more, fd)
            )

    def take(self) -> tuple[Child | None, str]:
        """The one that waited, which goes on as the server; None where there is none that may.

        Why not, in words; none where that has been told, since it is so each time."""
        if self._spare is not None and self._knows_unfit and self._spare.is_fresh():
            spare, self._spare = self._spare, None
            spare.go()
            return Child(spare.process, self._reports), ""
        is_stale = self._spare is not None and self._knows_unfit
        self.discard()
        if self._in_vain >= _IN_VAIN_MAX:
            return None, ""
        return None, "installed packages changed" if is_stale else "no spare process is ready yet"

    def discard(self) -> None:
        """End the one that waits, if there is one."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.discard()
            self._reports.close()
