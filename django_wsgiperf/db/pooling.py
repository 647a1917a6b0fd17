"""`Pooling`: what one DatabaseWrapper has to do with its pool, in one object, for one name on the wrapper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import weakref

    from .lease import Lease
    from .registry import PoolOf


class Pooling:
    """What one wrapper has to do with its pool."""

    __slots__ = ("checking", "connecting", "cursors", "epoch", "lease", "of", "pins", "seen", "unchecked", "unfit")

    def __init__(self) -> None:
        self.of: PoolOf | None = None
        """The pool, as long as `seen` and `epoch` are those of now."""
        self.seen: tuple[Any, ...] = ()
        self.epoch = -1
        self.lease: Lease[Any] | None = None
        self.cursors: dict[int, weakref.ref[Any]] = {}
        """The open cursors of this lease."""
        self.pins = 0
        self.connecting = False
        self.checking = False
        self.unchecked = False
        """The checks of foreign keys are off, by Django's own means, which is state of the session."""
        self.unfit = ""
        """Why the connection must not be lent again, whatever it looks like."""
