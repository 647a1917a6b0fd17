"""Methods that Django lets nobody call on an event loop, with that question asked at a twentieth of its price.

Django asks by raising and catching an error, twice for each cursor. Here asyncio is asked outright, and then Django's
own method runs without its question. On a loop, and where a tool has put its own method in place of Django's, that one
is called as it is.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.asyncio import async_unsafe

_ensure: Any = BaseDatabaseWrapper.ensure_connection
_cursor: Any = BaseDatabaseWrapper.cursor
_close: Any = BaseDatabaseWrapper.close
_ensure_unasked: Any = getattr(_ensure, "__wrapped__", None)
_cursor_unasked: Any = getattr(_cursor, "__wrapped__", None)
_close_unasked: Any = getattr(_close, "__wrapped__", None)


@async_unsafe
def require_no_loop() -> None:
    """Refuses on an event loop, in Django's words and unless DJANGO_ALLOW_ASYNC_UNSAFE is set."""


def ensure_connection(self: BaseDatabaseWrapper) -> None:
    if _get_running_loop() is None and BaseDatabaseWrapper.ensure_connection is _ensure:
        _ensure_unasked(self)
    else:
        BaseDatabaseWrapper.ensure_connection(self)


def cursor(self: BaseDatabaseWrapper) -> Any:
    if _get_running_loop() is None and BaseDatabaseWrapper.cursor is _cursor:
        return _cursor_unasked(self)
    return BaseDatabaseWrapper.cursor(self)


def close(self: BaseDatabaseWrapper) -> None:
    if _get_running_loop() is None and BaseDatabaseWrapper.close is _close:
        _close_unasked(self)
    else:
        BaseDatabaseWrapper.close(self)


def quick_methods(base: type[BaseDatabaseWrapper]) -> dict[str, Any]:
    """For a class that derives from `base`: those of these methods that are Django's own there, by name."""
    known = (
        (ensure_connection, _ensure, _ensure_unasked),
        (cursor, _cursor, _cursor_unasked),
        (close, _close, _close_unasked),
    )
    return {
        quick.__name__: quick
        for quick, djangos, unasked in known
        if unasked is not None and getattr(base, quick.__name__) is djangos
    }
