"""What a pool raises, as Django's code expects it: each is a django.db.OperationalError and the pool's own too."""

from __future__ import annotations

from django.db import OperationalError

from . import errors


class PoolTimeout(errors.PoolTimeout, OperationalError):
    """No connection became free in time."""


class PoolOverloaded(errors.PoolOverloaded, OperationalError):
    """Too many threads wait for a connection already."""


class PoolUnavailable(errors.PoolUnavailable, OperationalError):
    """The server refuses connections, and it is not yet time to ask it again."""


class PoolClosed(errors.PoolClosed, OperationalError):
    """The pool has been closed: the process is ending."""


_AS_DJANGO: dict[type[errors.PoolError], type[errors.PoolError]] = {
    errors.PoolTimeout: PoolTimeout,
    errors.PoolOverloaded: PoolOverloaded,
    errors.PoolUnavailable: PoolUnavailable,
    errors.PoolClosed: PoolClosed,
}


def as_django(error: errors.PoolError) -> errors.PoolError:
    """The same error as one of Django's."""
    kind = _AS_DJANGO.get(type(error))
    if kind is None:
        return error
    translated = kind(*error.args)
    translated.__dict__.update(error.__dict__)
    return translated
