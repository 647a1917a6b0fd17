"""Reads the bookshop's environment variables: booleans, lists, the database, the cache and the secret key.

Each function takes plain values and returns what `settings.py` puts into Django's settings; none reads Django.
A value that cannot be used raises ImproperlyConfigured with the variable's name, its value and what to write.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}

# Writers queue behind each other instead of failing: the write lock is taken when the transaction begins,
# waited for, and readers go on beside it.
SQLITE_OPTIONS: dict[str, Any] = {
    "timeout": 20,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;",
}
# The mode by its own option, not by an init_command: a connection of a pool can then be cleaned without closing it.
MYSQL_OPTIONS: dict[str, Any] = {"charset": "utf8mb4", "sql_mode": "STRICT_TRANS_TABLES"}

# Django's databases with connections from a pool.
ENGINES = "django_wsgiperf.db.backends"
DATABASE_KINDS = {"postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql", "sqlite": "sqlite3"}


def env_bool(name: str, default: bool) -> bool:
    """The variable as a boolean; unset gives `default`."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    if raw.strip().lower() in TRUE:
        return True
    if raw.strip().lower() in FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={raw!r} is not a yes or a no. Write 1 or 0.")


def env_seconds(name: str, default: float) -> float:
    """The variable as a number of seconds, zero or more."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise ImproperlyConfigured(f"{name}={raw!r} is not a number of seconds from 0 to 3600.")
    return value


def env_list(name: str, default: list[str]) -> list[str]:
    """The variable as a list of comma-separated words."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    return [word.strip() for word in raw.split(",") if word.strip()]


def database(url: str, default_file: Path) -> dict[str, Any]:
    """Django's `DATABASES["default"]` for a DATABASE_URL; empty means SQLite in `default_file`."""
    if not url:
        return {"ENGINE": f"{ENGINES}.sqlite3", "NAME": default_file, "OPTIONS": dict(SQLITE_OPTIONS)}
    try:
        import dj_database_url
    except ImportError as error:
        raise ImproperlyConfigured("DATABASE_URL needs the package: pip install dj-database-url") from error
    scheme = url.partition("://")[0]
    if scheme not in DATABASE_KINDS:
        raise ImproperlyConfigured(
            f"DATABASE_URL begins with {scheme!r}. "
            "Write postgres://user:password@host:5432/name, mysql://... or sqlite:///path."
        )
    parsed: dict[str, Any] = dict(dj_database_url.parse(url, engine=f"{ENGINES}.{DATABASE_KINDS[scheme]}"))
    extra = {"sqlite": SQLITE_OPTIONS, "mysql": MYSQL_OPTIONS}.get(scheme, {})
    parsed["OPTIONS"] = {**extra, **parsed.get("OPTIONS", {})}
    if not parsed["NAME"]:
        raise ImproperlyConfigured("DATABASE_URL names no database. Write its name after the last slash.")
    return parsed


def caches(url: str) -> dict[str, dict[str, Any]]:
    """Django's `CACHES` for a REDIS_URL; empty means process memory. With Redis, `pages` is for the response cache."""
    if not url:
        memory = {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "bookshop",
            "OPTIONS": {"MAX_ENTRIES": 5000},
        }
        return {"default": memory}
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(f"REDIS_URL={url!r} is not an address. Write redis://127.0.0.1:6379/1.")
    options = {"SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 2}
    redis = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    return {
        "default": {**redis, "KEY_PREFIX": "bookshop", "OPTIONS": options},
        # Whole pages as they are: nothing that is read back is ever unpickled.
        "pages": {
            **redis,
            "KEY_PREFIX": "bookshop-pages",
            "OPTIONS": {**options, "SERIALIZER": "django_wsgiperf.cache.serializers.RawBytes"},
        },
    }


def secret_key(debug: bool, file: Path) -> str:
    """SECRET_KEY from the environment; in DEBUG one that is made once and kept in `file`."""
    from_environment = os.environ.get("SECRET_KEY", "")
    if from_environment:
        return from_environment
    if not debug:
        raise ImproperlyConfigured("SECRET_KEY is not set. With DEBUG=0, set it to 50 or more random characters.")
    try:
        # The key is written aside and linked into place, so that nobody ever reads half of it.
        if not file.exists():
            draft = file.with_name(f"{file.name}.{os.getpid()}")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(60), encoding="ascii")
            try:
                os.link(draft, file)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return file.read_text(encoding="ascii")
    except OSError as error:
        raise ImproperlyConfigured(f"{file} cannot be written ({error}). Set SECRET_KEY instead.") from error
