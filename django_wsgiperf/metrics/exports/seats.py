"""Small numbers for processes, so that their series have labels that come again: 0, 1, 2 and so on.

Under `serve` a worker has the number of its place at the server. Elsewhere each process locks the first free of some
files in the control channel's private folder; the system lets go of the lock when the process ends, however it does.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from typing import Final

from django_wsgiperf.control import folder

SEATS_MAX: Final = 512
OLD_S: Final = 7 * 86400.0
"""After so long without a process that took it, a file is removed."""
TIDY_MAX: Final = 100
_NAME: Final = re.compile(r"[0-9a-f]{12}-seat-[0-9]+")

_lock = threading.Lock()
"""Guards _taken."""
_taken: tuple[int, int] | None = None
"""Number and the descriptor that holds its lock; -1 where nothing could be locked."""


def number() -> int:
    """The number of this process, taken when first asked for; 0 where the channel has no folder."""
    global _taken
    with _lock:
        if _taken is None:
            _taken = _take()
        return _taken[0]


def _take() -> tuple[int, int]:
    try:
        here = folder.folder()
        _tidy(here)
        stem = os.path.join(here, f"{folder.project()}-seat-")
        for number in range(SEATS_MAX):
            descriptor = _lock_file(f"{stem}{number}")
            if descriptor is not None:
                os.utime(descriptor)
                return number, descriptor
    except (ImportError, OSError, folder.Unavailable):
        pass
    return 0, -1


def _lock_file(path: str) -> int | None:
    """A descriptor that holds the lock of the file of that name, made if need be; None while another process does."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have removed the file in between: the lock is then one of a file without a name.
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)


def _tidy(here: str) -> None:
    """Remove files of projects that have not been served for long, a few at a time."""
    long_ago = time.time() - OLD_S
    with os.scandir(here) as entries:
        old = [each.path for each in entries if _NAME.fullmatch(each.name) and each.stat().st_mtime < long_ago]
    for path in old[:TIDY_MAX]:
        descriptor = _lock_file(path)
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(descriptor)


def _after_fork_in_child() -> None:
    """The parent's seat stays the parent's, once no copy of its lock is open here."""
    global _lock, _taken
    _lock = threading.Lock()
    if _taken is not None and _taken[1] >= 0:
        with contextlib.suppress(OSError):
            os.close(_taken[1])
    _taken = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
