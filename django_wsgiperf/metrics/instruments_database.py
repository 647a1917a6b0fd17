"""Times what a request asks of its databases: each statement, and each wait for a connection.

Statements are timed where Django's cursor wrapper hands them to the execute wrappers, around all of those: a wrapper of
our own would cost a partial and a call more, and stand in the project's list. On each connection object connect() is
timed, which is where an engine opens a connection or takes one from a pool, ours or Django's. Outside of requests both
cost one look at a context variable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper
from django.db.utils import ConnectionHandler

from .record import Record, current
from .statements import call_site, known_texts, text_of

Run = Callable[[CursorWrapper, Any, Any, bool, Callable[..., Any]], Any]
"""CursorWrapper._execute_with_wrappers(cursor, sql, params, many, executor)."""

_TIMED = "_wsgiperf_connect"
_TEXTS = "_wsgiperf_texts"
"""Of a connection object: what text_of() has found out for its kind of database. Without, it is not watched."""
_EXECUTE = "_execute_with_wrappers"
_DISPATCH = "django_wsgiperf.metrics"


def statement_timer(run: Run) -> Run:
    """`run`, which sends a statement of a cursor, timed. In place of CursorWrapper._execute_with_wrappers()."""
    record_of, clock, thread_of = current.get, perf_counter_ns, get_ident
    is_djangos = getattr(run, "__module__", "") == CursorWrapper.__module__

    # One function without calls of others, for it is the way of every statement.
    def timed(self: CursorWrapper, sql: Any, params: Any, many: bool, executor: Callable[..., Any]) -> Any:
        record = record_of()
        if record is None or record.total_ns >= 0:
            return run(self, sql, params, many, executor)
        db = self.db
        try:
            text = db._wsgiperf_texts[sql]
        except (KeyError, TypeError):
            text = text_of(sql, db.vendor)
        except AttributeError:
            # Nobody's but a pool's, which prepares a connection with it.
            return run(self, sql, params, many, executor)
        thread_id = thread_of()
        if record.seated == thread_id:
            record.nested += 1
        else:
            try:
                record.seat.pop()
            except IndexError:
                return _beside(record, self, text, run, sql, params, many, executor)
            record.seated = thread_id
        accounted_ns = record.accounted_ns
        record.current_sql = text
        failed = True
        began_ns = clock()
        try:
            if is_djangos and not db.execute_wrappers:
                # All that it does then.
                result = executor(sql, params, many, {"connection": db, "cursor": self})
            else:
                result = run(self, sql, params, many, executor)
            failed = False
            return result
        finally:
            whole_ns = clock() - began_ns
            # What has been added since is somebody else's, inside.
            own_ns = whole_ns - record.accounted_ns + accounted_ns
            record.accounted_ns = accounted_ns + whole_ns
            record.current_sql = ""
            try:
                use = record.db[db.alias]
            except KeyError:
                use = record.database(db.alias)
            use.queries += 1
            use.execute_ns += own_ns
            if failed:
                use.errors += 1
            else:
                # The raw cursor: Django's would look the name up by __getattr__, which pooled engines watch.
                raw = self.cursor
                try:
                    rows = raw.rowcount
                    if rows > 0:
                        use.rows += rows
                    elif rows and raw.description is not None:
                        use.uncounted += 1
                except (AttributeError, TypeError):  # A driver that tells nothing, or None.
                    pass
            try:
                same = record.queries[text]
            except KeyError:
                record.add_statement(text, whole_ns)
            else:
                same[0] = count = same[0] + 1
                same[1] += whole_ns
                if count == record.limits.repeats:
                    same[2] = call_site()
            spans = record.details
            if 0 < len(spans) < record.limits.max_spans:
                spans.append(("db", began_ns - record.began_ns, whole_ns, text))  # type: ignore[attr-defined]
            else:
                record.add_span("db", began_ns, whole_ns, text)
            if record.nested:
                record.nested -= 1
            else:
                record.seated = 0
                record.seat.append(True)

    return timed


def _rows(cursor: CursorWrapper) -> int:
    """How many a statement has given or changed; -1 where it gave some and nobody knows how many."""
    rows = getattr(cursor.cursor, "rowcount", None)
    if rows is None or (rows < 0 and cursor.cursor.description is None):
        return 0
    return max(int(rows), -1)


def _beside(record: Record, cursor: CursorWrapper, text: str, run: Run, *args: Any) -> Any:
    """In a thread of the request while another of its threads is in an instrument: count, without time."""
    failed, rows, alias = True, 0, cursor.db.alias
    try:
        result = run(cursor, *args)
        failed = False
        rows = _rows(cursor)
        return result
    finally:
        record.add_beside(lambda: _count_statement(record, alias, text, failed, rows))


def _count_statement(record: Record, alias: str, text: str, failed: bool, rows: int) -> None:
    use = record.database(alias)
    use.queries += 1
    use.rows += max(0, rows)
    use.uncounted += rows < 0
    use.errors += failed
    if text in record.queries:
        record.queries[text][0] += 1
    else:
        record.add_statement(text, 0)


def _timed_call(call: Callable[..., Any]) -> Callable[..., Any]:
    """CursorWrapper.callproc(), which goes another way."""
    timed = statement_timer(lambda cursor, sql, params, many, executor: executor())

    def callproc(self: CursorWrapper, procname: str, *args: Any, **kwargs: Any) -> Any:
        if current.get() is None:
            return call(self, procname, *args, **kwargs)
        return timed(self, f"CALL {procname}", None, False, partial(call, self, procname, *args, **kwargs))

    return callproc


class _Connect:
    """In place of a connection's connect(), on the instance."""

    __slots__ = ("alias", "connect")

    def __init__(self, alias: str, connect: Callable[[], None]) -> None:
        self.alias = alias
        self.connect = connect

    def __call__(self) -> None:
        record = current.get()
        if record is None or not record.enter():
            return self.connect()
        accounted_ns = record.accounted_ns
        began_ns = perf_counter_ns()
        try:
            self.connect()
        finally:
            whole_ns = perf_counter_ns() - began_ns
            own_ns = whole_ns - (record.accounted_ns - accounted_ns)
            record.accounted_ns += own_ns
            record.database(self.alias).wait_ns += own_ns
            record.add_span("pool", began_ns, whole_ns, self.alias)
            record.leave()


def watch(connection: BaseDatabaseWrapper) -> None:
    """Time the statements of a connection object, and its connect(), unless they are."""
    attributes = vars(connection)
    if _TIMED not in attributes:
        attributes[_TIMED] = attributes["connect"] = _Connect(connection.alias, connection.connect)
        attributes[_TEXTS] = known_texts(connection.vendor)


def unwatch(connection: BaseDatabaseWrapper) -> None:
    """No longer."""
    attributes = vars(connection)
    timed = attributes.pop(_TIMED, None)
    attributes.pop(_TEXTS, None)
    if timed is not None and attributes.get("connect") is timed:
        del attributes["connect"]


def _connected(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """For connection objects that were not made by django.db.connections, such as copies."""
    watch(connection)


def install() -> Callable[[], None]:
    """Watch every connection object from now on; the function that ends it."""
    create, call = ConnectionHandler.create_connection, CursorWrapper.callproc
    execute = getattr(CursorWrapper, _EXECUTE)

    def create_connection(self: ConnectionHandler, alias: str) -> Any:
        connection = create(self, alias)
        watch(connection)
        return connection

    timed, timed_call = statement_timer(execute), _timed_call(call)
    ConnectionHandler.create_connection = create_connection  # type: ignore[method-assign]
    CursorWrapper.callproc = timed_call  # type: ignore[method-assign]
    setattr(CursorWrapper, _EXECUTE, timed)
    connection_created.connect(_connected, dispatch_uid=_DISPATCH)
    for connection in connections.all(initialized_only=True):
        watch(connection)

    def uninstall() -> None:
        if ConnectionHandler.create_connection is create_connection:
            ConnectionHandler.create_connection = create  # type: ignore[method-assign]
        if CursorWrapper.callproc is timed_call:
            CursorWrapper.callproc = call  # type: ignore[method-assign]
        if getattr(CursorWrapper, _EXECUTE) is timed:
            setattr(CursorWrapper, _EXECUTE, execute)
        connection_created.disconnect(dispatch_uid=_DISPATCH)
        for connection in connections.all(initialized_only=True):
            unwatch(connection)

    return uninstall
