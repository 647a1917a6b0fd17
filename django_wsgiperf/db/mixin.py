"""`PooledMixin`: a DatabaseWrapper whose raw connections come from a pool and go back to it. Django's state stays here.

Django calls get_new_connection() when a thread needs a connection, and _close() when it is done; those two are where a
lease begins and ends. Transactions, savepoints, hooks and query logs live on the wrapper, which stays its thread's.
When a connection is given back earlier than Django would is decided in release.py; what must be undone of a session
by the adapter of the database.
"""

from __future__ import annotations

import logging
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar

from . import registry
from .cursors import PlainWatchedCursor, watched
from .lending import Lending
from .pool import BROKEN
from .pooling import Pooling

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

    from .adapters.base import Adapter
    from .lease import Lease


logger = logging.getLogger("django_wsgiperf.db")


class PooledMixin(Lending):
    """Goes before a DatabaseWrapper class; `make_pooled` does so. `pool_adapter_class` knows the raw connections."""

    pool_adapter_class: ClassVar[type[Adapter]]
    pool_has_plain_cursors: ClassVar[bool] = False
    """Whether Django's own make_cursor() makes the cursors, which saves going through it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._pooling = Pooling()
        super().__init__(*args, **kwargs)
        registry.watch(self)

    # -- a lease ends

    def _close(self) -> None:
        lease = self._pooling.lease
        if lease is None:
            super()._close()  # type: ignore[misc]  # Not in the stubs.
        elif self.connection is not lease.raw:
            # Somebody has put another connection in its place.
            self._give_back(lease, "abandoned")
            super()._close()  # type: ignore[misc]  # Not in the stubs.
        elif not self._give_back(lease, self._why_unfit()):
            # It may be another thread's by now. One that was closed stays, and is found closed, as without a pool.
            self.connection = None

    def _why_unfit(self) -> str:
        """Why the connection must not be lent again, as far as the wrapper knows."""
        pooling = self._pooling
        if pooling.unfit:
            return pooling.unfit
        if pooling.checking and self.errors_occurred:
            return BROKEN
        reason = "" if self.autocommit == self.settings_dict["AUTOCOMMIT"] else "autocommit"
        if self.in_atomic_block:
            # The wrapper keeps it until the block ends, and must find it closed.
            reason = "closed in transaction"
        if reason and self.errors_occurred and pooling.of is not None and pooling.of.adapter.is_broken(self.connection):
            # At the end of a block Django closes a connection that it cannot roll back.
            return BROKEN
        return reason

    def _give_back(self, lease: Lease[Any], discard: str) -> str:
        """Leave the session as the next holder may find it, or give a reason why it was closed."""
        pooling = self._pooling
        of = pooling.of
        assert of is not None
        pooling.lease = None
        pooling.unchecked = False
        if of.is_djangos:
            self._give_back_to_django(lease, discard)
            return ""
        adapter = of.adapter
        # An exception from outside may come in any line, and what is not settled is not fit for another.
        reason = "interrupted"
        try:
            if discard:
                reason = discard
            elif pooling.cursors and (unsettled := self._settle_cursors(adapter)):
                reason = unsettled
            elif self.errors_occurred and not adapter.is_alive(lease.raw):
                reason = BROKEN
            else:
                if adapter.results_queue and ";" in lease.last_sql:
                    adapter.discard_results(lease.raw)
                reason = adapter.settle(lease.raw, dirty=lease.dirty or pooling.pins > 0)
        except Exception as error:
            reason = BROKEN
            logger.info("Pool %s closes a connection whose session could not be cleaned: %s", adapter.pool.name, error)
        finally:
            adapter.pool.release(lease, discard=reason)
        return reason

    def _give_back_to_django(self, lease: Lease[Any], discard: str) -> None:
        raise NotImplementedError  # Engines that have such a pool derive from NativePooledMixin.

    def _settle_cursors(self, adapter: Adapter) -> str:
        """Rows that are still on the server are lost with the connection, as without a pool."""
        open_cursors, self._pooling.cursors = self._pooling.cursors, {}
        for reference in open_cursors.values():
            cursor = reference()
            if cursor is None:
                continue
            if cursor._pool_server_side:
                return "open cursor"
            if adapter.rows_stay_on_server:
                cursor.cursor.close()
        return ""

    # -- health

    def is_usable(self) -> bool:
        # MySQL's would fail on what is not there.
        return self.connection is not None and super().is_usable()

    def close_if_health_check_failed(self) -> None:
        # Called for every cursor, and mostly for nothing.
        if self.connection is None or self.health_check_done or not self.health_check_enabled:
            return
        pooling = self._pooling
        before, pooling.unfit = pooling.unfit, BROKEN
        try:
            super().close_if_health_check_failed()
        finally:
            pooling.unfit = before

    def close_if_unusable_or_obsolete(self) -> None:
        if self.connection is None:
            self.give_back_orphan()
            return
        # Django closes a connection here because it is broken, if there were errors and it does not answer; or because
        # its time is up. The flag of the errors is down again when it did answer.
        self._pooling.checking = True
        try:
            super().close_if_unusable_or_obsolete()
        finally:
            self._pooling.checking = False

    def note_error(self, error: BaseException) -> None:
        """An error that tells of a fail-over: this connection and all older ones go."""
        of, lease = self._pooling.of, self._pooling.lease
        if of is None or lease is None:
            return
        code = of.adapter.error_code(error.__cause__ or error)
        if code and code in of.settings.evict_on:
            self._pooling.unfit = f"evicted by {code}"
            of.pool.fail_over(lease, f"error {code}")

    def statement_text(self, sql: Any) -> str:
        """The text of a statement that is no string: psycopg's composed ones, or bytes."""
        if isinstance(sql, bytes):
            return sql.decode("utf-8", "replace")
        as_string = getattr(sql, "as_string", None)
        try:
            return str(as_string(self.connection)) if as_string is not None else str(sql)
        except Exception:
            return f"{type(sql).__name__} without text"

    # -- cursors

    def make_cursor(self, cursor: Any) -> CursorWrapper:
        pooling = self._pooling
        if pooling.lease is None or pooling.of is None:
            plain: CursorWrapper = super().make_cursor(cursor)
            return plain
        if self.pool_has_plain_cursors:
            return PlainWatchedCursor(cursor, self, pooling, pooling.of.adapter)
        return watched(super().make_cursor(cursor), pooling, pooling.of.adapter)

    def make_debug_cursor(self, cursor: Any) -> Any:
        pooling = self._pooling
        made = super().make_debug_cursor(cursor)
        return made if pooling.lease is None or pooling.of is None else watched(made, pooling, pooling.of.adapter)

    # -- threads that share the wrapper

    def validate_thread_sharing(self) -> None:
        # Asked for every cursor, and mostly by its own thread, which need not know who else may.
        if self._thread_ident != get_ident():
            super().validate_thread_sharing()

    def inc_thread_sharing(self) -> None:
        super().inc_thread_sharing()
        # The end of the thread that opened it is not the end of a shared connection.
        if (lease := self._pooling.lease) is not None:
            lease.thread = None

    # -- a fork

    def forget_after_fork(self) -> None:
        """In the child: the connection is the parent's."""
        pooling = self._pooling
        if pooling.lease is None:
            return
        pooling.lease = None
        pooling.cursors = {}
        self.connection = None
        if self.in_atomic_block:
            # As after close(): what was begun cannot go on with another connection.
            self.closed_in_transaction = True
            self.needs_rollback = True
