"""Times what a request asks of its databases: each statement, and each wait for a connection.

A timer is put on every connection object once, as the outermost of its execute wrappers; and the connection's
connect() is timed, which is where an engine opens a connection or takes one from a pool, ours or Django's. Outside
of requests both cost one look at a context variable.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper
from django.db.utils import ConnectionHandler

from .record import MAX_STATEMENTS, Record, current
from .statements import call_site, known_texts, text_of

_TIMED = "_wsgiperf_connect"
_DISPATCH = "django_wsgiperf.metrics"


def statement_timer(alias: str, vendor: str) -> Callable[..., Any]:
    """An execute wrapper for one connection: called in place of each execute() and executemany()."""
    known, record_of, clock = known_texts(vendor), current.get, perf_counter_ns

    # One function without calls of others, for it is the way of every statement.
    def timed(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        record = record_of()
        if record is None or record.total_ns >= 0:
            return execute(sql, params, many, context)
        text = (known.get(sql) if type(sql) is str else None) or text_of(sql, vendor)
        seat = record.seat
        if not seat.acquire(False):
            return _beside(record, alias, text, execute, sql, params, many, context)
        accounted_ns = record.accounted_ns
        record.current_sql = text
        failed = True
        began_ns = clock()
        try:
            result = execute(sql, params, many, context)
            failed = False
            return result
        finally:
            whole_ns = clock() - began_ns
            own_ns = whole_ns - record.accounted_ns + accounted_ns
            record.accounted_ns += own_ns
            record.current_sql = ""
            use = record.db.get(alias)
            if use is None:
                use = record.database(alias)
            use.queries += 1
            use.execute_ns += own_ns
            if failed:
                use.errors += 1
            else:
                # The raw cursor: Django's would look the name up by __getattr__, which pooled engines watch.
                rows = getattr(context["cursor"].cursor, "rowcount", None)
                if rows is not None and rows > 0:
                    use.rows += rows
            same = record.queries.get(text)
            if same is None:
                if len(record.queries) < MAX_STATEMENTS:
                    record.queries[text] = [1, whole_ns, ""]
            else:
                same[0] += 1
                same[1] += whole_ns
                if same[0] == record.limits.repeats:
                    same[2] = call_site()
            spans = record.details
            if len(spans) < record.limits.max_spans:
                spans.append(("db", began_ns - record.began_ns, whole_ns, text))
            else:
                record.spans_dropped += 1
            seat.release()

    return timed


_TIMER: Final = statement_timer("", "").__code__


def is_timer(wrapper: Any) -> bool:
    """Whether an execute wrapper is one of ours."""
    return getattr(wrapper, "__code__", None) is _TIMER


def _rows(context: Any) -> int:
    rows = getattr(context["cursor"].cursor, "rowcount", None)
    return rows if isinstance(rows, int) and rows > 0 else 0


def _beside(record: Record, alias: str, text: str, execute: Callable[..., Any], *args: Any) -> Any:
    """In a thread of the request while another of its threads is in an instrument: count, without time."""
    failed, rows = True, 0
    try:
        result = execute(*args)
        failed = False
        rows = _rows(args[-1])
        return result
    finally:
        record.add_beside(lambda: _count_statement(record, alias, text, failed, rows))


def _count_statement(record: Record, alias: str, text: str, failed: bool, rows: int) -> None:
    use = record.database(alias)
    use.queries += 1
    use.rows += rows
    use.errors += failed
    if text in record.queries or len(record.queries) < MAX_STATEMENTS:
        record.queries.setdefault(text, [0, 0, ""])[0] += 1


def _timed_call(call: Callable[..., Any]) -> Callable[..., Any]:
    """CursorWrapper.callproc(), which no execute wrapper sees."""

    def callproc(self: CursorWrapper, procname: str, *args: Any, **kwargs: Any) -> Any:
        record = current.get()
        if record is None:
            return call(self, procname, *args, **kwargs)
        wrapper = self.db

        def execute(*_: Any) -> Any:
            return call(self, procname, *args, **kwargs)

        timer = statement_timer(wrapper.alias, wrapper.vendor)
        return timer(execute, f"CALL {procname}", None, False, {"connection": wrapper, "cursor": self})

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
    """Put the timers on a connection object, unless it has them."""
    attributes = vars(connection)
    if _TIMED not in attributes:
        attributes[_TIMED] = attributes["connect"] = _Connect(connection.alias, connection.connect)
    wrappers = connection.execute_wrappers
    if not any(is_timer(each) for each in wrappers):
        # First, and so the outermost. A user's own `with connection.execute_wrapper(...)` takes the last one off when
        # it ends, which this must not be; and the first query of a connection may be inside of one.
        wrappers.insert(0, statement_timer(connection.alias, connection.vendor))


def unwatch(connection: BaseDatabaseWrapper) -> None:
    """Take the timers off."""
    attributes = vars(connection)
    timed = attributes.pop(_TIMED, None)
    if timed is not None and attributes.get("connect") is timed:
        del attributes["connect"]
    connection.execute_wrappers[:] = [each for each in connection.execute_wrappers if not is_timer(each)]


def _connected(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """For connection objects that were not made by django.db.connections, such as copies."""
    watch(connection)


def install() -> Callable[[], None]:
    """Watch every connection object from now on; the function that ends it."""
    create, call = ConnectionHandler.create_connection, CursorWrapper.callproc

    def create_connection(self: ConnectionHandler, alias: str) -> Any:
        connection = create(self, alias)
        watch(connection)
        return connection

    timed_call = _timed_call(call)
    ConnectionHandler.create_connection = create_connection  # type: ignore[method-assign]
    CursorWrapper.callproc = timed_call  # type: ignore[method-assign]
    connection_created.connect(_connected, dispatch_uid=_DISPATCH)
    for connection in connections.all(initialized_only=True):
        watch(connection)

    def uninstall() -> None:
        if ConnectionHandler.create_connection is create_connection:
            ConnectionHandler.create_connection = create  # type: ignore[method-assign]
        if CursorWrapper.callproc is timed_call:
            CursorWrapper.callproc = call  # type: ignore[method-assign]
        connection_created.disconnect(dispatch_uid=_DISPATCH)
        for connection in connections.all(initialized_only=True):
            unwatch(connection)

    return uninstall
