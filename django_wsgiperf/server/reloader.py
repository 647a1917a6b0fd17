"""`serve --reload`: a supervisor that runs the real server as a child and starts another when a source file changes.

The supervisor keeps the listening sockets, so that connections wait during a restart instead of being refused. The old
child takes no more of them and ends what it has begun while the new one starts already, from a spare process that has
imported Django before (spares.py). A broken file is outlived: the error is shown, and the next save tries again. The
child's workers report what they have loaded (reports.py); watching.py looks at it. No request passes through here.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from django.utils import autoreload

from .connection import NEVER
from .handover import CHANNELS_VARIABLE, Channel, as_variable
from .preload import REPORT_VARIABLE
from .reports import Reports
from .spares import Child, Spares
from .watching import Stamp, Watch, project_files

CHILD_VARIABLE = "WSGIPERF__RELOAD_CHILD"
SOCKETS_VARIABLE = "WSGIPERF__LISTEN_FDS"

_LOOK_MIN_S = 0.1
_LOOK_MAX_S = 0.25
_LOOK_SHARE = 40
"""A look at all files that takes 5 ms is followed by 200 ms of rest."""
_SPARE_AFTER_S = 0.5
"""So long the new server has the machine for its first requests, before a spare process is made."""
_PATIENCE_S = 2.0
"""At the end: how long a developer waits for requests that still run."""
_KILL_S = 7.0
"""More than the child gives its workers."""
_OLD_MAX = 3
"""So many old servers may have requests to finish; of more, the oldest is ended at once."""
_HASTE_S = 1.0
"""A change so soon after a start is one of many, most likely."""
_QUIET_S, _QUIET_MAX_S = 0.2, 2.0
_SETTLED_S = 2.0
_RESTARTS_IN_A_ROW = 10
"""So often a file may change right when the server has started, before the server is taken for who changes it."""


def is_child() -> bool:
    """Whether this process is the one that serves."""
    return os.environ.get(CHILD_VARIABLE, "") != ""


def is_first_child() -> bool:
    """Whether none of the supervisor's children has served before it."""
    return os.environ.get(CHILD_VARIABLE) == "1"


def inherited_addresses() -> tuple[str, ...]:
    """In the child: the supervisor's sockets, as addresses to listen on."""
    return tuple(f"fd://{fd}" for fd in os.environ.get(SOCKETS_VARIABLE, "").split(",") if fd)


class Supervisor:
    """Runs `command` until INT or TERM, and anew after each change. `say` gets one line at a time."""

    def __init__(self, command: Sequence[str], sockets: Sequence[socket.socket], say: Callable[[str], None]) -> None:
        self._command = command
        self._sockets = [sock.fileno() for sock in sockets]
        self._channels = [Channel() for _ in sockets]
        self._say = say
        self._stop_signal = 0
        self._watch = Watch()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._ready_at = NEVER
        self._started_at = 0.0
        self._child: Child | None = None
        self._spares = Spares(command, self._launch)
        self._old: list[subprocess.Popen[bytes]] = []
        """Told to go, the oldest first."""
        self._has_served = False
        self._restarts: dict[str, int] = {}
        """How often in a row each file has changed before the server had settled."""
        self._project: dict[str, Stamp | None] = {}

    def run(self) -> int:
        """The exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._stop_soon)
        signal.signal(signal.SIGUSR1, self._pass_on)
        for number in (signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        for file in autoreload.iter_all_python_module_files():
            self._watch.add(str(file))
        autoreload.ensure_echo_on()
        changed = ""
        while True:
            self._watch.refresh()
            self._project = project_files()
            child = self._child = self._start(changed)
            changed = self._attend(child)
            child.reports.close()
            if not changed:
                return self._end(child.process)
            self._let_go(child.process)
            if time.time() < self._started_at + _HASTE_S:
                self._await_quiet()

    def _stop_soon(self, number: int, frame: object) -> None:
        self._stop_signal = number

    def _pass_on(self, number: int, frame: object) -> None:
        if self._child is not None:
            self._child.process.send_signal(number)

    def _start(self, changed: str) -> Child:
        self._ready_at = NEVER
        self._started_at = time.time()
        child, why_not = self._spares.take()
        if changed:
            from_scratch = f", from scratch: {why_not}" if why_not else ""
            self._say(f"{_shown(changed)} changed, starting again{from_scratch}")
        if child is None:
            reports = Reports()
            child = Child(self._launch(self._command, reports), reports)
        return child

    def _launch(
        self, command: Sequence[str], reports: Reports, more: Mapping[str, str] | None = None, *fds: int
    ) -> subprocess.Popen[bytes]:
        environment: Mapping[str, str] = {
            **os.environ,
            CHILD_VARIABLE: "2" if self._has_served else "1",
            SOCKETS_VARIABLE: ",".join(map(str, self._sockets)),
            CHANNELS_VARIABLE: as_variable(self._channels),
            REPORT_VARIABLE: str(reports.theirs),
            # Applications know by Django's own variable which of the two processes is the one that works.
            autoreload.DJANGO_AUTORELOAD_ENV: "true",
            **(more or {}),
        }
        # Ctrl-C reaches every process of the terminal. A child that still imports would show where it was just then;
        # once it serves, gunicorn takes the signal. Blocked, so that one which comes to us meanwhile is not ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if signal.SIGINT in signal.sigpending():
            self._stop_signal = signal.SIGINT
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            passed = [*self._sockets, reports.theirs, *fds, *chain(*(channel.fds for channel in self._channels))]
            return subprocess.Popen(command, env=environment, pass_fds=passed, close_fds=True)
        finally:
            reports.handed_over()
            signal.signal(signal.SIGINT, before)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _attend(self, child: Child) -> str:
        """Until something changes: the file's name. Empty when the end has come."""
        told, look_s = False, 0.0
        while not self._stop_signal:
            self._sleep(min(max(_LOOK_MIN_S, _LOOK_SHARE * look_s), _LOOK_MAX_S), child.reports)
            self._read(child.reports)
            self._bury()
            began = time.monotonic()
            changed = self._watch.changed()
            look_s = time.monotonic() - began
            status = child.process.poll()
            if status == 0:
                return ""  # Somebody has ended it on purpose.
            if status is not None and not changed:
                if not told:
                    told = True
                    self._say(f"the server ended with status {status}; it starts again at the next save")
                # Anything may mend it, also what has not been loaded yet.
                now = project_files()
                changed = next((path for path in now if self._project.get(path) != now[path]), "")
            if changed and not self._is_the_servers_own(changed):
                return changed
            # A server that starts, or has just begun to serve, has the machine for itself.
            is_settled = time.time() > self._ready_at + _SPARE_AFTER_S
            self._spares.consider(now=is_settled or status is not None)
        return ""

    def _sleep(self, seconds: float, reports: Reports | None = None) -> None:
        """Until a signal or a report has come, or `seconds` have passed. The end of a child is a signal, too."""
        readable = [reports.fd] if reports is not None and reports.fd >= 0 else []
        select.select([self._wake_in, *readable], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_in, 4096)

    def _let_go(self, child: subprocess.Popen[bytes]) -> None:
        """Tell the child to end what it has begun and to take nothing more. Nobody waits for it."""
        child.send_signal(signal.SIGTERM)
        self._old.append(child)
        for old in self._old[:-_OLD_MAX]:
            old.send_signal(signal.SIGQUIT)

    def _bury(self) -> None:
        ended = [old for old in self._old if old.poll() is not None]
        for old in ended:
            self._old.remove(old)
            # It may have been in a debugger, which turns the echo off.
            autoreload.ensure_echo_on()

    def _end(self, child: subprocess.Popen[bytes]) -> int:
        """End every child; on INT and QUIT at once, else what they have begun may finish, but not for long.

        The exit status: that of a child that has ended by itself."""
        self._spares.discard()
        status = child.poll() or 0
        steps = [(signal.SIGTERM, _PATIENCE_S), (signal.SIGQUIT, _KILL_S), (signal.SIGKILL, _KILL_S)]
        # A child that does not serve yet knows no signals, and would leave a core file of this one.
        if self._stop_signal in (signal.SIGINT, signal.SIGQUIT) and self._ready_at != NEVER:
            del steps[0]
        self._stop_signal = 0
        self._old.append(child)
        for number, patience_s in steps:
            self._bury()
            for old in self._old:
                old.send_signal(number)
            deadline = time.monotonic() + patience_s
            # Ctrl-C makes it quick.
            while self._old and not self._stop_signal and (remaining := deadline - time.monotonic()) > 0:
                self._sleep(remaining)
                self._bury()
            self._stop_signal = 0
        return status

    def _is_the_servers_own(self, path: str) -> bool:
        """Whether the file changes because the server starts, which would go on for ever."""
        is_settled = time.time() > self._ready_at + _SETTLED_S
        count = self._restarts[path] = 1 if is_settled else self._restarts.get(path, 0) + 1
        if count <= _RESTARTS_IN_A_ROW:
            return False
        if count == _RESTARTS_IN_A_ROW + 1:
            self._say(
                f"{_shown(path)} changes whenever the server starts; it is not watched any longer "
                f"until {_SETTLED_S:.0f} s after a start"
            )
        self._watch.accept(path)
        return True

    def _await_quiet(self) -> None:
        """While many files change, or one again and again, each start would be in vain."""
        began = now = time.monotonic()
        until = now + _QUIET_S
        self._watch.refresh()
        while not self._stop_signal and now < until:
            self._sleep(until - now)
            self._bury()
            now = time.monotonic()
            if self._watch.changed():
                self._watch.refresh()
                until = min(now + _QUIET_S, began + _QUIET_MAX_S)

    def _read(self, reports: Reports) -> None:
        for report in reports.read():
            match report:
                case ["file", path]:
                    self._watch.add(path, newer_than=self._started_at)
                case ["glob", folder, pattern]:
                    self._watch.add_glob(folder, pattern)
                case ["module", name, file]:
                    self._spares.add_module(name, file)
                case ["unfit", name]:
                    self._spares.leave_out(name)  # The server was a spare process, and has begun anew.
                case ["replaced", name]:
                    self._spares.give_up()
                    self._say(f"the project replaces {name}, so that each start has to import everything anew")
                case ["ready"]:
                    self._ready_at = time.time()
                    if self._has_served:
                        self._say(f"serving again after {time.time() - self._started_at:.1f} s")
                    self._has_served = True


def _shown(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
