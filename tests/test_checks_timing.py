"""The checks of the request timing: what provokes each, and what settles it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.core import checks
from django.test import override_settings

from tests.checking import sound_project

TIMING = "django_wsgiperf.middleware.RequestTimingMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"


@pytest.fixture(autouse=True)
def _a_sound_project(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from sound_project(monkeypatch)


def found() -> set[str]:
    """The numbers of what the checks say, without their prefix."""
    messages = checks.run_checks(tags=["wsgiperf"], include_deployment_checks=True)
    return {str(message.id).removeprefix("wsgiperf.") for message in messages}


@pytest.mark.parametrize("name", [TIMING, "django_wsgiperf.metrics.middleware.RequestTimingMiddleware"])
def test_the_middleware_is_first(name: str) -> None:
    with override_settings(MIDDLEWARE=[COMMON, name]):
        assert found() == {"W026"}
    with override_settings(MIDDLEWARE=[name, COMMON]):
        assert found() == set()
    with override_settings(MIDDLEWARE=[COMMON]):
        assert found() == set(), "it is not used"


@pytest.mark.parametrize("dotted", ["no.such.module.name", "tests.checking.no_such_name"])
def test_the_namer_can_be_imported(dotted: str) -> None:
    with override_settings(MIDDLEWARE=[TIMING], WSGIPERF={"METRICS": {"ROUTE_NAMER": dotted}}):
        assert found() == {"E011"}
    with override_settings(MIDDLEWARE=[TIMING], WSGIPERF={"METRICS": {"ROUTE_NAMER": "tests.checking.sound_project"}}):
        assert found() == set()
    with override_settings(MIDDLEWARE=[], WSGIPERF={"METRICS": {"ROUTE_NAMER": dotted}}):
        assert found() == set(), "nobody asks it"


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"DATABASE": "numbers"}, {"E012"}),
        ({"DATABASE": "default"}, set()),
        ({"DATABASE": "numbers", "STORE": "memory"}, set()),
        ({"DATABASE": "numbers", "ENABLED": False}, set()),
        ({"STORE": "redis", "CACHE": "numbers"}, {"E012"}),
        ({"STORE": "redis", "CACHE": "default"}, {"E012"}),
        ({"STORE": "redis", "CACHE": "redis"}, set()),
        ({"STORE": "redis", "CACHE": "own"}, set()),
    ],
)
def test_the_store_of_the_metrics_is_there(metrics: dict[str, object], expected: set[str]) -> None:
    caches = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache"},
        "own": {"BACKEND": "shop.caching.RedisCache"},
    }
    with override_settings(MIDDLEWARE=[TIMING], CACHES=caches, WSGIPERF={"METRICS": metrics}):
        assert found() == expected
    with override_settings(MIDDLEWARE=[], CACHES=caches, WSGIPERF={"METRICS": metrics}):
        assert found() == set(), "nothing is measured"


def test_not_everybody_is_told_where_the_time_went() -> None:
    with override_settings(MIDDLEWARE=[TIMING], WSGIPERF={"METRICS": {"SERVER_TIMING": "all"}}):
        assert found() == {"W027"}
    with override_settings(MIDDLEWARE=[TIMING], WSGIPERF={"METRICS": {"SERVER_TIMING": "staff"}}):
        assert found() == set()


@pytest.mark.parametrize(
    ("options", "expected"), [({b"http": b":8000"}, {"W028"}), ({b"enable-threads": True}, set()), (None, set())]
)
def test_uwsgi_lets_threads_run(
    options: dict[bytes, object] | None, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if options is not None:
        monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))  # type: ignore[arg-type]
    with override_settings(MIDDLEWARE=[TIMING]):
        assert found() == expected
    with override_settings(MIDDLEWARE=[]):
        assert found() == set(), "it is not used"
