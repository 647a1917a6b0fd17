"""How one database's pool is configured: which place wins, where each value came from, what size it gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from django_wsgiperf import conf
from django_wsgiperf._conf_pool import PoolSettings
from django_wsgiperf.conf import ConfigurationError, ProblemKind
from django_wsgiperf.db.config import PoolConfig
from django_wsgiperf.db.settings import AliasPool, pool_settings


@pytest.fixture(autouse=True)
def _a_clean_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in os.environ:
        if name.startswith("WSGIPERF_"):
            monkeypatch.delenv(name)
    conf.forget()
    yield
    conf.forget()


def settings(pool: object = True, *, section: dict[str, Any] | None = None, alias: str = "default") -> AliasPool:
    with override_settings(WSGIPERF={"POOL": section or {}}):
        found = pool_settings(alias, {"ENGINE": "x", "PASSWORD": "hunter2", "POOL": pool})
    assert found is not None
    return found


class TestPrecedence:
    def test_nothing_said_is_the_pools_own_defaults(self) -> None:
        assert settings().config == PoolConfig()
        assert settings({}).config == PoolConfig()
        assert pool_settings("default", {}) == settings()

    def test_every_option_of_the_pool_arrives(self) -> None:
        config = settings(
            {
                "MAX_SIZE": 20,
                "MIN_IDLE": 2,
                "ACQUIRE_TIMEOUT_S": 3,
                "MAX_WAITERS": 4,
                "MAX_LIFETIME_S": 5,
                "LIFETIME_JITTER": 0.6,
                "IDLE_TIMEOUT_S": 7,
                "KEEPALIVE_S": 8,
                "BYPASS_WINDOW_S": 9,
                "LEAK_THRESHOLD_S": 10,
            }
        ).config
        assert config == PoolConfig(
            max_size=20,
            min_idle=2,
            acquire_timeout_s=3.0,
            max_waiters=4,
            max_lifetime_s=5.0,
            lifetime_jitter=0.6,
            idle_timeout_s=7.0,
            keepalive_s=8.0,
            bypass_window_s=9.0,
            leak_threshold_s=10.0,
        )

    def test_what_is_not_the_pools_arrives_beside_it(self) -> None:
        found = settings(
            {"VALIDATE": "shop.db.is_primary", "RESET": "hard", "RELEASE": "request", "EVICT_ON": ["25006"]}
        )
        assert (found.validate, found.reset, found.release) == ("shop.db.is_primary", "hard", "request")
        assert found.evict_on == frozenset({"25006"})

    def test_the_database_wins_over_the_section_and_the_section_over_the_defaults(self) -> None:
        found = settings({"MAX_SIZE": 4}, section={"MAX_SIZE": 6, "IDLE_TIMEOUT_S": 60})
        assert (found.config.max_size, found.config.idle_timeout_s) == (4, 60.0)
        assert str(found.origins["max_size"]) == "settings (DATABASES['default']['POOL']['MAX_SIZE'])"
        assert str(found.origins["idle_timeout_s"]) == "settings (WSGIPERF['POOL']['IDLE_TIMEOUT_S'])"
        assert str(found.origins["keepalive_s"]) == "default"

    def test_the_database_wins_over_the_environment_which_is_for_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSGIPERF_POOL_MAX_SIZE", "7")
        conf.forget()
        assert settings(section={"MAX_SIZE": 6}).config.max_size == 7
        assert settings({"MAX_SIZE": 4}, section={"MAX_SIZE": 6}).config.max_size == 4

    def test_one_database_does_not_change_another(self) -> None:
        settings({"MAX_SIZE": 4})
        assert settings(alias="archive").config.max_size == 10

    @pytest.mark.parametrize("off", [False, None])
    def test_it_can_be_turned_off(self, off: object) -> None:
        assert pool_settings("default", {"POOL": off}) is None


class TestSize:
    def test_ten_where_nothing_serves(self) -> None:
        assert settings().config.max_size == 10

    def test_as_many_as_the_server_has_threads(self) -> None:
        with override_settings(WSGIPERF={}):
            conf.adopt(conf.load(cli={"threads": "12"}))
            found = pool_settings("default", {})
        assert found is not None
        assert found.config.max_size == 12

    def test_one_that_was_said_holds_everywhere(self) -> None:
        with override_settings(WSGIPERF={}):
            conf.adopt(conf.load(cli={"threads": "12"}))
            found = pool_settings("default", {"POOL": {"MAX_SIZE": 4}})
        assert found is not None
        assert found.config.max_size == 4

    def test_what_is_kept_ready_fits_in_a_command_too(self) -> None:
        found = settings({"MIN_IDLE": 16, "PREWARM": 20})
        assert (found.config.min_idle, found.prewarm) == (10, 10)

    def test_idle_connections_are_among_those_that_are_opened_first(self) -> None:
        assert settings({"MIN_IDLE": 3}).prewarm == 3
        assert settings({"MIN_IDLE": 3, "PREWARM": 5}).prewarm == 5
        assert settings({"PREWARM": 5}).config.min_idle == 0


class TestRefusals:
    def test_unknown_key(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            settings({"MAXSIZE": 4, "RESET": "soft"})
        unknown, choice = caught.value.problems
        assert (unknown.kind, unknown.nearest) == (ProblemKind.UNKNOWN, "MAX_SIZE")
        assert "there is no such key in DATABASES['default']['POOL']" in unknown.message
        assert choice.kind is ProblemKind.RANGE

    @pytest.mark.parametrize("pool", ["on", 4, [("MAX_SIZE", 4)]])
    def test_neither_a_switch_nor_a_dictionary(self, pool: object) -> None:
        with pytest.raises(ConfigurationError) as caught:
            settings(pool, alias="archive")
        (problem,) = caught.value.problems
        assert str(problem.origin) == "settings (DATABASES['archive']['POOL'])"
        assert problem.remedy == "write {'MAX_SIZE': ...}"

    def test_more_ready_than_there_may_be(self) -> None:
        with pytest.raises(ConfigurationError, match="PREWARM is more than the pool may hold"):
            settings({"MAX_SIZE": 4, "PREWARM": 5})

    @pytest.mark.parametrize("text", ["57P01", "1290", "HY000", "25006"])
    def test_errors_of_both_kinds(self, text: str) -> None:
        assert settings({"EVICT_ON": [text]}).evict_on == {text}

    @pytest.mark.parametrize("text", ["57p01", "0", "read-only", "", "57P01 "])
    def test_no_error_of_a_database(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="is no SQLSTATE and no error number of MySQL"):
            settings({"EVICT_ON": [text]})

    @pytest.mark.parametrize("text", ["is_primary", "shop.db.", ".is_primary", "shop/db.py", "shop.db:is_primary"])
    def test_no_dotted_path(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="is no dotted path"):
            settings({"VALIDATE": text})


def test_defaults_are_the_pools_own() -> None:
    """The table of options and the pool itself are two places that must say the same."""
    ours, its = PoolSettings(), PoolConfig()
    for name in PoolConfig.__slots__:
        if name not in ("max_size", "max_waiters"):
            assert getattr(ours, name) == getattr(its, name), name
