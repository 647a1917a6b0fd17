"""How each kind of private server is found among the installed programs, and made. Starts none."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests._run.interpreters import by_number
from tests._run.place import Place

#: Where servers are that are not on PATH.
POSTGRES_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
SYSTEM_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of server is found and made. `make` prepares its files and gives the command that runs it."""

    title: str
    programs: Callable[[], dict[str, str] | None]
    system_user: str
    packages: tuple[str, ...]
    url: str
    stop_signal: signal.Signals
    make: Callable[[Place, dict[str, str]], list[str | Path]]


def _programs(
    *names: str, places: Sequence[str] = SYSTEM_PLACES, suit: Callable[[dict[str, str]], bool] = lambda found: True
) -> dict[str, str] | None:
    """The programs' paths, all from PATH or all from one of the places, the newest first, if they suit."""
    folders = [path for place in places for path in Path("/").glob(place.lstrip("/"))]
    for where in (None, *sorted(folders, key=by_number, reverse=True)):
        path = os.environ.get("PATH", os.defpath) + (f"{os.pathsep}{where}" if where else "")
        found = {name: program for name in names if (program := shutil.which(name, path=path))}
        if len(found) == len(names) and suit(found):
            return found
    return None


def _have_postgis(programs: dict[str, str]) -> bool:
    """Whether a server of this PostgreSQL can load PostGIS."""
    # Whatever is on PATH may be a link to where the rest is.
    config = Path(programs["postgres"]).resolve().with_name("pg_config")
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([config, "--sharedir"], capture_output=True, timeout=20, check=True, text=True)
        return Path(said.stdout.strip(), "extension", "postgis.control").exists()
    return False


def _make_postgres(place: Place, programs: dict[str, str]) -> list[str | Path]:
    data = place.folder / "data"
    password = place.file("password", place.password)
    # A freshly initialised server that need not survive a crash.
    login = ("--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}")
    place.run([programs["initdb"], "-D", data, *login, "--encoding=UTF8", "--locale=C", "--no-sync"])
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [programs["postgres"], "-D", data, "-p", str(place.port), *options]


def _make_mariadb(place: Place, programs: dict[str, str]) -> list[str | Path]:
    data = place.folder / "data"
    data.mkdir(mode=0o700)
    place.give(data)
    safety = ("--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=socket")
    place.run([programs["mariadb-install-db"], "--no-defaults", f"--datadir={data}", *safety])
    login = f"'tests'@'127.0.0.1' IDENTIFIED BY '{place.password}'"
    grants = place.file("init.sql", f"GRANT ALL ON *.* TO {login} WITH GRANT OPTION;\n")
    return [
        programs["mariadbd"],
        "--no-defaults",
        f"--datadir={data}",
        f"--socket={place.folder / 'socket'}",
        f"--pid-file={place.folder / 'pid'}",
        f"--port={place.port}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        f"--init-file={grants}",
        "--max-connections=200",
        "--innodb-flush-log-at-trx-commit=0",
        "--character-set-server=utf8mb4",
    ]


def _make_redis(place: Place, programs: dict[str, str]) -> list[str | Path]:
    settings = {
        "port": str(place.port),
        "bind": "127.0.0.1",
        "requirepass": place.password,
        "dir": str(place.folder),
        "save": '""',
        "appendonly": "no",
    }
    config = place.file("redis.conf", "".join(f"{name} {value}\n" for name, value in settings.items()))
    return [programs["redis-server"], config]


RECIPES: dict[str, Recipe] = {
    "postgres": Recipe(
        "PostgreSQL",
        lambda: _programs("initdb", "postgres", places=POSTGRES_PLACES),
        "postgres",
        ("postgresql",),
        "postgres://postgres:{password}@127.0.0.1:{port}/postgres",
        signal.SIGINT,  # "fast": does not wait for clients to leave
        _make_postgres,
    ),
    "postgis": Recipe(
        "PostGIS",
        lambda: _programs("initdb", "postgres", places=POSTGRES_PLACES, suit=_have_postgis),
        "postgres",
        ("postgresql-postgis",),
        "postgres://postgres:{password}@127.0.0.1:{port}/postgres",
        signal.SIGINT,
        _make_postgres,
    ),
    "mysql": Recipe(
        "MariaDB",
        lambda: _programs("mariadb-install-db", "mariadbd"),
        "mysql",
        ("mariadb-server",),
        "mysql://tests:{password}@127.0.0.1:{port}/mysql",
        signal.SIGTERM,
        _make_mariadb,
    ),
    "redis": Recipe(
        "Redis",
        lambda: _programs("redis-server"),
        "redis",
        ("redis-server",),
        "redis://:{password}@127.0.0.1:{port}/",
        signal.SIGTERM,
        _make_redis,
    ),
}
