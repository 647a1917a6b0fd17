"""Rows of the store that this process could not read: which, how many, and the log's word on them.

Those of a newer version are no loss: while processes of two versions share a store, each keeps what it cannot read for
the others. Damaged ones are.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from .packing import Newer
from .stores.base import Row

logger = logging.getLogger("django_wsgiperf.metrics")

MAX_KNOWN: Final = 10_000
"""So many rows are told apart; after that they may be counted twice."""


class Unread:
    """Counts each row once, however often it is met. `_lock` guards all of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[int, int, str], bool] = {}
        """Key of a row -> whether it is of a newer version. Bounded by MAX_KNOWN."""
        self.newer = 0
        self.damaged = 0

    def note(self, row: Row, error: Exception) -> None:
        """A row is passed over. The first of either kind is told in the log."""
        with self._lock:
            if row.key in self._known:
                return
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[row.key] = isinstance(error, Newer)
            if isinstance(error, Newer):
                self.newer += 1
                first = self.newer == 1
            else:
                self.damaged += 1
                first = self.damaged == 1
        if not first:
            return
        if isinstance(error, Newer):
            logger.warning(
                "Metrics of %s at %d are of a newer django-wsgiperf, others may follow: they are kept for it, "
                "and are in no number here",
                row.owner,
                row.start,
            )
        else:
            logger.warning("Metrics of %s at %d cannot be read, others may follow: %s", row.owner, row.start, error)

    def is_newer(self, key: tuple[int, int, str]) -> bool:
        """Whether a row of that key is known to be of a newer version."""
        return self._known.get(key, False)
