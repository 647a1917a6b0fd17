"""Private PostgreSQL, MariaDB and Redis servers, from installed programs: made for one run, gone after it.

Each lives in a temporary folder of its own, listens on a free port of 127.0.0.1, takes a password made for it, and
is stopped by its process id. As root, each runs as a user without rights, which PostgreSQL insists on. Whether one
is needed, and whether it answers, is decided in provide.py; how each is made is in recipes.py.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests._run import processes
from tests._run.place import CannotStart, Place
from tests._run.recipes import RECIPES

__all__ = ["RECIPES", "CannotStart", "PrivateServer", "free_port", "start"]

STOP_LIMIT_S = 20.0
#: Below those that the kernel gives to outgoing connections, from 32768 on Linux: one of these could be on it.
PORTS = range(20_000, 32_000)


@dataclass(slots=True)
class PrivateServer:
    """A server that was started. `stop` ends it and removes its folder; after `halt`, `launch` starts it again."""

    title: str
    url: str
    place: Place
    command: list[str]
    stop_signal: signal.Signals
    process: subprocess.Popen[bytes]

    @property
    def folder(self) -> Path:
        return self.place.folder

    @property
    def log(self) -> Path:
        return self.place.log

    def has_ended(self) -> bool:
        """Whether it stopped by itself."""
        return self.process.poll() is not None

    def launch(self) -> None:
        """Start it again. Raises OSError."""
        self.process = _launch(self.command, self.place, self.stop_signal)

    def halt(self) -> None:
        """Ask it to end, then force it; what it wrote stays."""
        for number in (self.stop_signal, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_LIMIT_S)
                break

    def stop(self) -> None:
        """End it and remove what it wrote."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)


def _launch(command: Sequence[str], place: Place, stop_signal: signal.Signals) -> subprocess.Popen[bytes]:
    with place.log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=processes.dies_with_us(stop_signal),
            **place.rights(),
        )


def start(key: str, *, log: Path, env: Mapping[str, str], extra: Sequence[str] = ()) -> PrivateServer | None:
    """A private server of this kind, still starting; None when it is not installed. Raises CannotStart.

    `extra` are more words for its command line; they outweigh the usual ones.
    """
    recipe = RECIPES[key]
    programs = recipe.programs()
    if programs is None:
        return None
    log.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"wsgiperf-{key}-"))
    try:
        place = Place(folder, free_port(), secrets.token_urlsafe(18), _unprivileged(recipe.system_user), log, env)
        place.give(folder)
        command = [str(word) for word in (*recipe.make(place, programs), *extra)]
        process = _launch(command, place, recipe.stop_signal)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise CannotStart(f"{recipe.title} cannot be started: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    url = recipe.url.format(port=place.port, password=place.password)
    return PrivateServer(recipe.title, url, place, command, recipe.stop_signal, process)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, and stays so while a server is restarted. Raises OSError."""
    with socket.socket() as probe:
        for port in random.sample(PORTS, 20):
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise OSError(f"no port of 127.0.0.1 from {PORTS[0]} to {PORTS[-1]} seems to be free")


def _unprivileged(preferred: str) -> str | None:
    """As root, the user to run as; None for anybody else, who runs as himself."""
    if os.geteuid() != 0:
        return None
    for name in (preferred, "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise CannotStart(f"this is root, and there is neither a user {preferred!r} nor 'nobody' to run it as")
