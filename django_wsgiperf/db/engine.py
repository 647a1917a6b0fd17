"""`make_pooled`: a pooled engine from any DatabaseWrapper class. The engines in backends/ are made with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.db.backends.base.base import BaseDatabaseWrapper

from .adapters import adapter_for
from .creation import pooled_creation
from .lending import IS_KNOWN
from .loops import quick_methods
from .mixin import PooledMixin

if TYPE_CHECKING:
    from .adapters.base import Adapter


def make_pooled(
    base: type[BaseDatabaseWrapper], adapter: type[Adapter] | None = None, *, module: str | None = None
) -> type[BaseDatabaseWrapper]:
    """A DatabaseWrapper class like `base` that takes its connections from a pool.

    For an engine of your own, in a module named `base` of a package that ENGINE names:
    `DatabaseWrapper = make_pooled(other.DatabaseWrapper, module=__name__)`. The adapter is found by the vendor
    ("postgresql", "mysql", "sqlite") unless it is given. Raises ImproperlyConfigured for a vendor that has none.
    """
    attributes: dict[str, Any] = {
        "__doc__": f"{base.__module__}.{base.__qualname__} with connections from a pool.",
        "__module__": module or base.__module__,
        "pool_adapter_class": adapter or adapter_for(base),
        "pool_has_plain_cursors": base.make_cursor is BaseDatabaseWrapper.make_cursor,
        "pool_has_plain_connect": IS_KNOWN and base.connect is BaseDatabaseWrapper.connect,
        "creation_class": pooled_creation(base.creation_class),
        **quick_methods(base),
    }
    mixin: type[PooledMixin] = PooledMixin
    if base.vendor == "postgresql":
        from .native import NativePooledMixin

        mixin = NativePooledMixin
    # Django's tests and others expect the name.
    return cast("type[BaseDatabaseWrapper]", type("DatabaseWrapper", (mixin, base), attributes))
