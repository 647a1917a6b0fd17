"""What a forked child must put right in the cache: locks that nobody there will open, threads that stayed behind."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol


class Forked(Protocol):
    """Something with locks or threads."""

    def after_fork_in_child(self) -> None:
        """Make new locks, forget threads. Called in the child, before anything else of its own."""


_all: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()


def watch(what: Forked) -> None:
    """Call its after_fork_in_child() in every child, for as long as it is there."""
    _all.add(what)


def _after_fork_in_child() -> None:
    for each in list(_all):
        each.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
