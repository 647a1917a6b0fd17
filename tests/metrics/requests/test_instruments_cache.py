"""Calls of Django's caches: one call of the project is one here, and what was found is a hit, whatever it is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import CacheHandler, cache, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.test import override_settings

from django_wsgiperf.metrics import instruments, instruments_cache
from django_wsgiperf.metrics.record import Record, current
from django_wsgiperf.metrics.uses import CacheUse

from .conftest import CACHES, Measured

LOCMEM = CACHES["default"]["BACKEND"]


class OwnGetOrSet(LocMemCache):
    """A backend with a get_or_set() of its own."""

    def get_or_set(self, key: Any, default: Any, timeout: Any = 300, version: Any = None) -> Any:
        return super().get_or_set(key, default, timeout, version)


class OwnAsync(LocMemCache):
    """A backend with asynchronous methods of its own: one that goes by the synchronous one, and one that does not."""

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        return await super().aget(key, default, version)

    async def aget_many(self, keys: Any, version: Any = None) -> Any:
        await asyncio.sleep(0)
        return {key: 1 for key in keys if key != "missing"}

    async def ahas_key(self, key: Any, version: Any = None) -> Any:
        return key == "there"


@pytest.fixture(params=["locmem", "redis", "django-redis", "database"])
def backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """The default cache on each backend in turn, empty, and watched."""
    request.getfixturevalue("db")
    entries: dict[str, dict[str, Any]] = {
        "locmem": {"BACKEND": LOCMEM, "LOCATION": "tested"},
        "database": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cached_rows"},
    }
    if request.param in entries:
        entry = entries[request.param]
    else:
        redis = {
            "redis": "django.core.cache.backends.redis.RedisCache",
            "django-redis": "django_redis.cache.RedisCache",
        }
        entry = {"BACKEND": redis[request.param], "LOCATION": request.getfixturevalue("redis_url")}
    with override_settings(CACHES={"default": entry}):
        if request.param == "database":
            call_command("createcachetable", verbosity=0)
        instruments.install()
        cache.clear()
        yield
        cache.clear()
        caches.close_all()
        instruments.uninstall()


@pytest.fixture
def record() -> Iterator[Record]:
    """Of a request that this code belongs to."""
    made = Record("GET")
    token = current.set(made)
    yield made
    current.reset(token)


def use_of(record: Record, alias: str = "default") -> tuple[int, int, int]:
    use = record.cache.get(alias, CacheUse())
    return use.calls, use.hits, use.misses


@pytest.mark.usefixtures("backend")
class TestOnEachBackend:
    def test_a_cached_none_is_a_hit(self, record: Record) -> None:
        assert cache.get("key", "default") == "default"
        cache.set("key", None)
        assert cache.get("key", "default") is None
        assert use_of(record) == (3, 1, 1)

    def test_many(self, record: Record) -> None:
        cache.set_many({"a": 1, "b": None})
        assert cache.get_many(key for key in ("a", "b", "c")) == {"a": 1, "b": None}
        cache.delete_many(["a", "b"])
        assert use_of(record) == (3, 2, 1)

    def test_get_or_set_is_one_call(self, record: Record) -> None:
        assert cache.get_or_set("key", lambda: 5) == 5
        assert use_of(record) == (1, 0, 1)
        assert cache.get_or_set("key", 6) == 5
        assert use_of(record) == (2, 1, 1)

    def test_calls_in_the_function_for_get_or_set_are_calls(self, record: Record) -> None:
        assert cache.get_or_set("outer", lambda: cache.get_or_set("inner", lambda: cache.get("x", 7))) == 7
        assert use_of(record) == (3, 0, 3)
        assert record.accounted_ns == record.cache_ns + record.db_ns + record.gc_ns

    def test_what_looks_nothing_up(self, record: Record) -> None:
        cache.set("n", 1)
        assert cache.incr("n") == 2
        assert cache.decr("n") == 1
        cache.touch("n", 10)
        assert cache.add("n", 1) is False
        cache.delete("n")
        cache.clear()
        assert use_of(record) == (7, 0, 0)

    def test_whether_there_is_a_key(self, record: Record) -> None:
        cache.set("here", 1)
        assert "here" in cache
        assert not cache.has_key("elsewhere")
        assert use_of(record) == (3, 1, 1)

    def test_failures_are_calls(self, record: Record) -> None:
        with pytest.raises(ValueError, match="missing"):
            cache.incr("missing")
        assert use_of(record)[0] == 1
        assert cache.get("missing") is None
        assert use_of(record) == (2, 0, 1)


class TestAsynchronousMethods:
    @pytest.fixture(autouse=True)
    def watched(self) -> Iterator[None]:
        with override_settings(CACHES=CACHES):
            instruments.install()
            cache.clear()
            yield
            cache.clear()
            instruments.uninstall()

    def test_count_once_whatever_they_call(self, record: Record) -> None:
        async def ask() -> None:
            await cache.aset("key", None)
            assert await cache.aget("key", "default") is None
            assert await cache.aget_many(["key", "other"]) == {"key": None}
            assert await cache.aget_or_set("third", 3) == 3
            assert await cache.aincr("third") == 4
            assert await cache.ahas_key("third")

        asyncio.run(ask())
        assert use_of(record) == (6, 3, 2)

    def test_arguments_by_name(self, record: Record) -> None:
        async def ask() -> None:
            assert await cache.aget(key="key", default=3) == 3
            assert await cache.aget(default=3, key="key", version=1) == 3
            assert await cache.aget_or_set(key="key", default=lambda: 4) == 4
            assert await cache.aget_many(keys=["key", "other"]) == {"key": 4}

        asyncio.run(ask())
        assert cache.get(key="key", default=1) == 4
        assert cache.get_many(keys=["key"]) == {"key": 4}
        assert cache.get_or_set(key="third", default=lambda: 5) == 5
        assert use_of(record) == (7, 3, 5)

    def test_calls_in_the_function_for_aget_or_set_are_calls(self, record: Record) -> None:
        async def ask() -> None:
            assert await cache.aget_or_set("outer", lambda: cache.get_or_set("inner", 5)) == 5
            assert await cache.aget_or_set("outer", 6) == 5

        asyncio.run(ask())
        assert use_of(record) == (3, 1, 2)

    def test_the_function_for_aget_or_set_runs_where_it_would_without_us(self, record: Record) -> None:
        threads: list[int] = []

        async def ask() -> None:
            await cache.aget_or_set("key", lambda: threads.append(threading.get_ident()))
            assert threads == [threading.get_ident()]

        asyncio.run(ask())

    def test_at_once_they_take_no_more_than_the_time_that_passes(self, record: Record) -> None:
        async def ask() -> None:
            await asyncio.gather(*(cache.aget_many(["a", "b"]) for _ in range(20)))

        asyncio.run(ask())
        record.end(time.perf_counter_ns())
        assert use_of(record) == (20, 0, 40)
        assert 0 < record.cache_ns <= record.total_ns


class TestOwnAsynchronousMethods:
    @pytest.fixture(autouse=True)
    def own(self) -> Iterator[None]:
        with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.OwnAsync", "LOCATION": "own"}}):
            instruments.install()
            cache.clear()
            yield
            instruments.uninstall()

    def test_count_once_by_whatever_way_they_go(self, record: Record) -> None:
        async def ask() -> None:
            assert await cache.aget("key", "default") == "default"
            assert await cache.aget("key", default=8) == 8
            await cache.aset("key", None)
            assert await cache.aget("key", "default") is None

        asyncio.run(ask())
        assert use_of(record) == (4, 1, 2)

    def test_what_they_found(self, record: Record) -> None:
        async def ask() -> None:
            await asyncio.gather(cache.aget_many(key for key in ("a", "missing")), cache.ahas_key("there"))

        asyncio.run(ask())
        assert use_of(record) == (2, 2, 1)

    def test_outside_of_requests_they_are_as_ever(self) -> None:
        assert asyncio.run(cache.aget("key", "default")) == "default"


def test_a_backends_own_get_or_set_counts_once_both_ways(record: Record) -> None:
    async def ask() -> None:
        assert await cache.aget_or_set("key", 6) == 5
        assert await cache.aget_or_set("other", lambda: 7) == 7

    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.OwnGetOrSet", "LOCATION": "get-or-set"}}):
        instruments.install()
        try:
            cache.clear()
            assert cache.get_or_set("key", 5) == 5
            asyncio.run(ask())
        finally:
            instruments.uninstall()
    assert use_of(record) == (4, 1, 2)


class TestHooks:
    def test_classes_stay_what_they_were(self) -> None:
        with override_settings(CACHES=CACHES):
            instruments.install()
            try:
                made = caches["default"]
                assert isinstance(made, LocMemCache)
                assert type(made).__qualname__ == "LocMemCache"
                assert type(caches["other"]) is type(made)
            finally:
                instruments.uninstall()
            assert type(made) is LocMemCache

    def test_objects_made_before_are_watched_too(self) -> None:
        with override_settings(CACHES=CACHES):
            made = caches["default"]
            instruments.install()
            try:
                assert isinstance(made, instruments_cache.TimedCache)
            finally:
                instruments.uninstall()
        assert CacheHandler.create_connection.__module__ == "django.core.cache"

    def test_not_where_it_is_turned_off(self) -> None:
        with override_settings(CACHES=CACHES, WSGIPERF={"METRICS": {"CACHE_TIMING": False}}):
            instruments.install()
            try:
                assert type(caches["default"]) is LocMemCache
            finally:
                instruments.uninstall()

    def test_a_class_that_cannot_be_exchanged_is_left_alone(self) -> None:
        class Slotted(BaseCache):
            __slots__ = ("only",)

        class Odd:
            pass

        odd: Any = Odd()
        instruments_cache.watch(odd, "odd")
        assert type(odd) is Odd
        slotted = Slotted({})
        instruments_cache.watch(slotted, "slotted")
        assert slotted.default_timeout == 300

    def test_keys_are_not_kept(self, measured: Measured) -> None:
        record = measured.record("/cached/")
        assert use_of(record) == (6, 2, 2)
        assert use_of(record, "other") == (1, 0, 0)
        texts = {text for kind, _, _, text in record.spans if kind == "cache"}
        assert texts == {
            "clear default", "get default", "set default", "get_many default", "delete default", "set other"
        }  # fmt: skip

    def test_each_thread_has_its_own(self, measured: Measured) -> None:
        threads = [threading.Thread(target=measured.ask, args=("/cached/",)) for _ in range(4)]
        for thread in threads:
            thread.start()
            thread.join()
        assert [record.cache["default"].calls for record in measured.records] == [6] * 4
