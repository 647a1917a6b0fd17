"""`manage.py wsgiperf config`: what is in force, where it was set, and no secret."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.test import override_settings

from django_wsgiperf import conf
from django_wsgiperf.conf import SECTIONS, ConfigurationError

from .running import wsgiperf

SECRET = "correct-horse-battery"
ENGINE = "django_wsgiperf.db.backends.sqlite3"


def as_json(*arguments: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(wsgiperf("config", "--json", *arguments).out)
    return shown


def test_shows_every_option_of_every_section() -> None:
    shown = as_json()
    assert set(shown) == set(SECTIONS)
    text = wsgiperf("config").out
    for section in SECTIONS:
        assert set(shown[section]) == {option.key for option in conf.options(section)}
        for option in conf.options(section):
            assert re.search(rf"^  {option.key} ", text, re.M), option.key


@override_settings(WSGIPERF={"SERVER": {"THREADS": 5, "STATS_TOKEN": SECRET}})
def test_tells_where_each_value_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGIPERF_CACHE_MEMORY_BYTES", "1MiB")
    shown = as_json()
    assert shown["SERVER"]["THREADS"] == {
        "value": 5,
        "origin": "settings (WSGIPERF['SERVER']['THREADS'])",
        "is_default": False,
    }
    assert shown["CACHE"]["MEMORY_BYTES"] == {
        "value": 1_048_576,
        "origin": "environment (WSGIPERF_CACHE_MEMORY_BYTES)",
        "is_default": False,
    }
    assert shown["CACHE"]["ENABLED"]["is_default"]
    text = wsgiperf("config").out
    assert re.search(r"^  THREADS +5 +settings \(WSGIPERF\['SERVER'\]\['THREADS'\]\)$", text, re.M)
    assert re.search(r"^  MEMORY_BYTES +1 MiB +environment \(WSGIPERF_CACHE_MEMORY_BYTES\)$", text, re.M)


@override_settings(WSGIPERF={"SERVER": {"STATS_TOKEN": SECRET}})
@pytest.mark.parametrize("arguments", [(), ("--json",), ("--changed",), ("--changed", "--json"), ("server",)])
def test_secrets_are_masked(arguments: tuple[str, ...]) -> None:
    text = wsgiperf("config", *arguments).out
    assert SECRET not in text
    assert re.search(r"STATS_TOKEN.*\*{8}", text, re.DOTALL)


def test_an_empty_secret_is_seen_to_be_empty() -> None:
    assert as_json("server")["SERVER"]["STATS_TOKEN"]["value"] == ""


@override_settings(WSGIPERF={"SERVER": {"THREADS": 5}, "CACHE": {"ENABLED": True}})
def test_changed_is_what_somebody_set_even_to_the_default() -> None:
    assert {section: set(keys) for section, keys in as_json("--changed").items()} == {
        "SERVER": {"THREADS"},
        "CACHE": {"ENABLED"},
    }
    lines = wsgiperf("config", "--changed").out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == ["THREADS", "ENABLED"]


@override_settings(WSGIPERF={})
def test_nothing_changed_is_said() -> None:
    assert wsgiperf("config", "--changed").out == "Every setting has its default.\n"
    assert as_json("--changed") == {}


def test_sections_can_be_chosen() -> None:
    assert list(as_json("cache", "POOL")) == ["CACHE", "POOL"]
    with pytest.raises(CommandError, match=r"there is no section 'cash'; there are server, pool, cache"):
        wsgiperf("config", "cash")


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_wsgiperf.checks import facts

    found = {
        "default": {"ENGINE": ENGINE, "NAME": "shop.sqlite3", "OPTIONS": {}},
        "archive": {"ENGINE": ENGINE, "NAME": "archive.sqlite3", "OPTIONS": {}, "POOL": {"MAX_SIZE": 2}},
    }
    monkeypatch.setattr(facts, "databases", lambda: iter(found.items()))


@pytest.mark.usefixtures("databases")
@override_settings(WSGIPERF={"POOL": {"MAX_SIZE": 7}})
def test_a_database_with_a_pool_of_its_own_is_shown_beside() -> None:
    shown = as_json("pool")
    assert shown["POOL"]["MAX_SIZE"]["value"] == 7
    assert list(shown) == ["POOL", "DATABASES['archive']['POOL']"]
    assert list(shown["DATABASES['archive']['POOL']"]) == ["MAX_SIZE"]
    assert shown["DATABASES['archive']['POOL']"]["MAX_SIZE"]["value"] == 2
    lines = wsgiperf("config", "pool", "--changed").out.splitlines()
    assert [" ".join(line.split()) for line in lines if line] == [
        "POOL: How many connections",
        "MAX_SIZE 7 settings (WSGIPERF['POOL']['MAX_SIZE'])",
        "DATABASES['archive']['POOL']",
        "MAX_SIZE 2 settings (DATABASES['archive']['POOL']['MAX_SIZE'])",
    ]


@override_settings(WSGIPERF={"CACHE": {"ENABLE": True}})
def test_unknown_keys_are_reported() -> None:
    with pytest.raises(CommandError, match="ENABLED") as caught:
        wsgiperf("config")
    assert caught.value.returncode == 2
    assert not isinstance(caught.value, ConfigurationError)
