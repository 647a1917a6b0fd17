"""`PooledMixin`: a DatabaseWrapper whose raw connections come from a pool and go back to it. Django's state stays here.

Django calls get_new_connection() when a thread needs a connection, and _close() when it is done; those two are where a
lease begins and ends. Transactions, savepoints, hooks and query logs live on the wrapper, which stays its thread's.
When a connection is given back earlier than Django would is decided in release.py; what must be undone of a session
by the adapter of the database.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from django.db.backends.base.base import RAN_DB_VERSION_CHECK
from django.utils.asyncio import async_unsafe

from . import cursors, errors, registry
from .activity import current_label
from .early import EarlyRelease
from .failures import as_django
from .pool import BROKEN
from .pooling import Pooling

if TYPE_CHECKING:
    import weakref
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

    from .adapters.base import Adapter
    from .lease import Lease
    from .registry import PoolOf


logger = logging.getLogger("django_wsgiperf.db")


class PooledMixin(EarlyRelease):
    """Goes before a DatabaseWrapper class; `make_pooled` does so. `pool_adapter_class` knows the raw connections."""

    pool_adapter_class: ClassVar[type[Adapter]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._pooling = Pooling()
        super().__init__(*args, **kwargs)
        registry.watch(self)

    # -- the pool

    @property
    def pool_of(self) -> PoolOf | None:
        """The pool that connections come from, made on first use; None when this wrapper opens its own."""
        pooling = self._pooling
        # Tests and tools change the settings of a wrapper in place.
        if pooling.epoch != registry.epoch() or pooling.seen != self.settings_dict:
            pooling.epoch = registry.epoch()
            pooling.of = registry.find(self)
            pooling.seen = {
                name: dict(value) if isinstance(value, dict) else value for name, value in self.settings_dict.items()
            }
        return pooling.of

    @property
    def pool_adapter(self) -> Adapter | None:
        """The adapter of the connection at hand."""
        of = self._pooling.of
        return of.adapter if of is not None else None

    @property
    def pool_lease(self) -> Lease[Any] | None:
        """The lease of the connection at hand."""
        return self._pooling.lease

    # -- a lease begins

    @async_unsafe
    def connect(self) -> None:
        pooling = self._pooling
        if pooling.lease is not None:
            # Somebody has set `connection` to None without closing it.
            self._give_back(pooling.lease, "abandoned")
        of = self.pool_of
        pooling.connecting = of is not None and not of.is_djangos
        # Signals are sent and statements run in there, after which the connection must still be at hand.
        pooling.pins += 1
        attributes = vars(self)
        if pooling.connecting:
            # They may be costly (a token from another server), and are needed only to open a connection. On the
            # instance, it also stands before the method of a class that was derived from ours.
            attributes["get_connection_params"] = _no_parameters
        try:
            super().connect()
        finally:
            pooling.pins -= 1
            if pooling.connecting:
                pooling.connecting = False
                del attributes["get_connection_params"]

    @async_unsafe
    def get_new_connection(self, conn_params: Any) -> Any:
        pooling = self._pooling
        if not pooling.connecting:
            return super().get_new_connection(conn_params)
        lease = self._acquire()
        of = pooling.of
        assert of is not None
        vars(self).update(of.adapter.memory(lease.raw).attributes)
        pooling.cursors = {}
        pooling.unfit = ""
        pooling.lease = lease
        if self._thread_sharing_count:
            lease.thread = None
        return lease.raw

    def set_autocommit(self, autocommit: bool, *args: Any, **kwargs: Any) -> None:
        pooling = self._pooling
        if pooling.connecting and autocommit and not self.run_commit_hooks_on_set_autocommit_on:
            # Connections of a pool are in this mode already.
            self.autocommit = True
            return
        super().set_autocommit(autocommit, *args, **kwargs)
        if autocommit and not pooling.connecting:
            self.release_between_transactions()

    def init_connection_state(self) -> None:
        if not self._pooling.connecting:
            super().init_connection_state()
        elif self.alias not in RAN_DB_VERSION_CHECK:
            # The connection is set up; what Django does once for each alias is left.
            self.check_database_version_supported()
            RAN_DB_VERSION_CHECK.add(self.alias)

    def _acquire(self) -> Lease[Any]:
        try:
            return self._acquire_from_pool()
        except errors.PoolError as error:
            raise as_django(error) from error.__cause__

    def _acquire_from_pool(self) -> Lease[Any]:
        of = self._pooling.of
        assert of is not None
        try:
            return of.adapter.pool.acquire(label=current_label(), owner=self)
        except errors.PoolClosed:
            # Closed between two looks, as tests do to drop a database. There may be a new one.
            registry.keep_waiting_at_exit()
            again = self.pool_of
            if again is None or again is of:
                raise
            return again.adapter.pool.acquire(label=current_label(), owner=self)

    # -- a lease ends

    def _close(self) -> None:
        lease = self._pooling.lease
        if lease is None:
            super()._close()  # type: ignore[misc]  # Not in the stubs.
        elif self.connection is not lease.raw:
            # Somebody has put another connection in its place.
            self._give_back(lease, "abandoned")
            super()._close()  # type: ignore[misc]  # Not in the stubs.
        else:
            discarded = self._give_back(lease, self._why_unfit())
            if not discarded:
                # It may be another thread's by now. One that was closed stays, and is found closed, as without a pool.
                self.connection = None

    def _why_unfit(self) -> str:
        pooling = self._pooling
        if pooling.unfit:
            return pooling.unfit
        if pooling.checking and self.errors_occurred:
            return BROKEN
        if self.in_atomic_block:
            # The wrapper keeps it until the block ends, and must find it closed.
            return "closed in transaction"
        if self.autocommit != self.settings_dict["AUTOCOMMIT"]:
            return "autocommit"
        return ""

    def _give_back(self, lease: Lease[Any], discard: str) -> str:
        """Leave the session as the next holder may find it, or give a reason why it was closed."""
        pooling = self._pooling
        of = pooling.of
        assert of is not None
        pooling.lease = None
        # An exception from outside may come in any line, and what is not settled is not fit for another.
        reason = "interrupted"
        try:
            reason = discard or self._settle(of.adapter, lease)
        except Exception as error:
            reason = BROKEN
            logger.info("Pool %s closes a connection whose session could not be cleaned: %s", of.pool.name, error)
        finally:
            of.adapter.pool.release(lease, discard=reason)
        return reason

    def _settle(self, adapter: Adapter, lease: Lease[Any]) -> str:
        pooling = self._pooling
        open_cursors, pooling.cursors = pooling.cursors, {}
        if open_cursors and (reason := self._settle_cursors(adapter, open_cursors)):
            return reason
        if self.errors_occurred and not adapter.is_alive(lease.raw):
            return BROKEN
        return adapter.settle(lease.raw, dirty=lease.dirty)

    def _settle_cursors(self, adapter: Adapter, open_cursors: dict[int, weakref.ref[Any]]) -> str:
        """Rows that are still on the server are lost with the connection, as without a pool."""
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
        with self._closing_what_is_broken():
            super().close_if_health_check_failed()

    def close_if_unusable_or_obsolete(self) -> None:
        # Django closes a connection here because it is broken, if there were errors and it does not answer; or because
        # its time is up. The flag of the errors is down again when it did answer.
        self._pooling.checking = True
        try:
            super().close_if_unusable_or_obsolete()
        finally:
            self._pooling.checking = False

    @contextmanager
    def _closing_what_is_broken(self) -> Iterator[None]:
        pooling = self._pooling
        before, pooling.unfit = pooling.unfit, BROKEN
        try:
            yield
        finally:
            pooling.unfit = before

    def note_error(self, error: BaseException) -> None:
        """An error that tells of a fail-over: this connection and all older ones go."""
        of = self._pooling.of
        if of is None or self._pooling.lease is None:
            return
        code = of.adapter.error_code(error.__cause__ or error)
        if code and code in of.settings.evict_on:
            self._pooling.unfit = f"evicted by {code}"
            of.pool.evict_all(f"error {code}")

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
        watched: CursorWrapper = self._watched(super().make_cursor(cursor), cursor)
        return watched

    def make_debug_cursor(self, cursor: Any) -> Any:
        return self._watched(super().make_debug_cursor(cursor), cursor)

    def _watched(self, wrapped: Any, cursor: Any) -> Any:
        pooling = self._pooling
        if pooling.lease is not None and pooling.of is not None:
            adapter = pooling.of.adapter
            server_side = adapter.is_server_side(cursor)
            pooling.cursors[id(wrapped)] = cursors.watch(
                wrapped, pooling.lease, server_side=server_side, fetches=server_side or adapter.rows_stay_on_server
            )
        return wrapped

    def forget_cursor(self, cursor: Any) -> bool:
        """A cursor of ours has been closed; whether it was open until now."""
        return self._pooling.cursors.pop(id(cursor), None) is not None

    def forget_lost_cursor(self, cursor: Any, lease: Lease[Any], *, server_side: bool) -> None:
        """A cursor of ours was collected: if it is open on the server, nobody else can close it there."""
        pooling = self._pooling
        if pooling.cursors.pop(id(cursor), None) is not None and server_side and pooling.lease is lease:
            pooling.unfit = "open cursor"

    # -- threads that share the wrapper

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


def _no_parameters() -> dict[str, Any]:
    return {}
