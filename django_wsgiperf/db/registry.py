"""All connection pools of this process: made on first use, one for each alias and way to connect, closed in the end.

The mixin asks for the pool of a wrapper; the server has the pools warmed; whoever wants numbers asks `pools()`. A pool
belongs to an alias and what it connects to (class, address, database, options, time zone), so that tests that rename a
database do right. Two aliases of one database have a pool each: a thread holds one connection of each alias, and twelve
threads that hold one and want the other would wait for each other in vain. A forked child starts with no pool.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from django_wsgiperf.metrics import providers

if TYPE_CHECKING:
    from .adapters.base import Adapter
    from .mixin import PooledMixin
    from .native import NativePool
    from .pool import Pool
    from .settings import AliasPool

logger = logging.getLogger("django_wsgiperf.db")

_SETTINGS_THAT_MATTER = frozenset({"DATABASES", "USE_TZ", "TIME_ZONE", "WSGIPERF"})
_EXIT_S = 1.0
_MOST_WARNINGS = 200


@dataclass(slots=True, frozen=True, eq=False)
class PoolOf:
    """One pool, what it connects with, and how its database was told to behave."""

    pool: Pool[Any] | NativePool
    adapter: Adapter
    settings: AliasPool
    is_djangos: bool
    """Whether OPTIONS["pool"] is set, and Django's own pool lends the connections."""
    releases_between_transactions: bool
    releases_with_response: bool
    """Whether RELEASE lets a connection go before Django's own point."""
    warned: set[str] = field(default_factory=set)

    def is_news(self, text: str) -> bool:
        """Whether nobody has been warned of this yet. Forgets, rather than grow without end."""
        if text in self.warned:
            return False
        if len(self.warned) >= _MOST_WARNINGS:
            self.warned.clear()
        self.warned.add(text)
        return True


_lock = threading.RLock()
"""Guards _known: who is to make the pool for a key, and what is in it when all are closed. Reentrant, because the
collector may run in any line, and with it the end of a generator that queries."""
_known: dict[Hashable, PoolOf] = {}
_wrappers: weakref.WeakSet[PooledMixin] = weakref.WeakSet()
_is_exiting = False
"""Set as the process ends: whoever still queries then opens a connection for that alone."""
epoch = 0
"""Goes up when what wrappers remember of their pool no longer holds."""


def pools() -> list[Pool[Any] | NativePool]:
    """Every pool of this process, by name."""
    with _lock:
        known = [each.pool for each in _known.values()]
    return sorted(known, key=lambda pool: pool.name)


def snapshots() -> list[dict[str, Any]]:
    """The numbers of every pool of this process: Pool.snapshot()."""
    return [pool.snapshot() for pool in pools()]


def find(wrapper: PooledMixin) -> PoolOf | None:
    """The pool that a wrapper takes its connections from, made if need be; None when it opens its own.

    Raises ConfigurationError when the database's POOL is wrong."""
    from .pool import Pool
    from .settings import pool_settings

    adapter_class = wrapper.pool_adapter_class
    if _is_exiting or not adapter_class.can_pool(wrapper):
        return None
    settings = pool_settings(wrapper.alias, wrapper.settings_dict)
    if settings is None:
        return None
    key = _key(wrapper, settings)
    with _lock:
        found = _known.get(key)
        if found is None:
            name = _name(wrapper, {each.pool.name for each in _known.values()})
            adapter = adapter_class(type(wrapper), wrapper.alias, wrapper.settings_dict, settings)
            early = settings.release == "transaction", settings.release != "request"
            if adapter_class.has_djangos_pool(wrapper):
                from .native import NativePool

                found = PoolOf(NativePool(name, wrapper, adapter), adapter, settings, True, *early)
            else:
                adapter.pool = Pool(name, adapter, settings.config)
                found = PoolOf(adapter.pool, adapter, settings, False, *early)
            found = _known.setdefault(key, found)
    # The same database with a new password: from now on that one is used.
    found.adapter.settings_dict = wrapper.settings_dict
    return found


def watch(wrapper: PooledMixin) -> None:
    """Remember a wrapper for the day that this process is forked."""
    _wrappers.add(wrapper)


def close_all(timeout_s: float = _EXIT_S) -> None:
    """Close every pool. Connections in use are closed when they come back; the next use makes new pools."""
    global epoch
    with _lock:
        closing = list(_known.values())
        _known.clear()
        epoch += 1
    for each in closing:
        each.pool.close(timeout_s)


def keep_waiting_at_exit() -> None:
    """A daemon thread that waited for a connection as the process began to end waits on: it ends with the process."""
    if _is_exiting and threading.current_thread().daemon:
        threading.Event().wait()


def prewarm() -> None:
    """Open what every pooled database is to have ready, PREWARM connections or MIN_IDLE. A failure is logged."""
    from django.db import connections

    from .mixin import PooledMixin

    for alias in connections:
        try:
            wrapper = connections[alias]
            found = find(wrapper) if isinstance(wrapper, PooledMixin) else None
            if found is not None and (found.settings.prewarm or found.is_djangos):
                wanted = found.pool.config.min_idle if found.is_djangos else found.settings.prewarm
                opened = found.pool.prewarm(wanted)
                # Why one could not be opened is in the pool's own message.
                logger.info("Pool %s: %d of %d connections opened ahead", found.pool.name, opened, wanted)
        except Exception as error:
            # The server starts all the same: its readiness checks say that the database is missing.
            logger.warning("The pool of database %r could not be warmed: %s", alias, error)


def _key(wrapper: PooledMixin, settings: AliasPool) -> Hashable:
    from .adapters.base import identity

    return (
        type(wrapper),
        wrapper.alias,
        identity(wrapper.settings_dict),
        wrapper.timezone_name,
        django_settings.USE_TZ,
        *(settings.config, settings.validate, settings.reset, settings.release, settings.evict_on),
    )


def _name(wrapper: PooledMixin, taken: set[str]) -> str:
    """The alias, and when another pool has that name, the database with it."""
    name = wrapper.alias
    if name in taken:
        name = f"{wrapper.alias}/{os.path.basename(str(wrapper.settings_dict.get('NAME')))}"
    number, first = 2, name
    while name in taken:
        name, number = f"{first}#{number}", number + 1
    return name


@receiver(setting_changed, dispatch_uid="django_wsgiperf.db.registry")
def _on_setting_changed(*, setting: str, **_: object) -> None:
    global epoch
    if setting in _SETTINGS_THAT_MATTER:
        epoch += 1


def _after_fork_in_child() -> None:
    """The parent's connections are the parent's: let go of them without a word to the server."""
    global _lock
    _lock = threading.RLock()
    for wrapper in list(_wrappers):
        wrapper.forget_after_fork()
    for each in list(_known.values()):
        each.pool.after_fork_in_child()


def _at_exit() -> None:
    """Take leave of the servers: of this thread's connections, which it is done with, and of the idle ones."""
    global _is_exiting
    _is_exiting = True
    closing = [each.pool for each in _known.values()]
    # First nothing is lent any more, or what this thread gives back would go to one that is about to be cut off.
    close_all(0)
    for wrapper in list(_wrappers):
        # Another thread's, or one that the thread would not give back, ends with the process.
        with contextlib.suppress(Exception):
            wrapper.release_early()
    for pool in closing:
        pool.close(_EXIT_S)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
providers.provide(providers.POOLS, snapshots)
