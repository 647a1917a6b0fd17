"""Cursors of a pooled connection: they see what a statement leaves behind, and stop when their connection is gone.

Django's cursor wrapper stays what it is, debug or not; its class is swapped for a subclass that also notes each
statement on the lease, for the pool's reports and for the reset when the connection comes back.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError
from django.db.backends.utils import CursorWrapper

from .adapters.statements import CLEAN, SETS

if TYPE_CHECKING:
    from .lease import Lease
    from .mixin import PooledMixin

_FETCHED_ALREADY = frozenset({"fetchone", "fetchmany", "fetchall", "rowcount", "description", "lastrowid", "closed"})


class WatchedCursor(CursorWrapper):
    """A cursor of one lease. Django's CursorWrapper names its attributes; ours begin with `_pool_`."""

    db: PooledMixin
    _pool_lease: Lease[Any]
    _pool_server_side: bool
    """Until it is closed it has something on the server."""
    _pool_fetches: bool
    """Rows come from the connection as they are fetched."""

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
        if name not in _FETCHED_ALREADY or self.__dict__["_pool_fetches"]:
            self._require_lease()
        return super().__getattr__(name)

    def close(self) -> None:
        try:
            self.cursor.close()
        finally:
            if self.db.forget_cursor(self):
                self.db.release_between_transactions()

    def __del__(self) -> None:
        # A generator that was never closed, or a cursor that nobody closes: one that still has rows on the server
        # makes its connection unfit for the next holder. Giving it back is not for a destructor.
        lease = self.__dict__.get("_pool_lease")
        if lease is not None:
            self.db.forget_lost_cursor(self, lease, server_side=self._pool_server_side)

    def _note(self, sql: Any) -> None:
        self._require_lease()
        lease = self._pool_lease
        if type(sql) is not str:
            sql = self.db.statement_text(sql)
        lease.last_sql = sql
        adapter = self.db.pool_adapter
        if adapter is None:
            return
        verdict = adapter.statements.verdict(sql)
        if verdict != CLEAN:
            if verdict == SETS:
                lease.dirty = True
            self.db.note_session_state(sql, verdict)

    def _require_lease(self) -> None:
        if self.__dict__["_pool_lease"] is not self.db.pool_lease:
            raise InterfaceError(
                "This cursor's connection has been closed or given back to the pool. Open the cursor where it is used; "
                "django_wsgiperf.db.pin() and hold_connection keep a connection longer."
            )


_watched: dict[type[CursorWrapper], type[WatchedCursor]] = {CursorWrapper: WatchedCursor}
"""The watching subclass of each class seen. Racing threads make the same one twice, and either will do."""


def watched(base: type[CursorWrapper]) -> type[WatchedCursor]:
    """The watching subclass of a cursor wrapper's class, Django's own or another's."""
    made = _watched.get(base)
    if made is None:
        attributes = {"__module__": base.__module__, "__qualname__": base.__qualname__}
        made = _watched[base] = type(base.__name__, (WatchedCursor, base), attributes)
    return made


def watch(cursor: CursorWrapper, lease: Lease[Any], *, server_side: bool, fetches: bool) -> weakref.ref[CursorWrapper]:
    """Have a cursor note its statements on the lease."""
    cursor.__class__ = watched(type(cursor))
    attributes = cursor.__dict__
    attributes["_pool_lease"] = lease
    attributes["_pool_server_side"] = server_side
    attributes["_pool_fetches"] = fetches
    return weakref.ref(cursor)
