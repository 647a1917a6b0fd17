"""The part of a pooled wrapper that gives its connection back earlier than Django would, and warns of what that loses.

Who asks for it, and when, is in release.py.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import activity
from .adapters.statements import READS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

    from .lease import Lease
    from .pooling import Pooling

    _Base = BaseDatabaseWrapper
else:
    _Base = object

logger = logging.getLogger("django_wsgiperf.db")


class EarlyRelease(_Base):
    """Expects `_pooling` and `_give_back` from PooledMixin, and the rest from Django."""

    _pooling: Pooling
    _thread_sharing_count: int
    _thread_ident: int

    def _give_back(self, lease: Lease[Any], discard: str) -> str:
        raise NotImplementedError

    def can_release_early(self) -> bool:
        """Whether nobody would notice: no transaction, no open cursor, no other thread, nothing pinned or unchecked."""
        pooling = self._pooling
        return (
            pooling.lease is not None
            and self.connection is pooling.lease.raw
            and pooling.of is not None
            and not self.in_atomic_block
            and not pooling.pins
            and not pooling.unchecked
            and not pooling.cursors
            and not self.run_on_commit
            and self.autocommit == self.settings_dict["AUTOCOMMIT"]
            and not self._thread_sharing_count
            and not pooling.of.adapter.is_in_transaction(pooling.lease.raw)
        )

    def release_early(self) -> bool:
        """Give the connection back if nobody would notice; whether that was so."""
        if self.can_release_early():
            self.close()
            return True
        self.give_back_orphan()
        return False

    def give_back_orphan(self) -> None:
        """Give back what nobody can use: connect() or close() was interrupted between the lease and the connection."""
        pooling = self._pooling
        if pooling.lease is not None and self.connection is None and not pooling.pins:
            self._give_back(pooling.lease, "abandoned")

    def release_between_transactions(self) -> None:
        """A transaction has ended or a cursor was closed: under RELEASE "transaction" the connection goes back."""
        of = self._pooling.of
        if of is not None and of.releases_between_transactions and not _is_held():
            self.release_early()

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Nobody gives the connection back early while the block runs."""
        pooling = self._pooling
        pooling.pins += 1
        try:
            yield
        finally:
            pooling.pins -= 1
            if pooling.lease is not None:
                # Whoever asks for a session uses it; what was done on the driver's own connection went by unseen.
                pooling.lease.dirty = True
            self.release_between_transactions()

    def disable_constraint_checking(self) -> bool:
        """It holds for the session: migrations of SQLite make tables anew in the transactions that follow."""
        pooling = self._pooling
        pooling.pins += 1
        try:
            is_off = super().disable_constraint_checking()
        finally:
            pooling.pins -= 1
        pooling.unchecked = is_off and pooling.lease is not None
        self.release_between_transactions()
        return is_off

    def enable_constraint_checking(self) -> None:
        super().enable_constraint_checking()
        if self._pooling.unchecked:
            self._pooling.unchecked = False
            self.release_between_transactions()

    def note_session_state(self, sql: str, verdict: int) -> None:
        """A statement has set session state, or asks for it: where the next one has another session, say so."""
        pooling = self._pooling
        of = pooling.of
        if of is None or not of.releases_between_transactions or self.in_atomic_block:
            return
        if pooling.pins or pooling.unchecked or _is_held():
            return
        if self.autocommit and not self._thread_sharing_count and of.is_news(sql):
            does = "asks for" if verdict == READS else "sets"
            logger.warning(
                'This statement %s session state, which RELEASE "transaction" does not keep: "%.200s". Run it and what '
                "depends on it inside django_wsgiperf.db.pin(%r) or one transaction.",
                does,
                sql,
                self.alias,
                stacklevel=2,
            )

    def warn_of_lost_session(self) -> None:
        """A body is to be streamed after the view has set session state, and the connection goes back now."""
        pooling = self._pooling
        of, lease = pooling.of, pooling.lease
        if (
            of is not None
            and lease is not None
            and lease.dirty
            and self.can_release_early()
            and of.is_news(lease.label)
        ):
            logger.warning(
                "%s has set session state on %r and streams its body, which will not find it. "
                "Put django_wsgiperf.db.hold_connection on the view, or set the state where the body is made.",
                lease.label,
                self.alias,
            )

    def warn_of_set_up_at_each_lease(self) -> None:
        """A receiver of connection_created has set session state, which is undone when the connection goes back."""
        of, lease = self._pooling.of, self._pooling.lease
        if of is None or lease is None or not lease.dirty or not of.adapter.watches_session:
            return
        if of.is_news("connection_created"):
            logger.warning(
                'A receiver of connection_created sets session state on %r: "%.200s". It runs whenever a connection is '
                "taken from the pool, so that each use ends with a reset, which on SQLite is a new connection. "
                "Set it in OPTIONS, or in init_connection_state() of an engine of your own.",
                self.alias,
                lease.last_sql,
            )


def _is_held() -> bool:
    """Whether the view that this is done for keeps its connections: `hold_connection`."""
    work = activity.current.get()
    return work is not None and work.holds
