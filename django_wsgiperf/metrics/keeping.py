"""How a process gets at its store: opens it once, when it is first wanted, rolls up in it now and then, and knows how
that and the last writing went. What is written, and when, is the worker's affair (worker.py).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from django_wsgiperf.conf import MetricsSettings

from . import rollup
from .reading import Reader
from .stores.base import Store, StoreError
from .unread import Unread

logger = logging.getLogger("django_wsgiperf.metrics")

_ROLLUP_S: Final = 20.0


class Keeper:
    """The store of one process, and how it fares. `_opening` guards what is opened: there is one store, and one reader;
    reentrant, for the reader opens the store. The rest is written by whoever has the worker's turn."""

    def __init__(
        self,
        settings: MetricsSettings,
        open_store: Callable[[MetricsSettings], Store],
        *,
        owner: str,
        clock: Callable[[], float],
    ) -> None:
        self.last_flush_s = 0.0
        self.last_error = ""
        self.rollup_error = ""
        self.unread = Unread()
        self._settings = settings
        self._open_store = open_store
        self._owner = owner
        self._clock = clock
        self._opening = threading.RLock()
        self._store: Store | None = None
        self._reader: Reader | None = None
        self._next_rollup = time.monotonic() + random.uniform(0, _ROLLUP_S)

    def store(self) -> Store:
        """The store that this process writes to and reads from. Raises StoreError."""
        with self._opening:
            if self._store is None:
                self._store = self._open_store(self._settings)
            return self._store

    def reader(self) -> Reader:
        """What reads the store, and remembers what it has decoded. Raises StoreError."""
        with self._opening:
            if self._reader is None:
                self._reader = Reader(self.store(), self.unread)
            return self._reader

    def roll_up_in_time(self, now: float) -> None:
        """Add fine rows up, when it is time. `now` is of time.monotonic()."""
        if now < self._next_rollup:
            return
        self._next_rollup = now + _ROLLUP_S * random.uniform(0.9, 1.1)
        try:
            now_s = int(self._clock())
            rollup.run(self.store(), self._settings, owner=self._owner, now_s=now_s, unread=self.unread)
            self.rollup_error = ""
        except StoreError as error:
            # Whoever is next goes on. What was written is read all the same.
            logger.debug("Metrics were not rolled up: %s", error)
            self.rollup_error = str(error)

    def written(self) -> None:
        """A writing succeeded."""
        self.last_flush_s = self._clock()
        if self.last_error:
            self.last_error = ""
            logger.info("Metrics are written again")

    def failed(self, why: str, *, exc_info: bool = False) -> None:
        """A writing failed: the first time after one that did not, it is told."""
        if not self.last_error:
            logger.warning(
                "Metrics cannot be written: %s; they are kept for a quarter of an hour and tried again",
                why,
                exc_info=exc_info,
            )
        self.last_error = why
