"""Test databases of a pooled engine: a database that is to be copied or dropped must have no connections in a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import registry

if TYPE_CHECKING:
    from django.db.backends.base.creation import BaseDatabaseCreation

    _Base = BaseDatabaseCreation
else:
    _Base = object


class PooledCreation(_Base):
    """Goes before a database's creation class."""

    def _create_test_db(self, *args: Any, **kwargs: Any) -> Any:
        registry.close_all(0)
        return super()._create_test_db(*args, **kwargs)  # type: ignore[misc]  # Not in the stubs.

    def _clone_test_db(self, *args: Any, **kwargs: Any) -> None:
        registry.close_all(0)
        super()._clone_test_db(*args, **kwargs)  # type: ignore[misc]  # Not in the stubs.

    def _destroy_test_db(self, *args: Any, **kwargs: Any) -> None:
        registry.close_all(0)
        super()._destroy_test_db(*args, **kwargs)  # type: ignore[misc]  # Not in the stubs.


def pooled_creation(base: type[BaseDatabaseCreation]) -> type[BaseDatabaseCreation]:
    """The creation class of a pooled engine."""
    return type(base.__name__, (PooledCreation, base), {"__module__": base.__module__})
