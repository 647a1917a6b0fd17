"""SQLite in a file: a session costs little to open, so one that is dirty is closed. In memory there is no pool.

A pool saves the opening of the file, the functions that Django registers and the pages that a connection has cached.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

from .base import Adapter, keep_for_ever
from .statements import Statements, harmless, only_if

if TYPE_CHECKING:
    from django_wsgiperf.db.mixin import PooledMixin

_ASKING = (
    r"pragma\s+(?:\w+\.)?(?:\w+\s*\Z|(?:table_x?info|table_list|index_list|index_x?info|database_list|foreign_key_list|"
    r"foreign_key_check|integrity_check|quick_check|optimize|wal_checkpoint)\s*\()"
)
_STATEMENTS = Statements(
    {
        **harmless(
            *("select", "insert", "update", "delete", "replace", "with", "values", "create", "alter", "drop"),
            *("begin", "commit", "end", "rollback", "savepoint", "release", "analyze", "vacuum", "reindex", "explain"),
        ),
        "pragma": only_if(_ASKING),
    },
    setting={
        "temp": re.compile(r"\btemp(?:orary)?\s+(?:table|view|trigger|index)\b|\btemp[\]\"'`]?\s*\.|\bsqlite_temp_"),
        "load_extension": re.compile(r"\bload_extension\s*\("),
    },
    reading={
        "last_insert_rowid": re.compile(r"\blast_insert_rowid\s*\("),
        "changes": re.compile(r"\b(?:total_)?changes\s*\("),
    },
)


class SQLiteAdapter(Adapter):
    """The standard library's connections."""

    statements = _STATEMENTS
    rows_stay_on_server = True

    @classmethod
    def can_pool(cls, wrapper: PooledMixin) -> bool:
        in_memory = wrapper.is_in_memory_db()  # type: ignore[attr-defined]  # SQLite's wrapper has it.
        return super().can_pool(wrapper) and not in_memory

    def state(self, raw: Any) -> str:
        return "idle in transaction" if raw.in_transaction else "idle"

    def is_in_transaction(self, raw: Any) -> bool:
        return bool(raw.in_transaction)

    def baseline(self, raw: Any) -> Any:
        (path,) = raw.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()
        return (raw.isolation_level, raw.row_factory, raw.text_factory), path, _number(path)

    def settle(self, raw: Any, *, dirty: bool) -> str:
        if self.hard or (self.watches_session and dirty):
            return "dirty"
        if raw.in_transaction:
            raw.rollback()
            self.pool.statistics.count_reset("rollback")
        kept = raw.isolation_level, raw.row_factory, raw.text_factory
        before, *_ = self.memories[id(raw)].baseline
        if kept != before:
            raw.isolation_level, raw.row_factory, raw.text_factory = before
        return ""

    def ping(self, raw: Any) -> None:
        raw.execute("SELECT 1").close()
        _, path, number = self.memories[id(raw)].baseline
        if _number(path) != number:
            # It would still read what was there, and be refused what it writes, for as long as it is open.
            raise FileNotFoundError(f"{path} has been replaced or removed since it was opened.")

    def patience(self, raw: Any) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def abandon(self, raw: Any) -> None:
        # SQLite forbids even closing a connection in a child.
        self.memories.pop(id(raw), None)
        keep_for_ever(raw)


def _number(path: str) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
