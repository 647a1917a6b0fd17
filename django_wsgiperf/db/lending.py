"""The part of a pooled wrapper in which a lease begins: connect(), which takes a connection from the pool.

Django's connect() is gone through step by step. Where it is the one that we know, its steps are taken here without
the calls that find nothing to do, for this is the way of every request.
"""

from __future__ import annotations

import time
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any, cast

from django.db.backends.base.base import RAN_DB_VERSION_CHECK, BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from . import activity, errors, registry
from .early import EarlyRelease
from .failures import as_django
from .loops import require_no_loop

if TYPE_CHECKING:
    from .lease import Lease
    from .mixin import PooledMixin
    from .registry import PoolOf

_DJANGOS_CONNECT: Any = BaseDatabaseWrapper.connect
_ITS_NAMES = {
    *("check_settings", "in_atomic_block", "savepoint_ids", "atomic_blocks", "needs_rollback", "settings_dict"),
    *("health_check_enabled", "time", "monotonic", "close_at", "closed_in_transaction", "errors_occurred"),
    *("health_check_done", "get_connection_params", "get_new_connection", "connection", "set_autocommit"),
    *("init_connection_state", "connection_created", "send", "__class__", "run_on_commit"),
}
IS_KNOWN = set(getattr(_DJANGOS_CONNECT, "__wrapped__", _DJANGOS_CONNECT).__code__.co_names) == _ITS_NAMES
"""Whether Django's connect() uses the names that it had when its steps were written down here (5.2 to 6.1)."""


class Lending(EarlyRelease):
    """Expects everything but its base from Django's wrapper."""

    pool_has_plain_connect: bool = False
    """Whether no class beneath has a connect() of its own."""
    health_check_done: bool
    health_check_enabled: bool

    @property
    def pool_of(self) -> PoolOf | None:
        """The pool that connections come from, made on first use; None when this wrapper opens its own."""
        pooling = self._pooling
        # Tests and tools change the settings of a wrapper in place. Values alone are compared in half the time.
        values = tuple(self.settings_dict.values())
        if pooling.epoch != registry.epoch or pooling.seen != values:
            pooling.epoch = registry.epoch
            pooling.of = registry.find(cast("PooledMixin", self))
            pooling.seen = tuple(dict(value) if isinstance(value, dict) else value for value in values)
        return pooling.of

    @property
    def pool_lease(self) -> Lease[Any] | None:
        """The lease of the connection at hand."""
        return self._pooling.lease

    # -- a lease begins

    def connect(self) -> None:
        if _get_running_loop() is not None:
            require_no_loop()
        pooling = self._pooling
        if pooling.lease is not None:
            # Somebody has set `connection` to None without closing it.
            self._give_back(pooling.lease, "abandoned")
        of = self.pool_of
        # Signals are sent and statements run in there, after which the connection must still be at hand.
        pooling.pins += 1
        try:
            if of is None or of.is_djangos:
                super().connect()
            elif self.pool_has_plain_connect and BaseDatabaseWrapper.connect is _DJANGOS_CONNECT:
                self._connect_by_known_steps()
            else:
                self._connect_by_djangos_steps()
        finally:
            pooling.pins -= 1

    def _connect_by_known_steps(self) -> None:
        """BaseDatabaseWrapper.connect(), in its order."""
        settings = self.settings_dict
        if settings["TIME_ZONE"] is not None:
            self.check_settings()
        self.in_atomic_block = False
        self.savepoint_ids = []
        self.atomic_blocks = []
        self.needs_rollback = False
        self.health_check_enabled = settings["CONN_HEALTH_CHECKS"]
        max_age = settings["CONN_MAX_AGE"]
        self.close_at = None if max_age is None else time.monotonic() + max_age
        self.closed_in_transaction = False
        self.errors_occurred = False
        self.health_check_done = True
        self.connection = self._lend()
        if settings["AUTOCOMMIT"] and not self.run_commit_hooks_on_set_autocommit_on:
            # Connections of a pool are in this mode already.
            self.autocommit = True
        else:
            self.set_autocommit(settings["AUTOCOMMIT"])
        if self.alias not in RAN_DB_VERSION_CHECK:
            self._check_version()
        if connection_created.receivers:
            connection_created.send(sender=self.__class__, connection=self)
            self.warn_of_set_up_at_each_lease()
        self.run_on_commit = []

    def _connect_by_djangos_steps(self) -> None:
        """Whatever connect() there is, with what opens a connection replaced by what takes one from the pool."""
        pooling, attributes = self._pooling, vars(self)
        # On the instance these stand before the methods of every class, those that were derived from ours too. What
        # is needed to open a connection may be costly, such as a token from another server.
        attributes["get_connection_params"] = _no_parameters
        attributes["get_new_connection"] = self._lend
        pooling.connecting = True
        try:
            super().connect()
            self.warn_of_set_up_at_each_lease()
        finally:
            pooling.connecting = False
            del attributes["get_connection_params"], attributes["get_new_connection"]

    def _lend(self, conn_params: Any = None) -> Any:
        """In place of get_new_connection(): the raw connection of a new lease, and what belongs to it on a wrapper."""
        pooling = self._pooling
        assert pooling.of is not None
        work = activity.current.get()
        if work is None:
            label = ""
        else:
            label = work.label
            work.leases += 1
        try:
            lease = pooling.of.adapter.pool.acquire(label=label)
        except errors.PoolError as error:
            lease = self._acquire_again(error, label)
        raw = lease.raw
        if shared := pooling.of.adapter.memories[id(raw)].attributes:
            self.__dict__.update(shared)
        if pooling.cursors:
            pooling.cursors = {}
        pooling.unfit = ""
        pooling.lease = lease
        if self._thread_sharing_count:
            lease.thread = None
        return raw

    def _acquire_again(self, error: errors.PoolError, label: str) -> Lease[Any]:
        """A pool may have been closed between two looks, as tests do to drop a database; then there may be another."""
        try:
            if not isinstance(error, errors.PoolClosed):
                raise error
            registry.keep_waiting_at_exit()
            closed = self._pooling.of
            of = self.pool_of
            if of is None or of is closed:
                raise error
            return of.adapter.pool.acquire(label=label)
        except errors.PoolError as final:
            raise as_django(final) from final.__cause__

    def set_autocommit(self, autocommit: bool, *args: Any, **kwargs: Any) -> None:
        pooling = self._pooling
        if pooling.connecting and autocommit and not self.run_commit_hooks_on_set_autocommit_on:
            # Connections of a pool are in this mode already.
            self.autocommit = True
            return
        try:
            super().set_autocommit(autocommit, *args, **kwargs)
        finally:
            # A hook of on_commit may raise; the transaction has ended all the same.
            if autocommit and not pooling.connecting:
                self.release_between_transactions()

    def init_connection_state(self) -> None:
        if not self._pooling.connecting:
            super().init_connection_state()
        elif self.alias not in RAN_DB_VERSION_CHECK:
            self._check_version()

    def _check_version(self) -> None:
        """The connection is set up; this is what Django does once for each alias."""
        self.check_database_version_supported()
        RAN_DB_VERSION_CHECK.add(self.alias)


def _no_parameters() -> dict[str, Any]:
    return {}
