"""The asynchronous methods of Django's caches: one call of the project is one here, too, and its own time.

They are a backend's own, or BaseCache's, which use the synchronous ones in a thread, and each other. What is common to
both kinds, the counts and outcomes of calls, is here as well; instruments_cache.py has the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter_ns
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from .record import current
from .uses import CacheUse

MISSING: Final = object()
"""What is asked for as the default, since anything else may be cached."""


class AsyncCall:
    """An asynchronous call that is under way. Those of BaseCache use the synchronous ones, in another thread."""

    __slots__ = ("found", "looks", "outside_ns")

    def __init__(self, looks: bool) -> None:
        self.looks = looks
        """It is an aget_or_set() that has not looked yet."""
        self.found = False
        self.outside_ns = 0


async_call: ContextVar[AsyncCall | None] = ContextVar("wsgiperf_async_call", default=None)


def of_value(value: Any) -> tuple[int, int]:
    return (0, 1) if value is MISSING else (1, 0)


def of_answer(found: Any) -> tuple[int, int]:
    return (1, 0) if found else (0, 1)


def count(use: CacheUse, hits: int, misses: int) -> None:
    use.calls += 1
    use.hits += hits
    use.misses += misses


def asynchronous(name: str, base: type[BaseCache]) -> Callable[..., Any]:
    """Counts an asynchronous method as one call. What the synchronous ones inside of it take is added there."""
    call = getattr(base, "a" + name)
    if name == "get_or_set" and base.get_or_set is BaseCache.get_or_set and base.aget_or_set is BaseCache.aget_or_set:
        call = _get_or_set

    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        record = current.get()
        if record is None or async_call.get() is not None:
            return await call(self, *args, **kwargs)
        asked, given, outer = 0, None, AsyncCall(name == "get_or_set")
        # By position or by name, as of the synchronous ones: (key, default, ...) and (keys, ...).
        if name == "get":
            if len(args) > 1:
                given, args = args[1], (args[0], MISSING, *args[2:])
            else:
                given, kwargs["default"] = kwargs.get("default"), MISSING
        elif name == "get_many":
            keys = list(args[0] if args else kwargs.pop("keys"))
            args, asked = (keys, *args[1:]), len(keys)
        elif name == "get_or_set":
            default = args[1] if len(args) > 1 else kwargs.get("default")
            if callable(default):
                default = _outside_of(outer, default)
                if len(args) > 1:
                    args = (args[0], default, *args[2:])
                else:
                    kwargs["default"] = default
        hits = misses = 0
        accounted_ns = record.accounted_ns
        began_ns = perf_counter_ns()
        token = async_call.set(outer)
        try:
            result = await call(self, *args, **kwargs)
            if name == "get":
                hits, misses = of_value(result)
                result = given if result is MISSING else result
            elif name == "get_many":
                hits, misses = len(result), max(0, asked - len(result))
            elif name == "has_key":
                hits, misses = of_answer(result)
            elif name == "get_or_set":
                hits, misses = of_answer(outer.found)
            return result
        finally:
            async_call.reset(token)
            alias = self._wsgiperf_alias
            if record.enter():
                # What has been accounted for meanwhile may be other tasks' of the request: at no time is it more.
                whole_ns = perf_counter_ns() - began_ns
                own_ns = max(0, whole_ns - (record.accounted_ns - accounted_ns) - outer.outside_ns)
                record.accounted_ns += own_ns
                use = record.cached(alias)
                use.call_ns += own_ns
                count(use, hits, misses)
                record.leave()
            else:
                record.add_beside(lambda: count(record.cached(alias), hits, misses))

    method.__name__ = "a" + name
    return method


async def _get_or_set(
    cache: BaseCache, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
) -> Any:
    """BaseCache's, which Django 6.1 does otherwise where get_or_set() is not BaseCache's: by that, in a thread. The
    project's function is to run where it would run without us, in the event loop's thread."""
    value = await cache.aget(key, MISSING, version=version)
    if value is not MISSING:
        return value
    made = default() if callable(default) else default
    await cache.aadd(key, made, timeout=timeout, version=version)
    # Somebody else may have been faster.
    return await cache.aget(key, made, version=version)


def _outside_of(outer: AsyncCall, default: Callable[[], Any]) -> Callable[[], Any]:
    """The project's function for aget_or_set(), which the event loop's thread calls."""

    def computed() -> Any:
        token = async_call.set(None)
        began_ns = perf_counter_ns()
        try:
            return default()
        finally:
            outer.outside_ns += perf_counter_ns() - began_ns
            async_call.reset(token)

    return computed
