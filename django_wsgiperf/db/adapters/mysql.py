"""MySQL and MariaDB through mysqlclient: a clean return costs no round trip, a dirty session begins anew.

mysqlclient does not offer the protocol's reset of a connection, but its change of user does the same and more: the
server rolls back, drops temporary tables, user variables, prepared statements and locks, and restores all variables.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from MySQLdb.cursors import CursorUseResultMixIn

from .base import Adapter
from .statements import Statements, harmless, unless

if TYPE_CHECKING:
    from django_wsgiperf.db.mixin import PooledMixin

_STATEMENTS = Statements(
    {
        **harmless(
            *("select", "insert", "update", "delete", "replace", "with", "values", "table", "show", "describe", "desc"),
            *("explain", "alter", "drop", "truncate", "rename", "analyze", "optimize", "check", "repair", "checksum"),
            *("commit", "rollback", "savepoint", "release", "grant", "revoke", "kill", "purge"),
        ),
        "flush": unless(r".*\bwith\s+read\s+lock\b|.*\bfor\s+export\b"),
        "create": unless(r"create\s+(?:or\s+replace\s+)?temporary\b"),
        # LOAD DATA; LOAD INDEX and its like are rare.
        "load": None,
    },
    setting={
        "@": re.compile(r"(?<![@\w])@(?:\w+|`[^`]*`|'[^']*'|\"[^\"]*\")\s*:?=|\binto\s+@"),
        "_lock": re.compile(r"\b(?:get|release|release_all)_locks?\s*\("),
        "last_insert_id": re.compile(r"\blast_insert_id\s*\(\s*[^)\s]"),
        # A comment that the server executes.
        "/*": re.compile(r"/\*m?!"),
    },
    reading={
        "last_insert_id": re.compile(r"\blast_insert_id\s*\("),
        "_rows": re.compile(r"\bfound_rows\s*\("),
        "row_count": re.compile(r"\brow_count\s*\("),
        "lastval": re.compile(r"\blastval\s*\("),
        "previous value": re.compile(r"\bprevious\s+value\s+for\b"),
        "@": re.compile(r"(?<![@\w])@\w"),
        "warnings": re.compile(r"^\s*show\s+(?:count\(\*\)\s+)?(?:warnings|errors)"),
    },
    # When the user is changed to the same one, MariaDB keeps the role, and a prepared transaction in the session.
    spoiling={"role": re.compile(r"\bset\s+role\b"), "xa": re.compile(r"\bxa\s+prepare\b")},
)

#: Options of a connection that only opening it anew applies in full.
_ONLY_AT_CONNECT = ("read_default_file", "read_default_group", "init_command", "collation", "auth_plugin")


class MySQLAdapter(Adapter):
    """mysqlclient's connections."""

    statements = _STATEMENTS
    server_side_cursors = (CursorUseResultMixIn,)
    wraps_cursors = True
    results_queue = True

    @classmethod
    def can_pool(cls, wrapper: PooledMixin) -> bool:
        given = wrapper.settings_dict
        # A file of the client's options may name the database.
        return super().can_pool(wrapper) or (given["NAME"] == "" and "read_default_file" in given["OPTIONS"])

    def state(self, raw: Any) -> str:
        # The client knows whether a transaction may be open, not whether a statement runs.
        try:
            return "unknown" if raw.get_autocommit() else "in transaction"
        except Exception:
            return "unknown"

    def is_in_transaction(self, raw: Any) -> bool:
        return not raw.get_autocommit()

    def discard_results(self, raw: Any) -> None:
        while raw.next_result() == 0:
            raw.discard_result()

    def baseline(self, raw: Any) -> Any:
        return raw.cursorclass, raw.encoding

    def settle(self, raw: Any, *, dirty: bool) -> str:
        if not raw.get_autocommit():
            raw.rollback()
            self.pool.statistics.count_reset("rollback")
            raw.autocommit(True)
        elif dirty and not self.cleans_session:
            # START TRANSACTION leaves autocommit on, so that the client cannot tell whether one is open.
            raw.rollback()
            self.pool.statistics.count_reset("rollback")
        raw.cursorclass, encoding = self.memories[id(raw)].baseline
        if raw.encoding != encoding:
            return "altered"
        if self.hard or (self.watches_session and dirty):
            return self._begin_anew(raw)
        return ""

    def ping(self, raw: Any) -> None:
        raw.ping()

    def error_code(self, error: BaseException) -> str:
        return str(error.args[0]) if error.args and isinstance(error.args[0], int) else ""

    def _begin_anew(self, raw: Any) -> str:
        with self.maker() as maker:
            parameters = maker.get_connection_params()
            if any(name in parameters for name in _ONLY_AT_CONNECT):
                return "dirty"
            raw.change_user(
                parameters.get("user", ""),
                parameters.get("password", parameters.get("passwd", "")),
                parameters.get("database", parameters.get("db", "")),
            )
            if mode := parameters.get("sql_mode"):
                raw.set_sql_mode(mode)
            self.set_up(maker, raw)
        self.pool.statistics.count_reset("hard")
        return ""

    def _close_quietly(self, raw: Any) -> None:
        with contextlib.suppress(Exception):
            raw.close()
