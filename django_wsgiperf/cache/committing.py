"""At the commit of a transaction, also where the project begins and ends its transactions itself.

Django's on_commit() refuses to work under set_autocommit(False), and in an atomic block under it, its functions run
only when autocommit is switched on again, which may be never. Here such functions stand in Django's own list, so that a
rollback, of all or to a savepoint, takes them out; and the connection's next commit() runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper


def is_in_transaction(using: str | None) -> bool:
    """Whether what is changed now is seen by others only after a commit. Connects to no database."""
    connection = transaction.get_connection(using)
    return connection.in_atomic_block or _is_open_without_autocommit(connection)


def is_managed_by_hand(using: str | None) -> bool:
    """Whether the project says itself when a transaction ends, by set_autocommit(False) and commit()."""
    connection = transaction.get_connection(using)
    # An atomic block that found a transaction begun does not end it.
    return not connection.commit_on_exit if connection.in_atomic_block else _is_open_without_autocommit(connection)


def _is_open_without_autocommit(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is not None and not connection.autocommit


def at_commit_by_hand(function: Callable[[], None], using: str | None) -> None:
    """Have the function called at the next commit(), unless the work until here is rolled back."""
    connection: Any = transaction.get_connection(using)
    connection.run_on_commit.append((set(connection.savepoint_ids), _Ours(function), True))
    if isinstance(connection.__dict__.get("commit"), _Commit):
        return
    connection.commit = _Commit(connection, connection.__dict__.get("commit"))


class _Ours:
    """One of these functions, among Django's."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function

    def __call__(self) -> None:
        self.function()


class _Commit:
    """A connection's commit(), once, in place of its own or of whatever somebody had put there."""

    def __init__(self, connection: Any, before: Callable[[], None] | None) -> None:
        self.connection = connection
        self.before = before

    def __call__(self) -> None:
        connection = self.connection
        if self.before is None:
            type(connection).commit(connection)
            del connection.commit
        else:
            self.before()
            connection.commit = self.before
        waiting = connection.run_on_commit
        connection.run_on_commit = [each for each in waiting if not isinstance(each[1], _Ours)]
        for _, function, _ in waiting:
            if isinstance(function, _Ours):
                function()
