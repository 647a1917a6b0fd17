"""PostgreSQL through psycopg 3: a clean return costs no round trip, because libpq knows the transaction's state.

A dirty one is undone by DISCARD ALL. Anything that cannot be put back for certain is closed instead.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

try:
    import psycopg
    from psycopg.pq import ConnStatus, TransactionStatus
except ImportError as error:
    # Django's engine does with psycopg2 alone.
    raise ImproperlyConfigured(
        f"The pooled engines for PostgreSQL need psycopg 3, which is not there ({error}); psycopg2 is not enough. "
        "Install django-wsgiperf[postgres]."
    ) from error

from django_wsgiperf.db.pool import BROKEN

from .base import Adapter
from .statements import Statements, harmless, only_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_wsgiperf.db.mixin import PooledMixin

_STATES = {
    TransactionStatus.IDLE: "idle",
    TransactionStatus.ACTIVE: "active",
    TransactionStatus.INTRANS: "idle in transaction",
    TransactionStatus.INERROR: "idle in transaction",
    TransactionStatus.UNKNOWN: "unknown",
}
_IDLE, _INTRANS, _INERROR = TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR

#: What can be set on psycopg's connection and stays there.
_KEPT_HERE = (
    *("autocommit", "isolation_level", "read_only", "deferrable"),
    *("row_factory", "cursor_factory", "server_cursor_factory", "prepare_threshold"),
)
_kept_here = operator.attrgetter(*_KEPT_HERE)

_STATEMENTS = Statements(
    {
        **harmless(
            *("select", "insert", "update", "delete", "merge", "with", "values", "table", "copy", "fetch", "move"),
            *("begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "lock", "show"),
            *("create", "alter", "drop", "truncate", "comment", "grant", "revoke", "analyze", "vacuum", "reindex"),
            *("refresh", "cluster", "checkpoint", "notify", "explain", "import", "reassign"),
        ),
        "set": only_if(r"set\s+(?:local|transaction|constraints)\b"),
    },
    setting={
        "set_config": re.compile(r"set_config\"?\s*\((?!(?:[^()'\\$]|'[^'\\]*')*,\s*true\s*\))"),
        "advisory": re.compile(r"pg_(?:try_)?advisory_(?:un)?lock"),
        "temp": re.compile(r"\btemp(?:orary)?\b|\bpg_temp\b"),
        "pg_settings": re.compile(r"\bupdate\b.*\bpg_settings\b", re.DOTALL),
        # Names in which letters are written as numbers.
        'u&"': re.compile(""),
        "setseed": re.compile(r"\bsetseed\b"),
        "dblink": re.compile(r"\bdblink_connect"),
    },
    reading={
        "val(": re.compile(r"\b(?:lastval|currval)\("),
        "pg_temp": re.compile(r"\bpg_temp\b"),
    },
    # A library stays in its server process.
    spoiling={"load": re.compile(r"(?:\A|;)\s*load\s")},
)


class PostgreSQLAdapter(Adapter):
    """psycopg's connections."""

    statements = _STATEMENTS
    server_side_cursors = (psycopg.ServerCursor,)

    @classmethod
    def can_pool(cls, wrapper: PooledMixin) -> bool:
        given = wrapper.settings_dict
        # A service file may name the database.
        return super().can_pool(wrapper) or bool(given["NAME"] == "" and given["OPTIONS"].get("service"))

    @classmethod
    def has_djangos_pool(cls, wrapper: PooledMixin) -> bool:
        return bool(wrapper.settings_dict["OPTIONS"].get("pool"))

    def state(self, raw: Any) -> str:
        return _STATES.get(raw.pgconn.transaction_status, "unknown")

    def is_broken(self, raw: Any) -> bool:
        # In a transaction that has failed the server would refuse any question.
        return bool(raw.pgconn.status != ConnStatus.OK)

    def is_in_transaction(self, raw: Any) -> bool:
        return bool(raw.pgconn.transaction_status != _IDLE or raw.lock.locked())

    def baseline(self, raw: Any) -> Any:
        return Baseline(raw)

    def settle(self, raw: Any, *, dirty: bool) -> str:
        pgconn = raw.pgconn
        if raw.lock.locked():
            return "unfinished"  # A generator of notifies() has it, and whoever executes anything waits for its end.
        status = pgconn.transaction_status
        if status != _IDLE:
            if status != _INTRANS and status != _INERROR:
                return BROKEN if pgconn.status != ConnStatus.OK else "unfinished"
            raw.rollback()
            self.pool.statistics.count_reset("rollback")
        baseline: Baseline = self.memories[id(raw)].baseline
        if (baseline.quick is None or _kept_here_quickly(raw) != baseline.quick) and not baseline.put_back(raw):
            return "altered"
        if self.hard or (self.watches_session and (dirty or _reported(pgconn.parameter_status) != baseline.reported)):
            self._reset(raw)
            if _reported(pgconn.parameter_status) != baseline.reported:
                return "altered"
        return ""

    def ping(self, raw: Any) -> None:
        if raw.lock.locked():
            raise psycopg.InterfaceError("A generator of this connection, such as notifies(), has not come to its end.")
        # The shortest question there is: an empty statement. The connection is in autocommit mode whenever it is idle.
        raw.execute(b"", prepare=False)

    def _reset(self, raw: Any) -> None:
        # psycopg forgets the statements that it has prepared only when it sees DISCARD ALL for the first time.
        if (prepared := getattr(raw, "_prepared", None)) is not None:
            prepared.clear()
        raw.execute(b"DISCARD ALL", prepare=False)
        # What LISTEN has brought in the meantime is not for the next listener. psycopg keeps it from 3.2.4 on.
        while raw.pgconn.notifies() is not None:
            pass
        if kept := getattr(raw, "_notifies_backlog", None):
            kept.clear()
        self.pool.statistics.count_reset("hard")
        with self.maker() as maker:
            self.set_up(maker, raw)


class Baseline:
    """What a connection was like when it had been set up."""

    __slots__ = ("handlers", "here", "quick", "reported")

    def __init__(self, raw: Any) -> None:
        self.here = _kept_here(raw)
        self.handlers = _handlers(raw)
        self.reported = _reported(raw.pgconn.parameter_status)
        try:
            *plain, notice, notify = _kept_here_quickly(raw)
            self.quick: tuple[Any, ...] | None = (*plain, list(notice), list(notify))
        except AttributeError:
            self.quick = None

    def put_back(self, raw: Any) -> bool:
        """Restore what was set on the driver's connection; False when it is of a kind that has no way back."""
        for name, value in zip(_KEPT_HERE, self.here, strict=True):
            if getattr(raw, name) != value:
                setattr(raw, name, value)
        # A two-phase transaction that is prepared: psycopg would let nobody commit another. Or pipeline mode.
        if getattr(raw, "_tpc", None) is not None or getattr(raw, "_pipeline", None) is not None:
            return False
        return _kept_here(raw) == self.here and _handlers(raw) == self.handlers


def _reported(status: Callable[[bytes], bytes | None]) -> tuple[bytes | None, ...]:
    """What the server tells of by itself whenever it changes, also inside a function."""
    # Written out, as below, because this is on the way of every request: half the instructions of a loop.
    return (
        status(b"TimeZone"),
        status(b"session_authorization"),
        status(b"DateStyle"),
        status(b"IntervalStyle"),
        status(b"client_encoding"),
        status(b"search_path"),
    )


def _kept_here_quickly(raw: Any) -> tuple[Any, ...]:
    """What _kept_here() gives, and the handlers, without a call for each; AttributeError but in psycopg 3.2 and 3.3."""
    return (
        raw._autocommit,
        raw._isolation_level,
        raw._read_only,
        raw._deferrable,
        raw.row_factory,
        raw.cursor_factory,
        raw.server_cursor_factory,
        raw._prepared.prepare_threshold,
        raw._tpc,
        raw._pipeline,
        raw._notice_handlers,
        raw._notify_handlers,
    )


def _handlers(raw: Any) -> int:
    # psycopg gives handlers no public face; where these are absent there is nothing to see.
    return len(getattr(raw, "_notice_handlers", ())) + len(getattr(raw, "_notify_handlers", ()))
