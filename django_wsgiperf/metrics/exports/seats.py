"""Small numbers for processes, so that their series have labels that come again: 0, 1, 2 and so on.

Under `serve` a worker has the number of its place at the server. Elsewhere each process locks the first free of some
files in the control channel's private folder; the system lets go of the lock when the process ends, however it does.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Final

from django_wsgiperf.control import folder

SEATS_MAX: Final = 512

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
        import fcntl

        stem = os.path.join(folder.folder(), f"{folder.project()}-seat-")
        for number in range(SEATS_MAX):
            descriptor = os.open(f"{stem}{number}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            return number, descriptor
    except (ImportError, OSError, folder.Unavailable):
        pass
    return 0, -1


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
