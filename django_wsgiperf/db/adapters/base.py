"""The part of an adapter that is the same for every database: connecting as Django does, and settling at the end.

An adapter is the pool's `Driver`, and answers the mixin's questions about a session. It connects with a wrapper of
its own, so that a connection can be made in any thread, and with the settings of this moment, so that a new password
is used. What connecting left on that wrapper (isolation level and the like) is handed to whoever gets the connection.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.dummy.base import DatabaseWrapper as DummyWrapper
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from .patience import acknowledged_soon
from .statements import Statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_wsgiperf.db.mixin import PooledMixin
    from django_wsgiperf.db.pool import Pool
    from django_wsgiperf.db.settings import AliasPool

logger = logging.getLogger("django_wsgiperf.db")

#: What every wrapper has of its own; none of it belongs to a connection.
_WRAPPERS_OWN = frozenset(vars(DummyWrapper({"NAME": ""})))


class Memory:
    """What is remembered of one raw connection, for as long as it lives. `attributes` are for each wrapper."""

    __slots__ = ("attributes", "baseline")

    def __init__(self, attributes: dict[str, Any], baseline: Any) -> None:
        self.attributes = attributes
        self.baseline = baseline


class Adapter:
    """The pool's driver for one database. Subclasses know a database's raw connections."""

    statements: ClassVar[Statements]
    """What a statement leaves behind."""
    server_side_cursors: ClassVar[tuple[type, ...]] = ()
    """The driver's classes of cursors whose rows come from the server while they are fetched."""
    wraps_cursors: ClassVar[bool] = False
    """Whether Django's create_cursor() gives the driver's cursor inside of another one."""
    rows_stay_on_server: ClassVar[bool] = False
    """Whether an ordinary cursor that is still open may fetch from the connection."""
    results_queue: ClassVar[bool] = False
    """Whether a text of several statements leaves results on the connection until somebody asks for each."""

    pool: Pool[Any]
    """Set by whoever makes the pool."""

    def __init__(
        self, wrapper_class: type[PooledMixin], alias: str, settings_dict: dict[str, Any], settings: AliasPool
    ) -> None:
        self.wrapper_class = wrapper_class
        self.alias = alias
        self.settings_dict = settings_dict
        """The settings of the wrapper that asked last: a new password is found there."""
        self._identity = identity(settings_dict)
        self._first_settings = _copied(settings_dict)
        self.validate = _function(alias, settings) if settings.validate else None
        self.hard = settings.reset == "hard"
        self.watches_session = settings.reset == "auto"
        self.cleans_session = settings.reset != "rollback"
        self._makers: list[PooledMixin] = []
        self._shared: set[str] = set()
        self.memories: dict[int, Memory] = {}
        """By id() of each open raw connection: drivers' objects take no attributes of ours."""

    @classmethod
    def can_pool(cls, wrapper: PooledMixin) -> bool:
        """Whether this wrapper's connections may be pooled at all."""
        return wrapper.alias != NO_DB_ALIAS and bool(wrapper.settings_dict.get("NAME"))

    @classmethod
    def has_djangos_pool(cls, wrapper: PooledMixin) -> bool:
        """Whether the settings ask for the pool that Django itself has for this database."""
        return False

    # -- the pool's Driver

    def connect(self) -> Any:
        """A new connection, set up as Django would. Raises what Django would."""
        raw = None
        try:
            with self.maker() as maker:
                before = dict(vars(maker))
                # Not in a variable: error pages show those, and there is a password among them.
                raw = maker.get_new_connection(maker.get_connection_params())
                self.set_up(maker, raw)
                self.memories[id(raw)] = Memory(self._attributes(maker, before), self.baseline(raw))
        except BaseException:
            if raw is not None:
                self._close_quietly(raw)
            raise
        return raw

    def close(self, raw: Any) -> None:
        """Close a connection for good. An error of one that is broken already says nothing new."""
        self.memories.pop(id(raw), None)
        self._close_quietly(raw)

    def is_alive(self, raw: Any) -> bool:
        """Whether the connection may be handed out: it answers, and VALIDATE has nothing against it."""
        try:
            with self.patience(raw):
                self.ping(raw)
        except Exception:
            return False
        try:
            return self.validate is None or bool(self.validate(raw))
        except Exception:
            # Else a mistake in it would have each connection replaced, and nobody would know why.
            logger.warning("VALIDATE of database %r raised; the connection is closed", self.alias, exc_info=True)
            return False

    def abandon(self, raw: Any) -> None:
        """In a forked child: close the connection without a byte reaching the parent's session."""
        self.memories.pop(id(raw), None)
        # Whatever the driver says on closing is written to nowhere; the parent's copy of the socket stays as it is.
        with contextlib.suppress(Exception):
            nowhere = os.open(os.devnull, os.O_RDWR)
            try:
                os.dup2(nowhere, self.fileno(raw))
            finally:
                os.close(nowhere)
            self._close_quietly(raw)

    def state(self, raw: Any) -> str:
        """What the session is doing, without asking it."""
        return "unknown"

    # -- for the mixin

    def is_broken(self, raw: Any) -> bool:
        """Whether a connection that had an error is lost, also in the midst of a transaction."""
        try:
            self.ping(raw)
        except Exception:
            return True
        return False

    def is_in_transaction(self, raw: Any) -> bool:
        """Whether giving the connection back now would end a transaction that somebody began."""
        return self.state(raw) != "idle"

    def settle(self, raw: Any, *, dirty: bool) -> str:
        """Leave nothing of a session's state for the next holder; why the connection must be closed, or ""."""
        raise NotImplementedError

    def discard_results(self, raw: Any) -> None:
        """Where `results_queue`: read what is left. Raises what a statement that nobody looked at has failed with."""

    def baseline(self, raw: Any) -> Any:
        """The driver's own settings of a connection as it was set up, to be compared when it comes back."""
        return None

    def ping(self, raw: Any) -> None:
        """One round trip. Raises when it fails."""
        raise NotImplementedError

    def patience(self, raw: Any) -> contextlib.AbstractContextManager[None]:
        """Around a ping: an end to it when nothing comes back."""
        return acknowledged_soon(self.fileno(raw))

    def fileno(self, raw: Any) -> int:
        """The connection's socket."""
        number: int = raw.fileno()
        return number

    def error_code(self, error: BaseException) -> str:
        """The SQLSTATE or number by which EVICT_ON knows the error."""
        code = getattr(error, "sqlstate", None)
        return code if isinstance(code, str) else ""

    # -- inside

    @contextlib.contextmanager
    def maker(self) -> Iterator[PooledMixin]:
        """A wrapper that nobody else uses now. Kept, for what Django finds out once for each wrapper."""
        try:
            maker = self._makers.pop()
        except IndexError:
            maker = self.wrapper_class(self._first_settings, self.alias)
            # One thread after the other uses it.
            maker.inc_thread_sharing()
        # Tests rename databases in place. That is another pool's then, and this one's is what it was.
        current = self.settings_dict
        maker.settings_dict = current if identity(current) == self._identity else self._first_settings
        try:
            yield maker
        finally:
            maker.connection = None
            self._makers.append(maker)

    def set_up(self, maker: PooledMixin, raw: Any) -> None:
        """Everything that Django sets on a new connection."""
        maker.connection = raw
        maker.set_autocommit(True)
        maker.init_connection_state()

    def _attributes(self, maker: PooledMixin, before: dict[str, Any]) -> dict[str, Any]:
        """What connecting has set on its wrapper, the caches of this one wrapper left out."""
        after = vars(maker)
        self._shared.update(
            name
            for name, value in after.items()
            if (name not in before or before[name] is not value)
            and name not in _WRAPPERS_OWN
            and not isinstance(getattr(type(maker), name, None), cached_property)
        )
        return {name: after[name] for name in self._shared if name in after}

    def _close_quietly(self, raw: Any) -> None:
        with contextlib.suppress(Exception):
            raw.close()


def _function(alias: str, settings: AliasPool) -> Callable[[Any], object]:
    """What VALIDATE names. Raises ImproperlyConfigured."""
    problem, found = "it is not a function", None
    try:
        found = import_string(settings.validate)
    except ImportError as error:
        problem = str(error)
    if callable(found):
        checks: Callable[[Any], object] = found
        return checks
    raise ImproperlyConfigured(
        f"VALIDATE of database {alias!r} is {settings.validate!r}, set by {settings.origins['validate']}: {problem}. "
        "Write the dotted path of a function that takes the driver's connection."
    )


def identity(settings_dict: Mapping[str, Any]) -> Hashable:
    """What a database's settings say about where to connect and how, the password left out."""
    return (
        *(settings_dict.get(name) for name in ("NAME", "USER", "HOST", "PORT", "TIME_ZONE")),
        _frozen(settings_dict.get("OPTIONS")),
    )


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple(sorted((str(name), _frozen(each)) for name, each in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    # Types tell 1 from True; what cannot be hashed is told apart by its identity, and kept alive by the adapter.
    return (type(value).__qualname__, repr(value) if isinstance(value, Hashable) else str(id(value)))


def _copied(value: Any) -> Any:
    return {name: _copied(each) for name, each in value.items()} if isinstance(value, dict) else value


def keep_for_ever(thing: object) -> None:
    """See that an object is never collected, not even when the interpreter ends: in a child, its end would do harm."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
