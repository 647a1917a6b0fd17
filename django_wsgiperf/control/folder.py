"""Where the sockets of a project's processes are: a folder of this user alone, and names that tell whose each one is.

`<base>/wsgiperf-<uid>/<project>-<pid>-<boot>`. `project` is a digest of the settings' module, its file and the secret
key, from which none of them can be learnt, so that two projects of one user never meet. What is said is others' affair.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from django_wsgiperf import conf
from django_wsgiperf.instance import host, instance

logger = logging.getLogger("django_wsgiperf.control")

PATH_MAX: Final = 107 if sys.platform == "linux" else 103
"""Bytes of a socket's path that the system's sun_path holds."""
TIDY_MAX: Final = 200
"""So many left-over sockets are looked at by one process that starts."""
PEERS_MAX: Final = 512
"""More processes than this are not asked: the newest are."""

_NAME = re.compile(r"(?P<project>[0-9a-f]{12})-(?P<pid>[0-9]{1,10})-(?P<boot>[0-9a-f]{8})")
_said: set[str] = set()
"""What has been logged, so that it is once only. Reasons are few; each names the folder, which seldom changes."""


class Unavailable(Exception):
    """There is no folder that is this user's alone, so that processes cannot reach each other. Says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A socket in the folder, and the process that put it there."""

    path: str
    pid: int
    instance: str


def folder() -> str:
    """The private folder, made when it is missing. Raises Unavailable."""
    if not hasattr(os, "geteuid"):
        raise Unavailable("this system has no Unix sockets that only their owner can reach")
    path = os.path.join(_base(), f"wsgiperf-{os.geteuid()}")
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        found = os.lstat(path)
    except OSError as error:
        raise Unavailable(f"the folder {path} cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "something else"
        raise Unavailable(f"{path} is no folder, but {what}")
    if found.st_uid != os.geteuid():
        raise Unavailable(f"the folder {path} belongs to user {found.st_uid}, not to user {os.geteuid()}")
    if found.st_mode & 0o077:
        raise Unavailable(f"the folder {path} is open to others (mode {stat.S_IMODE(found.st_mode):o}): chmod 700 it")
    return path


def own_path() -> str:
    """Where this process's socket belongs. Raises Unavailable."""
    _, pid, boot = instance().rsplit(":", 2)
    path = os.path.join(folder(), f"{project()}-{pid}-{boot}")
    # A dot goes before the name while the socket is not ready.
    if len(os.fsencode(path)) + 1 > PATH_MAX:
        raise Unavailable(f"the path {path} is too long for a Unix socket: set CONTROL_DIR to a shorter one")
    return path


def peers() -> Iterator[Peer]:
    """Every socket of the project's processes, the newest first, this process's own too. Raises Unavailable."""
    here, wanted = folder(), project()
    found: list[tuple[float, Peer]] = []
    with os.scandir(here) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match is None or match["project"] != wanted:
                continue
            with contextlib.suppress(OSError):
                at = entry.stat(follow_symlinks=False)
                if stat.S_ISSOCK(at.st_mode):
                    pid = int(match["pid"])
                    found.append((at.st_mtime, Peer(entry.path, pid, f"{host()}:{pid}:{match['boot']}")))
    found.sort(key=lambda each: each[0], reverse=True)
    yield from (peer for _, peer in found[:PEERS_MAX])


def project() -> str:
    """Twelve hex digits that stand for the project. Raises Unavailable when there is none."""
    try:
        module = os.environ.get("DJANGO_SETTINGS_MODULE", "")
        if django_settings.configured:
            module = getattr(django_settings, "SETTINGS_MODULE", None) or module
        keyed = salted_hmac("django_wsgiperf.control", f"{module}\0{_file_of(module)}", algorithm="sha256")
        return keyed.hexdigest()[:12]
    except ImproperlyConfigured as error:
        raise Unavailable(f"the project's settings cannot be read ({error})") from error


def _file_of(module: str) -> str:
    """The real path of the settings' file; of the present folder when they are in none."""
    loaded = sys.modules.get(module)
    path = getattr(loaded, "__file__", None)
    if path is None and module:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(module)
            path = spec.origin if spec is not None else None
    return os.path.realpath(path or os.curdir)


def _base() -> str:
    try:
        chosen = conf.current("SERVER").values.control_dir
    except conf.ConfigurationError:
        chosen = ""  # The system checks tell of it.
    if chosen:
        return chosen
    # As tempfile.gettempdir() has it, whose lock another thread may hold for ever in a child forked at that moment.
    return next(filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), "/tmp")


def say_once(text: str) -> None:
    """Log why processes cannot reach each other, once."""
    if text not in _said and len(_said) < 100:
        _said.add(text)
        logger.warning("The project's processes on this host cannot reach each other: %s", text)


def tidy() -> None:
    """Remove what killed processes of any of this user's projects left behind. Raises Unavailable.

    A process may be alive that has no number here, as in another container: it is asked by its socket, too."""
    looked_at = 0
    with os.scandir(folder()) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name.removeprefix("."))
            if match is None or is_alive(int(match["pid"])):
                continue
            looked_at += 1
            if looked_at > TIDY_MAX:
                return
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.setblocking(False)
                try:
                    client.connect(entry.path)
                except ConnectionRefusedError:
                    sweep(entry.path)
                except OSError:
                    continue


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def sweep(path: str) -> None:
    """Remove a socket that nobody listens on any more."""
    with contextlib.suppress(OSError):
        Path(path).unlink()
