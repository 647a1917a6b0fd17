"""Cursors of a pooled connection: they see what a statement leaves behind, and stop when their connection is gone.

Django's cursor wrapper stays what it is, debug or not; its class is swapped for a subclass that also notes each
statement on the lease, for the pool's reports and for the reset when the connection comes back.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError
from django.db.backends.utils import CursorWrapper

from .adapters.statements import SETS, SPOILS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .adapters.base import Adapter
    from .lease import Lease
    from .mixin import PooledMixin
    from .pooling import Pooling

_FETCHED_ALREADY = frozenset({"fetchone", "fetchmany", "fetchall", "rowcount", "description", "lastrowid", "closed"})
_RUNS_A_STATEMENT = frozenset({"copy", "stream", "executescript"})
"""Methods of drivers' cursors that are not Django's."""


class WatchedCursor(CursorWrapper):
    """A cursor of one lease. Django's CursorWrapper names its attributes; ours begin with `_pool_`."""

    db: PooledMixin
    _pool: Pooling | None = None
    _pool_adapter: Adapter
    _pool_lease: Lease[Any]
    _pool_server_side: bool
    """Until it is closed it has something on the server."""
    _pool_fetches: bool
    """Rows come from the connection as they are fetched."""

    def watch(self, pooling: Pooling, adapter: Adapter) -> None:
        """Begin to note statements on the lease that is at hand."""
        assert pooling.lease is not None
        self._pool = pooling
        self._pool_adapter = adapter
        self._pool_lease = pooling.lease
        drivers_cursor = self.cursor.cursor if adapter.wraps_cursors else self.cursor
        self._pool_server_side = server_side = isinstance(drivers_cursor, adapter.server_side_cursors)
        self._pool_fetches = server_side or adapter.rows_stay_on_server
        pooling.cursors[id(self)] = weakref.ref(self)

    def _execute(self, sql: Any, params: Any, *ignored: Any) -> Any:
        self._note(sql)
        try:
            return super()._execute(sql, params, *ignored)  # type: ignore[misc]  # Not in the stubs.
        except Exception as error:
            self.db.note_error(error)
            raise

    def _executemany(self, sql: Any, param_list: Any, *ignored: Any) -> Any:
        self._note(sql)
        try:
            return super()._executemany(sql, param_list, *ignored)  # type: ignore[misc]  # Not in the stubs.
        except Exception as error:
            self.db.note_error(error)
            raise

    def callproc(self, procname: str, *args: Any, **kwargs: Any) -> Any:
        self._require_lease()
        # What a procedure does to the session cannot be seen from here.
        self._pool_lease.dirty = True
        self._pool_lease.last_sql = f"CALL {procname}"
        return super().callproc(procname, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # COPY, streams and rows that are still to come use the connection itself.
        if self._pool_fetches or name not in _FETCHED_ALREADY:
            self._require_lease()
        found = super().__getattr__(name)
        return self._noting(found) if name in _RUNS_A_STATEMENT else found

    def _noting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def noted(statement: Any, *args: Any, **kwargs: Any) -> Any:
            self._note(statement)
            return method(statement, *args, **kwargs)

        return noted

    def close(self) -> None:
        try:
            self.cursor.close()
        finally:
            pooling = self._pool
            if pooling is not None and pooling.cursors.pop(id(self), None) is not None:
                assert pooling.of is not None
                if pooling.of.releases_between_transactions:
                    self.db.release_between_transactions()

    def __del__(self) -> None:
        # A generator that was never closed, or a cursor that nobody closes: one that still has rows on the server
        # makes its connection unfit for the next holder. Giving it back is not for a destructor.
        pooling = self._pool
        if pooling is None or not pooling.cursors or pooling.cursors.pop(id(self), None) is None:
            return
        if self._pool_server_side and pooling.lease is self._pool_lease:
            pooling.unfit = "open cursor"

    def _note(self, sql: Any) -> None:
        """Before a statement: what it is, and what it will leave behind."""
        lease = self._pool_lease
        if lease is not self._pool.lease:  # type: ignore[union-attr]  # It is set together with the lease.
            self._require_lease()
        if type(sql) is not str:
            sql = self.db.statement_text(sql)
        lease.last_sql = sql
        statements = self._pool_adapter.statements
        verdict = statements.known.get(sql)
        if verdict is None:
            verdict = statements.verdict(sql)
        if verdict:
            if verdict >= SETS:
                lease.dirty = True
                if verdict == SPOILS and self._pool_adapter.cleans_session:
                    self._pool.unfit = "altered"  # type: ignore[union-attr]
            self.db.note_session_state(sql, verdict)

    def _require_lease(self) -> None:
        if self._pool is None or self._pool_lease is not self._pool.lease:
            raise InterfaceError(
                "This cursor's connection has been closed or given back to the pool. Open the cursor where it is used; "
                "django_wsgiperf.db.pin() and hold_connection keep a connection longer."
            )


class PlainWatchedCursor(WatchedCursor):
    """A watched cursor that is otherwise Django's own CursorWrapper. Rows are fetched with fewer calls than there."""

    def __init__(self, cursor: Any, db: PooledMixin, pooling: Pooling, adapter: Adapter) -> None:
        self.cursor = cursor
        self.db = db
        self.watch(pooling, adapter)

    def _execute(self, sql: Any, params: Any, *ignored: Any) -> Any:
        self._note(sql)
        try:
            # Looked up each time: tools, and this package's own timing, put theirs in its place.
            return CursorWrapper._execute(self, sql, params)  # type: ignore[attr-defined]  # Not in the stubs.
        except Exception as error:
            self.db.note_error(error)
            raise

    def fetchone(self) -> Any:
        if self._pool_fetches:
            self._require_lease()
        with self.db.wrap_database_errors:
            return self.cursor.fetchone()

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        if self._pool_fetches:
            self._require_lease()
        with self.db.wrap_database_errors:
            return self.cursor.fetchmany(*args, **kwargs)

    def fetchall(self) -> Any:
        if self._pool_fetches:
            self._require_lease()
        with self.db.wrap_database_errors:
            return self.cursor.fetchall()


_subclasses: dict[type[CursorWrapper], type[WatchedCursor]] = {CursorWrapper: WatchedCursor}
"""The watching subclass of each class seen. Racing threads make the same one twice, and either will do."""


def watched(cursor: CursorWrapper, pooling: Pooling, adapter: Adapter) -> WatchedCursor:
    """Have a cursor that another class has made note its statements: its class becomes a subclass of what it was."""
    base = type(cursor)
    made = _subclasses.get(base)
    if made is None:
        attributes = {"__module__": base.__module__, "__qualname__": base.__qualname__}
        made = _subclasses[base] = type(base.__name__, (WatchedCursor, base), attributes)
    cursor.__class__ = made
    assert isinstance(cursor, WatchedCursor)
    cursor.watch(pooling, adapter)
    return cursor
