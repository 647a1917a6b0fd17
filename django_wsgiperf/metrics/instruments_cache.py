"""Times what a request asks of Django's caches, and counts what was found there.

Django makes a cache object for each thread and alias; from install() on its class is a subclass that times the calls.
One call that the project makes is one call here, whatever the backend does inside of it: get_or_set() by way of get()
and add(), get_many() by many get(). Keys may hold what is nobody's business, and are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, cast

from django.core.cache import CacheHandler, caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from .instruments_cache_async import MISSING, async_call, asynchronous, count, of_answer, of_value
from .record import Record, current

if TYPE_CHECKING:
    _Base = BaseCache
else:
    _Base = object

Outcome = Callable[[Any], tuple[int, int]]
"""The hits and misses in a result."""

_SIMPLE: Final = ("set", "add", "delete", "touch", "set_many", "delete_many", "incr", "decr", "clear",
                  "incr_version", "decr_version")  # fmt: skip
_LOOKUPS: Final = ("get", "get_many", "has_key", "get_or_set")


class TimedCache(_Base):
    """Goes before the class of a backend. The object is its thread's or task's, and so are these attributes."""

    _wsgiperf_alias: str
    _wsgiperf_base: type[BaseCache]
    _wsgiperf_inside = False
    """A call that is timed is under way: what it calls here is its own affair."""
    _wsgiperf_looks = False
    """It is a get_or_set() that has not looked yet."""
    _wsgiperf_found = False
    """What it saw then."""

    def get(self, key: Any, default: Any = None, version: int | None = None, **more: Any) -> Any:
        call = super().get
        record = current.get()
        if record is None or self._wsgiperf_inside:
            if not self._wsgiperf_looks:
                return call(key, default, version=version, **more)
            self._wsgiperf_looks = False
            value = call(key, MISSING, version=version, **more)
            self._wsgiperf_found = value is not MISSING
        else:
            # Not by comparing with the default: what is cached may be None, or equal to it.
            value = self._wsgiperf_time(record, "get", of_value, call, key, MISSING, version=version, **more)
            if (outer := async_call.get()) is not None and outer.looks:
                outer.looks, outer.found = False, value is not MISSING
        return default if value is MISSING else value

    def get_many(self, keys: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        call = super().get_many
        record = self._wsgiperf_record()
        if record is None:
            return call(keys, *args, **kwargs)
        # It may be a generator, and how many were asked for has to be known.
        keys = list(keys)
        asked = len(keys)
        return self._wsgiperf_time(
            record, "get_many", lambda found: (len(found), asked - len(found)), call, keys, *args, **kwargs
        )

    def has_key(self, *args: Any, **kwargs: Any) -> Any:
        call = super().has_key
        record = self._wsgiperf_record()
        if record is None:
            return call(*args, **kwargs)
        return self._wsgiperf_time(record, "has_key", of_answer, call, *args, **kwargs)

    def get_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None, **more: Any
    ) -> Any:
        call = super().get_or_set
        record = self._wsgiperf_record()
        if record is None:
            return call(key, default, timeout=timeout, version=version, **more)
        outside_ns: list[int] = []
        if callable(default):
            default = self._wsgiperf_outside(record, default, outside_ns)
        self._wsgiperf_looks, self._wsgiperf_found = True, False
        try:
            return self._wsgiperf_time(
                record, "get_or_set", self._wsgiperf_outcome, call, key, default, timeout, version=version, **more
            )
        finally:
            self._wsgiperf_looks = False
            if (outer := async_call.get()) is not None:
                outer.looks, outer.found = False, self._wsgiperf_found
            # It was taken out of the call, but for what is around the call it is Python code like any other.
            record.accounted_ns -= sum(outside_ns)

    # -- how a call is timed

    def _wsgiperf_record(self) -> Record | None:
        """The record to count for, unless this call is part of another."""
        record = current.get()
        return None if self._wsgiperf_inside else record

    def _wsgiperf_time(self, record: Record, name: str, outcome: Outcome, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Make a call, and count it."""
        seated = record.enter()
        accounted_ns = record.accounted_ns
        self._wsgiperf_inside = True
        hits = misses = 0
        began_ns = perf_counter_ns()
        try:
            result = call(*args, **kwargs)
            hits, misses = outcome(result)
            return result
        finally:
            whole_ns = perf_counter_ns() - began_ns
            self._wsgiperf_inside = False
            alias = self._wsgiperf_alias
            counts = async_call.get() is None
            if seated:
                own_ns = whole_ns - (record.accounted_ns - accounted_ns)
                record.accounted_ns += own_ns
                use = record.cache.get(alias)
                if use is None:
                    use = record.cached(alias)
                use.call_ns += own_ns
                if counts:
                    use.calls += 1
                    use.hits += hits
                    use.misses += misses
                record.add_span("cache", began_ns, whole_ns, f"{name} {alias}")
                record.leave()
            elif counts:
                record.add_beside(lambda: count(record.cached(alias), hits, misses))

    def _wsgiperf_outcome(self, _: Any) -> tuple[int, int]:
        """Of get_or_set(), whose result tells nothing."""
        return (1, 0) if self._wsgiperf_found else (0, 1)

    def _wsgiperf_outside(self, record: Record, default: Callable[[], Any], outside_ns: list[int]) -> Any:
        """The project's function for get_or_set(): its time is not the cache's, and the calls in it are calls."""

        def computed() -> Any:
            seated = record.enter()
            accounted_ns = record.accounted_ns
            self._wsgiperf_inside = False
            before = self._wsgiperf_looks, self._wsgiperf_found
            self._wsgiperf_looks = False
            began_ns = perf_counter_ns()
            try:
                return default()
            finally:
                self._wsgiperf_inside = True
                self._wsgiperf_looks, self._wsgiperf_found = before
                if seated:
                    own_ns = perf_counter_ns() - began_ns - (record.accounted_ns - accounted_ns)
                    record.accounted_ns += own_ns
                    outside_ns.append(own_ns)
                    record.leave()

        return computed


def _of_nothing(_: Any) -> tuple[int, int]:
    return 0, 0


def _simple(name: str) -> Callable[..., Any]:
    """A method that looks nothing up."""

    def method(self: TimedCache, *args: Any, **kwargs: Any) -> Any:
        call = getattr(super(TimedCache, self), name)
        record = self._wsgiperf_record()
        if record is None:
            return call(*args, **kwargs)
        return self._wsgiperf_time(record, name, _of_nothing, call, *args, **kwargs)

    method.__name__ = name
    return method


for _name in _SIMPLE:
    setattr(TimedCache, _name, _simple(_name))


_classes: dict[type[BaseCache], type[BaseCache]] = {}
"""The timed subclass of each class seen. Racing threads make the same one twice, and either will do."""


def _timed_class(base: type[BaseCache]) -> type[BaseCache]:
    made = _classes.get(base)
    if made is None:
        attributes: dict[str, Any] = {
            "__module__": base.__module__,
            "__qualname__": base.__qualname__,
            "__doc__": base.__doc__,
            "_wsgiperf_base": base,
        }
        for name in (*_LOOKUPS, *_SIMPLE):
            attributes["a" + name] = asynchronous(name, base)
        made = _classes[base] = cast("type[BaseCache]", type(base.__name__, (TimedCache, base), attributes))
    return made


def watch(cache: BaseCache, alias: str) -> None:
    """Time the calls of a cache object; one whose class does not let itself be exchanged stays as it is."""
    if isinstance(cache, TimedCache) or not isinstance(cache, BaseCache):
        return
    try:
        cache.__class__ = _timed_class(type(cache))
    except TypeError:
        return
    vars(cache)["_wsgiperf_alias"] = alias


def unwatch(cache: BaseCache) -> None:
    """Time them no longer."""
    base: Any = getattr(cache, "_wsgiperf_base", None)
    if base is not None:
        cache.__class__ = base


def install() -> Callable[[], None]:
    """Watch every cache object from now on; the function that ends it."""
    create = CacheHandler.create_connection

    def create_connection(self: CacheHandler, alias: str) -> Any:
        cache = create(self, alias)
        watch(cache, alias)
        return cache

    CacheHandler.create_connection = create_connection  # type: ignore[method-assign]
    for alias in caches:
        if hasattr(caches._connections, alias):  # type: ignore[attr-defined]
            watch(caches[alias], alias)

    def uninstall() -> None:
        if CacheHandler.create_connection is create_connection:
            CacheHandler.create_connection = create  # type: ignore[method-assign]
        for cache in caches.all(initialized_only=True):
            unwatch(cache)

    return uninstall
