"""VALIDATE: a project's own say in whether a connection may be handed out. And an engine whose driver is missing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_wsgiperf.db import registry
from tests.db.databases import Database, value

answers: list[Any] = []
NOT_A_FUNCTION = "text"


def says(raw: Any) -> object:
    """What the test has put there for each time that it is asked."""
    answer = answers.pop(0)
    if isinstance(answer, Exception):
        raise answer
    return answer


def asked(database: Database, *given: Any) -> dict[str, Any]:
    """The pool's numbers after one connection has been lent once and then again for each of the answers."""
    answers[:] = given
    # Without a window each connection is asked that was used before.
    wrapper = database.wrapper(pool={"MAX_SIZE": 1, "BYPASS_WINDOW_S": 0, "VALIDATE": f"{__name__}.says"})
    for number in range(len(given) + 1):
        assert value(wrapper, f"SELECT {number}") == number
        wrapper.close()
    assert answers == []
    (pool,) = registry.pools()
    found: dict[str, Any] = pool.snapshot()
    return found


@pytest.fixture(params=["postgres", "mysql", "sqlite"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each kind in turn."""
    found: Database = request.getfixturevalue(request.param)
    return found


def test_connection_that_is_turned_down_is_replaced(database: Database) -> None:
    told = asked(database, True, False, None, "yes")
    # Those that were opened in their stead are not asked before their second use.
    assert (told["created"], told["closed"]) == (3, {"dead": 2})
    assert (told["pings"], told["ping_failures"]) == (4, 2)


def test_function_that_fails_is_told_of_and_its_connection_replaced(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    told = asked(database, ZeroDivisionError("a mistake"))
    assert (told["created"], told["closed"]) == (2, {"dead": 1})
    assert "VALIDATE of database 'default' raised" in caplog.text
    assert "a mistake" in caplog.text


@pytest.mark.parametrize("path", ["nowhere.at.all", f"{__name__}.missing", f"{__name__}.NOT_A_FUNCTION"])
def test_path_that_leads_to_no_function_is_an_error_with_its_place(sqlite: Database, path: str) -> None:
    wrapper = sqlite.wrapper(pool={"VALIDATE": path})
    with pytest.raises(ImproperlyConfigured) as refused:
        wrapper.ensure_connection()
    for part in (path, "DATABASES['default']['POOL']['VALIDATE']", "Write the dotted path of a function"):
        assert part in str(refused.value)


def test_engine_without_psycopg_3_says_what_to_install() -> None:
    """Django's own runs with psycopg2 alone."""
    code = "import sys; sys.modules['psycopg'] = None; import django_wsgiperf.db.adapters.postgresql"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "ImproperlyConfigured: The pooled engines for PostgreSQL need psycopg 3" in ended.stderr
    assert "Install django-wsgiperf[postgres]." in ended.stderr
