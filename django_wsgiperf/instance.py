"""The name of this process among all that serve the project, on all hosts: `host:pid:` and eight random hex digits.

A forked child has another name than its parent, and so has a process that was given the number of one that ended.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading

_lock = threading.Lock()
"""Guards _made: two threads that ask first get the same name."""
_made: dict[int, str] = {}
"""Process id -> name; of this process alone."""


def instance() -> str:
    """The name of this process, made when it is first asked for."""
    pid = os.getpid()
    name = _made.get(pid)
    if name is None:
        with _lock:
            name = _made.setdefault(pid, f"{host()}:{pid}:{secrets.token_hex(4)}")
    return name


def host() -> str:
    """The name of this host, without colons."""
    return socket.gethostname().replace(":", "-") or "localhost"


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _made.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
