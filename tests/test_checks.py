"""The system checks: what provokes each, and what settles it. Those of the connection pool: test_checks_pool.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.checks.registry import registry
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_wsgiperf import conf
from django_wsgiperf.checks import CHECKS, PROBLEM_IDS, register
from django_wsgiperf.conf import ProblemKind
from tests.checking import database, numbers, run, sound_project


@pytest.fixture(autouse=True)
def _a_sound_project(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from sound_project(monkeypatch)


def test_a_sound_project_has_nothing_to_hear() -> None:
    assert numbers() == set()


def test_registering_twice_reports_once() -> None:
    before = len(registry.registered_checks), len(registry.deployment_checks)
    register()
    assert (len(registry.registered_checks), len(registry.deployment_checks)) == before
    assert len(run(THREADS=0)) == 1


def test_every_check_has_a_title_and_an_explanation() -> None:
    for number, check in CHECKS.items():
        assert check.title
        assert check.text
        letter = {checks.Error: "E", checks.Warning: "W", checks.Info: "I"}[check.level]
        assert number.startswith(f"wsgiperf.{letter}")


def test_every_kind_of_problem_has_its_number() -> None:
    assert set(PROBLEM_IDS) == set(ProblemKind)
    assert all(CHECKS[number].level is checks.Error for number in PROBLEM_IDS.values())


class TestConfiguration:
    @pytest.mark.parametrize(
        ("number", "server", "hint"),
        [
            ("E001", {"THRAEDS": 12}, "Write THREADS."),
            ("E002", {"THREADS": "12"}, "Write 12, without quotes."),
            ("E003", {"THREADS": 0}, "Write a whole number from 1 to 1_024."),
            ("E004", {"BIND": ["8000"]}, "Write '127.0.0.1:8000' for this machine only"),
            ("E005", {"PROXY_PROTOCOL": True}, "List the proxies' addresses in TRUSTED_PROXIES."),
        ],
    )
    def test_each_problem_is_an_error_with_key_origin_and_hint(
        self, number: str, server: dict[str, Any], hint: str
    ) -> None:
        ((found, message),) = run(**server).items()
        (key,) = server
        assert found == f"wsgiperf.{number}"
        assert message.level == checks.ERROR
        assert message.msg.startswith(f"{key}: ")
        assert f"settings (WSGIPERF['SERVER']['{key}'])" in message.msg
        assert message.hint is not None
        assert message.hint.startswith(hint)

    def test_all_problems_are_reported_at_once(self) -> None:
        assert numbers(THREADS=0, BACKLOG="x", COLOUR=1) == {"E001", "E002", "E003"}

    def test_a_wrong_environment_variable_is_reported_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSGIPERF_THRAEDS", "12")
        found = checks.run_checks(tags=["wsgiperf"], include_deployment_checks=True)
        assert [message.id for message in found] == ["wsgiperf.E001"]
        assert "environment (WSGIPERF_THRAEDS)" in found[0].msg

    def test_manage_py_check_stops(self) -> None:
        with (
            override_settings(WSGIPERF={"SERVER": {"THREADS": 0}}),
            pytest.raises(CommandError, match="THREADS: 0 is below the smallest value, 1") as caught,
        ):
            call_command("check", tags=["wsgiperf"])
        assert "HINT: Write a whole number from 1 to 1_024." in str(caught.value)


class TestApplication:
    @pytest.mark.parametrize("dotted", ["shopp.wsgi.application", "application", ".application", "django.nothing.x"])
    def test_a_module_that_does_not_exist_is_an_error(self, dotted: str) -> None:
        with override_settings(WSGI_APPLICATION=dotted):
            found = run(deploy=False)
        assert set(found) == {"wsgiperf.E006"}
        assert repr(dotted) in found["wsgiperf.E006"].msg

    def test_a_name_that_the_module_lacks_is_an_error(self) -> None:
        with override_settings(WSGI_APPLICATION="shop_wsgi.app"):
            assert "has no 'app'" in run(deploy=False)["wsgiperf.E006"].msg

    def test_a_module_that_nobody_imported_yet_is_not_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "unread_wsgi.py").write_text("raise AssertionError('imported')")
        monkeypatch.syspath_prepend(tmp_path)
        with override_settings(WSGI_APPLICATION="unread_wsgi.application"):
            assert numbers(deploy=False) == set()

    def test_no_name_is_a_warning(self) -> None:
        with override_settings(WSGI_APPLICATION=None):
            assert numbers(deploy=False) == {"W001"}


class TestNativePool:
    @pytest.mark.parametrize(
        ("pool", "size"), [(True, 4), ({}, None), ({"min_size": 2}, 2), ({"min_size": 2, "max_size": 11}, 11)]
    )
    def test_fewer_connections_than_threads(self, pool: object, size: int | None) -> None:
        database(OPTIONS={"pool": pool}, CONN_MAX_AGE=0)
        found = run(deploy=False, THREADS=12)
        assert ("wsgiperf.W002" in found) is (size is not None)
        if size is not None:
            assert f"holds {size} connections for 12 threads" in found["wsgiperf.W002"].msg

    def test_as_many_connections_as_threads(self) -> None:
        database(OPTIONS={"pool": {"max_size": 12}}, CONN_MAX_AGE=0)
        assert numbers(THREADS=12) == set()

    def test_other_databases_have_no_such_pool(self) -> None:
        database(ENGINE="django.db.backends.mysql", OPTIONS={"pool": True})
        assert numbers(deploy=False) == set()


def test_jitter_without_a_limit() -> None:
    assert numbers(deploy=False, MAX_REQUESTS_JITTER=50) == {"W003"}
    assert numbers(deploy=False, MAX_REQUESTS_JITTER=50, MAX_REQUESTS=1000) == set()


class TestThreads:
    def test_more_threads_than_one_interpreter_lock_can_feed(self) -> None:
        assert numbers(THREADS=32) == set()
        assert numbers(THREADS=33) == {"W010"}

    def test_a_free_threaded_interpreter_feeds_as_many_for_each_core(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
        assert numbers(THREADS=min(1024, 32 * conf.cpu_cores())) == set()


class TestConnections:
    def test_a_new_connection_for_each_request(self) -> None:
        database(CONN_MAX_AGE=0)
        assert numbers() == {"W011"}

    @pytest.mark.parametrize(
        "settings",
        [
            {"CONN_MAX_AGE": None},
            {"OPTIONS": {"pool": {"max_size": 8}}},
            {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"},
            {"ENGINE": "django.db.backends.dummy"},
        ],
    )
    def test_nothing_to_keep_or_kept_otherwise(self, settings: dict[str, Any]) -> None:
        database(**{"CONN_MAX_AGE": 0, **settings})
        assert numbers() == set()

    @pytest.mark.parametrize("name", [":memory:", "file:shop?mode=memory&cache=shared", ""])
    def test_a_database_in_memory(self, name: str) -> None:
        database(ENGINE="django.db.backends.sqlite3", NAME=name)
        assert numbers() == {"W018"}


class TestStatistics:
    @pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
    def test_open_to_everyone(self, network: str) -> None:
        assert numbers(STATS_ALLOW=[network]) == {"W012"}

    def test_open_to_some(self) -> None:
        assert numbers(STATS_ALLOW=["10.0.0.0/8", "::1", "unix"]) == set()

    def test_a_token_that_can_be_guessed(self) -> None:
        message = run(STATS_TOKEN="letmein")["wsgiperf.W013"]
        assert "letmein" not in str(message)
        assert numbers(STATS_TOKEN="x" * 20) == set()


def test_reload_in_production() -> None:
    assert numbers(RELOAD=True) == {"W014"}
    assert "USR2" in str(run(RELOAD=True)["wsgiperf.W014"].hint), "HUP goes on with the code that was loaded before"
    assert numbers(RELOAD=True, deploy=False) == set()


class TestProxies:
    @pytest.mark.parametrize("address", ["0.0.0.0:80", "[::]:80", "shop.example:80", "fd://3"])
    def test_everyone_trusted_where_everyone_can_connect(self, address: str) -> None:
        assert numbers(TRUSTED_PROXIES=["0.0.0.0/0"], BIND=[address]) == {"W015"}

    @pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:80", "localhost:80", "unix:/run/shop.sock"])
    def test_everyone_trusted_where_only_this_machine_can_connect(self, address: str) -> None:
        assert numbers(TRUSTED_PROXIES=["0.0.0.0/0"], BIND=[address]) == set()

    @pytest.mark.parametrize("seconds", [1, 60])
    def test_keepalive_that_ends_before_the_balancers(self, seconds: int) -> None:
        assert numbers(TRUSTED_PROXIES=["10.0.0.0/8"], KEEPALIVE_S=seconds) == {"W017"}

    @pytest.mark.parametrize("server", [{"KEEPALIVE_S": 60}, {"KEEPALIVE_S": 0, "TRUSTED_PROXIES": ["::1"]}])
    def test_keepalive_with_no_balancer_or_none_at_all(self, server: dict[str, Any]) -> None:
        assert numbers(**server) == set()

    @pytest.mark.parametrize(
        "settings",
        [
            {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
            {"USE_X_FORWARDED_HOST": True},
            {"USE_X_FORWARDED_PORT": True},
        ],
    )
    def test_a_forwarding_header_from_anyone(self, settings: dict[str, Any]) -> None:
        with override_settings(**settings):
            assert numbers() == {"W020"}
            assert numbers(TRUSTED_PROXIES=["10.0.0.0/8"]) == set()

    def test_a_forwarding_header_that_is_not_removed(self) -> None:
        with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_SCHEME", "https")):
            assert numbers() == numbers(TRUSTED_PROXIES=["10.0.0.0/8"]) == {"W020"}


def test_no_request_deadline() -> None:
    assert numbers(REQUEST_TIMEOUT_S=0) == {"W016"}


def test_a_cache_in_each_worker() -> None:
    assert numbers(WORKERS=2) - {"W024"} == {"W019"}
    redis = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
    with override_settings(CACHES=redis):
        assert numbers(WORKERS=2) - {"W024"} == set()
