"""What the bookshop reads from the environment, and how it refuses what it cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest
from bookshop.environment import caches, database, env_bool, env_list, env_seconds, secret_key
from django.core.exceptions import ImproperlyConfigured

from .served import manage


def test_without_addresses_it_is_sqlite_and_process_memory(tmp_path: Path) -> None:
    found = database("", tmp_path / "x.sqlite3")
    assert found["ENGINE"] == "django_wsgiperf.db.backends.sqlite3"
    assert found["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "LocMem" in caches("")["default"]["BACKEND"]


@pytest.mark.parametrize(
    ("url", "engine"),
    [
        ("postgres://u:p@db:5433/shop", "postgresql"),
        ("postgresql://u:p@db:5433/shop", "postgresql"),
        ("mysql://u:p@db:5433/shop", "mysql"),
    ],
)
def test_database_url_names_the_database(url: str, engine: str) -> None:
    found = database(url, Path("unused"))
    assert found["ENGINE"] == f"django_wsgiperf.db.backends.{engine}"
    assert [found[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")] == ["u", "p", "db", 5433, "shop"]


def test_sqlite_url_has_the_same_options() -> None:
    found = database("sqlite:////tmp/x.sqlite3", Path("unused"))
    assert (found["ENGINE"], found["NAME"]) == ("django_wsgiperf.db.backends.sqlite3", "/tmp/x.sqlite3")
    assert "journal_mode=WAL" in found["OPTIONS"]["init_command"]


@pytest.mark.parametrize(
    ("url", "says"), [("oracle://x/y", "'oracle'"), ("nonsense", "'nonsense'"), ("postgres://u@h", "names no database")]
)
def test_database_url_that_cannot_be_used_is_refused(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        database(url, Path("unused"))


def test_redis_url_is_used_or_refused() -> None:
    found = caches("redis://127.0.0.1:6379/1")
    assert {each["BACKEND"] for each in found.values()} == {"django_redis.cache.RedisCache"}
    assert found["default"]["KEY_PREFIX"] != found["pages"]["KEY_PREFIX"]
    with pytest.raises(ImproperlyConfigured, match=r"REDIS_URL='127\.0\.0\.1'"):
        caches("127.0.0.1")


def test_variables_are_read_or_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "Yes")
    monkeypatch.setenv("B", "perhaps")
    monkeypatch.setenv("C", "2.5")
    monkeypatch.setenv("D", "a, b,,c ")
    assert env_bool("A", False) is True
    assert env_bool("ABSENT", True) is True
    assert env_seconds("C", 1) == 2.5
    assert env_list("D", []) == ["a", "b", "c"]
    with pytest.raises(ImproperlyConfigured, match="B='perhaps'"):
        env_bool("B", False)
    for value in ("x", "-1", "nan", "99999"):
        monkeypatch.setenv("C", value)
        with pytest.raises(ImproperlyConfigured, match=f"C='{value}'"):
            env_seconds("C", 1)


def test_secret_key_is_made_once_for_debug_and_demanded_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    file = tmp_path / "key"
    key = secret_key(True, file)
    assert len(key) > 50
    assert secret_key(True, file) == key
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
        secret_key(False, file)
    monkeypatch.setenv("SECRET_KEY", "given")
    assert secret_key(False, file) == "given"


def test_models_and_migrations_agree(tmp_path: Path) -> None:
    done = manage(tmp_path, "makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr


def test_deployment_checks_pass(tmp_path: Path) -> None:
    done = manage(
        tmp_path,
        "check",
        "--deploy",
        "--fail-level=WARNING",
        DEBUG="0",
        SECRET_KEY="k" * 20 + "abcdefghijklmnopqrstuvwxyz0123456789",
        ALLOWED_HOSTS="shop.example.com",
        BOOKSHOP_HTTPS="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
