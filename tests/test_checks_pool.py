"""The system checks of the connection pools: what provokes each, and what settles it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import dj_database_url
import pytest
from asgiref.local import Local
from django.core import checks
from django.core.management import call_command
from django.db import connections
from django.db.backends.sqlite3 import base as sqlite3_base
from django.test import override_settings

from django_wsgiperf.db import registry
from tests.checking import database, numbers, run, sound_project

Real = Callable[..., None]
PATH = "django_wsgiperf.middleware.ConnectionPoolMiddleware"
POOLED = "django_wsgiperf.db.backends.postgresql"


@pytest.fixture(autouse=True)
def _a_sound_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A project whose one database has a pool, with nothing to complain about."""
    with override_settings(MIDDLEWARE=[PATH, "django.middleware.common.CommonMiddleware"]):
        project = sound_project(monkeypatch)
        next(project)
        database(ENGINE=POOLED, CONN_MAX_AGE=0)
        yield
        next(project, None)


def test_a_sound_pool_has_nothing_to_hear() -> None:
    assert numbers() == set()


class TestValues:
    @pytest.mark.parametrize(
        ("number", "pool", "hint"),
        [
            ("E001", {"MAXSIZE": 4}, "Write MAX_SIZE."),
            ("E002", {"MAX_SIZE": "4"}, "Write 4, without quotes."),
            ("E002", "yes", "Write {'MAX_SIZE': ...}."),
            ("E003", {"RESET": "heard"}, "Write 'hard'."),
            ("E004", {"EVICT_ON": ["read-only"]}, "Write five characters such as '57P01'"),
            ("E005", {"MAX_SIZE": 4, "MIN_IDLE": 5}, "Write at most 4, or a larger MAX_SIZE."),
        ],
    )
    def test_wrong_one_of_a_database_is_an_error_with_its_place(self, number: str, pool: Any, hint: str) -> None:
        database(POOL=pool)
        ((found, message),) = run().items()
        assert found == f"wsgiperf.{number}"
        assert message.level == checks.ERROR
        assert "settings (DATABASES['default']['POOL']" in message.msg
        assert message.hint is not None
        assert message.hint.startswith(hint)

    def test_wrong_one_for_all_databases_is_reported_once(self) -> None:
        database("second", ENGINE=POOLED, CONN_MAX_AGE=0)
        found = checks.run_checks(tags=["wsgiperf"])
        assert found == []
        with override_settings(WSGIPERF={"POOL": {"MAX_SIZE": -1}}):
            found = checks.run_checks(tags=["wsgiperf"])
        assert [message.id for message in found] == ["wsgiperf.E003"]
        assert "settings (WSGIPERF['POOL']['MAX_SIZE'])" in found[0].msg

    def test_conflict_names_both_places(self) -> None:
        database(POOL={"MIN_IDLE": 5})
        message = run(pool={"MAX_SIZE": 4})["wsgiperf.E005"]
        assert "MAX_SIZE is 4, settings (WSGIPERF['POOL']['MAX_SIZE'])" in message.msg
        assert "DATABASES['default']['POOL']['MIN_IDLE']" in message.msg


class TestPersistentConnections:
    @pytest.mark.parametrize("age", [60, None])
    def test_threads_that_keep_the_pools_connections(self, age: int | None) -> None:
        database(CONN_MAX_AGE=age)
        message = run()["wsgiperf.E007"]
        assert message.level == checks.ERROR
        assert f"CONN_MAX_AGE is {age!r}" in message.msg

    def test_without_a_pool_they_are_welcome(self) -> None:
        database(CONN_MAX_AGE=60, POOL=False)
        assert numbers() == set()


class TestNativePool:
    def test_two_pools(self) -> None:
        database(OPTIONS={"pool": True}, POOL={"MAX_SIZE": 4, "RELEASE": "request"})
        message = run()["wsgiperf.E008"]
        assert "POOL with MAX_SIZE, and OPTIONS['pool']" in message.msg

    def test_two_pools_when_one_is_only_turned_on(self) -> None:
        database(OPTIONS={"pool": True}, POOL=True)
        assert numbers() == {"E008"}

    @pytest.mark.parametrize("pool", [{}, {"RELEASE": "request", "EVICT_ON": ["25006"]}])
    def test_keys_that_django_s_pool_has_no_word_for_go_with_it(self, pool: Any) -> None:
        database(OPTIONS={"pool": {"max_size": 4}}, POOL=pool)
        assert numbers(THREADS=12) == set()

    def test_without_ours_it_is_as_with_djangos_engine(self) -> None:
        database(OPTIONS={"pool": {"max_size": 4}}, POOL=False)
        assert numbers(THREADS=12) == {"W002"}

    def test_it_may_be_smaller_than_the_threads_unless_requests_are_atomic(self) -> None:
        database(OPTIONS={"pool": {"max_size": 4}}, ATOMIC_REQUESTS=True)
        assert numbers(THREADS=12) == {"W004"}


class TestValidator:
    def test_nowhere_to_be_found(self) -> None:
        database(POOL={"VALIDATE": "no_such_shop.db.is_primary"})
        message = run()["wsgiperf.E009"]
        assert "there is no module 'no_such_shop.db'" in message.msg
        assert "Set by: settings (DATABASES['default']['POOL']['VALIDATE'])." in message.msg

    def test_found(self) -> None:
        database(POOL={"VALIDATE": "shop_wsgi.application"})
        assert numbers() == set()


class TestAtomicRequests:
    def test_fewer_connections_than_threads(self) -> None:
        database(ATOMIC_REQUESTS=True, POOL={"MAX_SIZE": 4})
        message = run(THREADS=12)["wsgiperf.W004"]
        assert "holds 4 connections for 12 threads" in message.msg

    @pytest.mark.parametrize(
        ("atomic", "pool"), [(True, {}), (True, {"MAX_SIZE": 12}), (False, {"MAX_SIZE": 4}), (True, False)]
    )
    def test_enough_or_no_need(self, atomic: bool, pool: Any) -> None:
        database(ATOMIC_REQUESTS=atomic, POOL=pool, CONN_MAX_AGE=60 if pool is False else 0)
        assert numbers(THREADS=12) == set()


class TestMiddleware:
    @override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
    def test_missing(self) -> None:
        assert numbers() == {"W005"}
        assert numbers(pool={"RELEASE": "request"}) == set()
        assert numbers(pool={"RELEASE": "transaction"}) == set()

    @override_settings(MIDDLEWARE=[])
    def test_missing_where_nothing_is_pooled(self) -> None:
        database(POOL=None, CONN_MAX_AGE=60)
        assert numbers() == set()

    @pytest.mark.parametrize(
        "names",
        [
            ["django.contrib.sessions.middleware.SessionMiddleware", PATH],
            [PATH, "django_wsgiperf.middleware.RequestTimingMiddleware"],
            [PATH, "django_wsgiperf.middleware.ResponseCacheMiddleware"],
        ],
    )
    def test_out_of_order(self, names: list[str]) -> None:
        with override_settings(MIDDLEWARE=names):
            # The response cache and the timing have places of their own, which other checks look after.
            assert numbers() - {"W008", "W026"} == {"W006"}

    @pytest.mark.parametrize(
        "names",
        [
            ["django_wsgiperf.middleware.RequestTimingMiddleware", PATH, "django.middleware.common.CommonMiddleware"],
            ["shop.middleware.OfOurOwn", "shop.middleware.ConnectionPoolMiddleware"],
        ],
    )
    def test_in_order(self, names: list[str]) -> None:
        with override_settings(MIDDLEWARE=names):
            assert numbers() == set()


class TestEngine:
    def test_stock_one_has_a_counterpart(self) -> None:
        database(ENGINE="django.db.backends.postgresql", CONN_MAX_AGE=60, POOL={"MAX_SIZE": 4})
        message = run()["wsgiperf.W007"]
        assert message.hint == "Set its ENGINE to 'django_wsgiperf.db.backends.postgresql', or remove POOL."

    def test_another_can_be_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        database(ENGINE=engine(monkeypatch, sqlite3_base.DatabaseWrapper), NAME="shop.sqlite3", POOL=True)
        assert "make_pooled" in str(run()["wsgiperf.W007"].hint)

    def test_one_that_was_made_is_a_pool_like_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from django_wsgiperf.db import make_pooled

        made = engine(monkeypatch, make_pooled(sqlite3_base.DatabaseWrapper))
        database(ENGINE=made, NAME="shop.sqlite3", POOL={"MAX_SIZE": "4"})
        assert numbers() == {"E002"}

    def test_one_that_cannot_be_imported_is_left_to_django(self) -> None:
        database(ENGINE="no_such_engine", POOL=True)
        assert numbers(deploy=False) == {"W007"}


def engine(monkeypatch: pytest.MonkeyPatch, wrapper: type) -> str:
    """The name of a new ENGINE with that DatabaseWrapper."""
    package, base = ModuleType("shop_engine"), ModuleType("shop_engine.base")
    package.base, base.DatabaseWrapper = base, wrapper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_engine", package)
    monkeypatch.setitem(sys.modules, "shop_engine.base", base)
    return "shop_engine"


class TestConnectionPerRequest:
    def test_none_with_a_pool_and_one_without(self) -> None:
        assert numbers() == set()
        database(POOL=False)
        assert numbers() == {"W011"}


class TestSilence:
    @pytest.mark.parametrize("host", ["db", "db.example.com", "10.0.0.5", "fd00::5", "one,two"])
    @pytest.mark.parametrize(("engine", "option"), [("postgresql", "tcp_user_timeout"), ("mysql", "read_timeout")])
    def test_nothing_ends_it(self, engine: str, option: str, host: str) -> None:
        database(ENGINE=f"django_wsgiperf.db.backends.{engine}", HOST=host)
        message = run()["wsgiperf.W029"]
        assert host in message.msg
        assert option in message.msg
        assert option in str(message.hint)
        assert "W029" not in numbers(deploy=False)
        database(OPTIONS={option: 10})
        assert numbers() == set()

    def test_file_of_the_client_may_do_so(self) -> None:
        database(HOST="db", OPTIONS={"service": "shop"})
        assert numbers() == set()

    @pytest.mark.parametrize("host", ["", "/run/postgresql", "localhost", "127.0.0.1", "::1"])
    def test_this_machine_needs_no_network(self, host: str) -> None:
        database(HOST=host)
        assert numbers() == set()

    def test_without_a_pool_it_is_left_to_django(self) -> None:
        database(HOST="db", POOL=False)
        assert numbers() == {"W011"}


class TestMemory:
    @pytest.mark.parametrize("name", [":memory:", "file:shop?mode=memory&cache=shared"])
    def test_it_is_left_alone(self, name: str) -> None:
        database(ENGINE="django_wsgiperf.db.backends.sqlite3", NAME=name)
        assert run(deploy=False)["wsgiperf.I001"].level == checks.INFO
        database(POOL=False)
        assert numbers(deploy=False) == set()

    def test_a_file_is_not(self) -> None:
        database(ENGINE="django_wsgiperf.db.backends.sqlite3", NAME="shop.sqlite3")
        assert numbers() == set()


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Iterator[Callable[..., None]]:
    """Point the default database at a real one. What is opened there is closed."""

    def point(url: str, engine: str, **settings: Any) -> None:
        database = {**dj_database_url.parse(url), "ENGINE": f"django_wsgiperf.db.backends.{engine}", **settings}
        connections.settings["default"] = connections.configure_settings({"default": database})["default"]

    with django_db_blocker.unblock():
        monkeypatch.setattr(connections, "_connections", Local(connections.thread_critical))
        yield point
        connections.close_all()
        registry.close_all()


def ask(query: str) -> int:
    """A single number from the default database."""
    with connections["default"].cursor() as cursor:
        cursor.execute(query)
        (number,) = cursor.fetchone()
    assert isinstance(number, int)
    return number


def asked(workers: int) -> checks.CheckMessage | None:
    """What W021 says of so many workers, and nothing else says anything."""
    found = run(databases=["default"], deploy=False, WORKERS=workers)
    assert set(found) <= {"wsgiperf.W021"}
    return found.get("wsgiperf.W021")


POSTGRESQL_LIMIT = "SELECT current_setting('max_connections')::int - " + " - ".join(
    f"coalesce(current_setting('{name}', true), '0')::int"
    for name in ("superuser_reserved_connections", "reserved_connections")
)


class TestCapacity:
    """A server is asked for what it allows, and really has that limit."""

    def test_nothing_is_asked_unless_django_is_told_to(self) -> None:
        database(HOST="no-such-host.invalid", POOL={"MAX_SIZE": 9999})
        assert numbers(WORKERS=9, deploy=False) == set()

    def test_more_than_postgresql_allows(self, postgres_url: str, real: Real) -> None:
        real(postgres_url, "postgresql", POOL={"MAX_SIZE": 10})
        allowed = ask(POSTGRESQL_LIMIT)
        enough, message = asked(allowed // 10), asked(allowed // 10 + 1)
        assert enough is None
        assert message is not None
        assert f"{allowed // 10 + 1} workers with up to 10 of database 'default' may open" in message.msg
        assert f"the server allows {allowed}: max_connections is" in message.msg
        assert message.level == checks.WARNING

    def test_more_than_mysql_allows(self, mysql_url: str, real: Real) -> None:
        real(mysql_url, "mysql", POOL={"MAX_SIZE": 10})
        allowed = ask("SELECT @@global.max_connections")
        assert asked(allowed // 10) is None
        message = asked(allowed // 10 + 1)
        assert message is not None
        assert f"the server allows {allowed}: max_connections is {allowed}." in message.msg

    def test_limit_of_the_database_itself(self, postgres_url: str, real: Real) -> None:
        real(postgres_url, "postgresql", POOL={"MAX_SIZE": 4})
        with connections["default"].cursor() as cursor:
            name = connections["default"].ops.quote_name(connections["default"].settings_dict["NAME"])
            cursor.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 7")
            try:
                message = asked(2)
                assert asked(1) is None
                connections.settings["same"] = dict(connections.settings["default"])
                assert asked(1) is not None, "another alias of the same database has connections of its own"
            finally:
                cursor.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
        assert message is not None
        assert (
            "may open 8 connections, and the server allows 7: the CONNECTION LIMIT of the database is 7" in message.msg
        )
        assert message.hint is not None
        assert "at most 3 connections together" in message.hint

    def test_databases_of_one_server_count_together(self, postgres_url: str, real: Real) -> None:
        real(postgres_url, "postgresql", POOL={"MAX_SIZE": 10})
        allowed = ask(POSTGRESQL_LIMIT)
        workers = allowed // 15
        assert asked(workers) is None
        settings = connections.settings["default"]
        connections.settings["same"] = dict(settings)
        assert asked(workers) is not None, "two aliases of the same database have a pool each"
        connections.settings["archive"] = settings | {"NAME": "archive"}
        message = asked(workers)
        assert message is not None
        assert "10 of database 'default' + 10 of database 'same' + 10 of database 'archive'" in message.msg

    def test_server_that_does_not_answer(self, real: Real) -> None:
        real("postgres://shop:hunter2@127.0.0.1:1/shop", "postgresql", OPTIONS={"connect_timeout": 2})
        message = run(databases=["default"])["wsgiperf.W021"]
        assert "could not be asked" in message.msg
        assert "hunter2" not in message.msg

    @pytest.mark.parametrize("options", [{}, {"tags": ["wsgiperf"]}])
    def test_manage_py_check_asks_only_when_it_is_told_whom(self, real: Real, options: dict[str, Any]) -> None:
        real("postgres://shop@127.0.0.1:1/shop", "postgresql", OPTIONS={"connect_timeout": 2})
        said = StringIO()
        call_command("check", stderr=said, **options)
        assert "W021" not in said.getvalue()
        call_command("check", databases=["default"], stderr=said)
        assert "wsgiperf.W021" in said.getvalue()

    def test_sqlite_has_no_such_limit(self, real: Real, tmp_path: Path) -> None:
        real(f"sqlite:///{tmp_path}/shop.sqlite3", "sqlite3", POOL={"MAX_SIZE": 9999})
        assert numbers(databases=["default"], WORKERS=9, deploy=False) == set()
