"""The system checks of the response cache: what provokes each, and what settles it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core import checks
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

from django_wsgiperf import conf
from tests.checking import sound_project

CACHE = "django_wsgiperf.middleware.ResponseCacheMiddleware"
TIMING = "django_wsgiperf.middleware.RequestTimingMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
DJANGO_REDIS = "django_redis.cache.RedisCache"
BUILT_IN_REDIS = "django.core.cache.backends.redis.RedisCache"
RAW = "django_wsgiperf.cache.serializers.RawBytes"


class OwnMemory(LocMemCache):
    """A project's own kind of it."""


@pytest.fixture(autouse=True)
def _a_sound_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    project = sound_project(monkeypatch)
    next(project)
    yield
    next(project, None)


def run(
    cache: dict[str, Any] | None = None, pages: dict[str, Any] | None = None, workers: int = 1, **settings: Any
) -> dict[str, checks.CheckMessage]:
    """What the checks say, by number; `pages` is CACHES["pages"]."""
    caches = {"default": {"BACKEND": BUILT_IN_REDIS, "LOCATION": "redis://127.0.0.1:1"}}
    if pages is not None:
        caches["pages"] = pages
    given = {"CACHE": cache or {}, "SERVER": {"WORKERS": workers}}
    with override_settings(WSGIPERF=given, CACHES=caches, **settings):
        conf.forget()
        found = checks.run_checks(tags=["wsgiperf"], include_deployment_checks=True)
    return {str(message.id).removeprefix("wsgiperf."): message for message in found}


def redis(backend: str = DJANGO_REDIS, **options: str) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": "redis://127.0.0.1:1/3", "OPTIONS": options}


def test_a_sound_site_has_nothing_to_hear() -> None:
    assert run(MIDDLEWARE=[TIMING, CACHE, COMMON]) == {}
    assert run({"STORE": "pages"}, redis(SERIALIZER=RAW), workers=4, MIDDLEWARE=[CACHE, COMMON]) == {}


def test_store_that_is_not_there() -> None:
    message = run({"STORE": "page"}, redis(SERIALIZER=RAW))["E010"]
    assert message.level == checks.ERROR
    assert message.msg == "WSGIPERF['CACHE']['STORE'] is 'page', and CACHES has no such alias."
    assert message.hint == "Write one of 'default', 'pages', or add 'page' to CACHES."


@pytest.mark.parametrize(
    "backend",
    [
        "django.core.cache.backends.locmem.LocMemCache",
        "django.core.cache.backends.dummy.DummyCache",
        "django.core.cache.backends.filebased.FileBasedCache",
        f"{__name__}.OwnMemory",
    ],
)
def test_store_that_cannot_be_shared(backend: str) -> None:
    message = run({"STORE": "pages"}, {"BACKEND": backend, "LOCATION": "/tmp"})["E010"]
    assert "WSGIPERF['CACHE']['STORE'] is 'pages', a " in message.msg
    assert message.hint == "Name an alias in Redis, Memcached or the database, or none."


@pytest.mark.parametrize(
    "backend",
    [
        "django.core.cache.backends.db.DatabaseCache",
        "django.core.cache.backends.memcached.PyMemcacheCache",
        "somewhere.else.Cache",
    ],
)
def test_other_stores_will_do(backend: str) -> None:
    assert run({"STORE": "pages"}, {"BACKEND": backend, "LOCATION": "pages"}, workers=4) == {}


def test_middleware_out_of_order() -> None:
    message = run(MIDDLEWARE=[COMMON, CACHE])["W008"]
    assert message.hint == f"Put it before {COMMON!r}."
    message = run(MIDDLEWARE=[CACHE, COMMON, TIMING])["W008"]
    assert message.hint == f"Put it after {TIMING!r}."


def test_compression_inside_the_cache() -> None:
    assert "COMPRESS" in str(run(MIDDLEWARE=[GZIP, COMMON])["W009"].hint)
    assert run({"COMPRESS": []}, MIDDLEWARE=[GZIP, COMMON]) == {}
    assert run({"ENABLED": False}, MIDDLEWARE=[GZIP, COMMON]) == {}


def test_djangos_own_cache_inside() -> None:
    assert repr(UPDATE) in run(MIDDLEWARE=[UPDATE, COMMON])["W022"].msg
    assert run({"ENABLED": False}, MIDDLEWARE=[UPDATE, COMMON]) == {}


@pytest.mark.parametrize(("backend", "option"), [(DJANGO_REDIS, "SERIALIZER"), (BUILT_IN_REDIS, "serializer")])
def test_store_that_unpickles(backend: str, option: str) -> None:
    message = run({"STORE": "pages"}, redis(backend))["W023"]
    assert message.hint is not None
    assert message.hint.startswith(f"Set OPTIONS[{option!r}] = {RAW!r} in it")
    assert run({"STORE": "pages"}, redis(backend, **{option: RAW})) == {}
    # What else is in the default alias may need it.
    assert run({"STORE": "default"}) == {}


def test_workers_without_a_store() -> None:
    assert "Each of 4 workers keeps pages of its own" in run(workers=4)["W024"].msg
    assert run({"ENABLED": False}, workers=4) == {}


def test_options_that_contradict_each_other() -> None:
    message = run({"MAX_BODY_BYTES": 100_000_000})["E005"]
    assert "a page may be larger than all the memory for pages" in message.msg
    message = run({"BYPASS_COOKIES": ["a"], "PRIVATE_COOKIES": ["a"]})["E005"]
    assert "the cookie 'a' is in both" in message.msg


@pytest.mark.parametrize(
    ("cache", "number"),
    [
        ({"EXCLUDE": ["account/"]}, "E004"),
        ({"TARGETS": ["CDN Cache"]}, "E004"),
        ({"PRIVATE_COOKIES": ["a=b"]}, "E004"),
        ({"COMPRESS": ["deflate"]}, "E003"),
        ({"CACHE_STATUS": "verbose"}, "E003"),
        ({"JITTER": 2}, "E003"),
        ({"STORES": "pages"}, "E001"),
    ],
)
def test_wrong_options_are_named(cache: dict[str, Any], number: str) -> None:
    assert run(cache).keys() == {number}
