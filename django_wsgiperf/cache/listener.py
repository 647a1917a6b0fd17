"""The thread that keeps a process's purges up to date: `wsgiperf-cache-purges`, a daemon, started and ended by Tags.

It waits for announcements where the store makes any, and reads the log when one comes and each `max_stale_s` in any
case. So the log is also what finds out that the store is well again, and no request has to. Decides nothing itself.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from .store import GuardedStore, StoreError, Subscription

if TYPE_CHECKING:
    from .tags import Tags

logger = logging.getLogger("django_wsgiperf.cache")

_BREATH_S: Final = 0.01
"""Between two readings of the log at least, however many purges are announced."""


class Listener:
    """One thread for one Tags. `_stopping` and `_subscription` are the only things that others touch."""

    def __init__(self, tags: Tags, store: GuardedStore) -> None:
        self._tags = tags
        self._store = store
        self._stopping = threading.Event()
        self._subscription: Subscription | None = None
        self._thread: threading.Thread | None = None
        self._heard = False
        self._in_doubt = False

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="wsgiperf-cache-purges", daemon=True)
        with contextlib.suppress(RuntimeError):  # The interpreter is on its way out.
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread, and wait for it for `timeout_s` seconds at most."""
        self._stopping.set()
        subscription, thread = self._subscription, self._thread
        if subscription is not None:
            # Wakes it where it waits.
            subscription.close()
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout_s)

    def forget(self) -> None:
        """In a forked child, where the thread is not: let go of what it had."""
        if self._subscription is not None:
            self._subscription.close()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._round()
                except Exception:
                    if not self._stopping.is_set():
                        logger.critical("Keeping up with purges failed; it goes on", exc_info=True)
                        self._hang_up()
                        self._stopping.wait(self._tags.max_stale_s)
        finally:
            self._hang_up()
            self._store.rest()

    def _round(self) -> None:
        """Read the log, then wait for the next reason to."""
        began_s = time.monotonic()
        self._subscribe()
        known = self._tags.sequence
        reached = self._tags.refresh()
        if self._tags.sequence != known and not self._heard:
            # Its announcement may still come. When it does not, a connection has broken without a sign.
            self._in_doubt = True
        self._store.rest()
        self._heard = False
        subscription = self._subscription
        if subscription is None or not reached:
            self._stopping.wait(self._tags.max_stale_s)
            return
        try:
            self._heard = subscription.wait(self._tags.max_stale_s)
        except StoreError:
            self._hang_up()
        if self._heard:
            self._stopping.wait(max(0.0, began_s + _BREATH_S - time.monotonic()))
        elif self._in_doubt:
            self._hang_up()
        self._in_doubt = False

    def _subscribe(self) -> None:
        if self._subscription is None:
            with contextlib.suppress(StoreError):
                self._subscription = self._store.listen()
            if self._stopping.is_set():
                self._hang_up()

    def _hang_up(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
