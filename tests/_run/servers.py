"""Private PostgreSQL, MariaDB and Redis servers, from installed programs: made for one run, gone after it.

Each lives in a temporary folder of its own, listens on a free port of 127.0.0.1, takes a password made for it, and
is stopped by its process id. As root, each runs as a user without rights, which PostgreSQL insists on. Whether one
is needed, and whether it answers, is decided in provide.py.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests._run import processes
from tests._run.interpreters import by_number

PREPARE_LIMIT_S = 120.0
STOP_LIMIT_S = 20.0
#: Below those that the kernel gives to outgoing connections, from 32768 on Linux: one of these could be on it.
PORTS = range(20_000, 32_000)
#: Where servers are that are not on PATH.
POSTGRES_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
SYSTEM_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")


class CannotStart(Exception):
    """A private server could not be started. The message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is being made, and as whom."""

    folder: Path
    port: int
    password: str
    user: str | None
    log: Path
    env: Mapping[str, str]

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a preparing command to its end. Raises CannotStart."""
        with self.log.open("ab") as output:
            try:
                subprocess.run(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=PREPARE_LIMIT_S,
                    check=True,
                    **self.rights(),
                )
            except (OSError, subprocess.SubprocessError) as error:
                said = processes.tail(self.log, 3)
                raise CannotStart(f"{command[0]} failed: {' / '.join(said) or error}") from error

    def rights(self) -> dict[str, Any]:
        """The arguments of Popen that make a command run here as the right user."""
        common: dict[str, Any] = {"cwd": self.folder, "env": dict(self.env), "start_new_session": True}
        if self.user is None:
            return common
        entry = pwd.getpwnam(self.user)
        return {**common, "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def file(self, name: str, text: str) -> Path:
        """A file that only the server's user can read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Make the file or folder the server's."""
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)


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


@dataclass(slots=True)
class PrivateServer:
    """A server that was started. `stop` ends it and removes its folder; after `halt`, `launch` starts it again."""

    title: str
    url: str
    place: Place
    command: list[str]
    stop_signal: signal.Signals
    process: subprocess.Popen[bytes]

    @property
    def folder(self) -> Path:
        return self.place.folder

    @property
    def log(self) -> Path:
        return self.place.log

    def has_ended(self) -> bool:
        """Whether it stopped by itself."""
        return self.process.poll() is not None

    def launch(self) -> None:
        """Start it again. Raises OSError."""
        self.process = _launch(self.command, self.place, self.stop_signal)

    def halt(self) -> None:
        """Ask it to end, then force it; what it wrote stays."""
        for number in (self.stop_signal, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_LIMIT_S)
                break

    def stop(self) -> None:
        """End it and remove what it wrote."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)


def _launch(command: Sequence[str], place: Place, stop_signal: signal.Signals) -> subprocess.Popen[bytes]:
    with place.log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=processes.dies_with_us(stop_signal),
            **place.rights(),
        )


def start(key: str, *, log: Path, env: Mapping[str, str], extra: Sequence[str] = ()) -> PrivateServer | None:
    """A private server of this kind, still starting; None when it is not installed. Raises CannotStart.

    `extra` are more words for its command line; they outweigh the usual ones.
    """
    recipe = RECIPES[key]
    programs = recipe.programs()
    if programs is None:
        return None
    log.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"wsgiperf-{key}-"))
    try:
        place = Place(folder, free_port(), secrets.token_urlsafe(18), _unprivileged(recipe.system_user), log, env)
        place.give(folder)
        command = [str(word) for word in (*recipe.make(place, programs), *extra)]
        process = _launch(command, place, recipe.stop_signal)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise CannotStart(f"{recipe.title} cannot be started: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    url = recipe.url.format(port=place.port, password=place.password)
    return PrivateServer(recipe.title, url, place, command, recipe.stop_signal, process)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, and stays so while a server is restarted. Raises OSError."""
    with socket.socket() as probe:
        for port in random.sample(PORTS, 20):
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise OSError(f"no port of 127.0.0.1 from {PORTS[0]} to {PORTS[-1]} seems to be free")


def _unprivileged(preferred: str) -> str | None:
    """As root, the user to run as; None for anybody else, who runs as himself."""
    if os.geteuid() != 0:
        return None
    for name in (preferred, "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise CannotStart(f"this is root, and there is neither a user {preferred!r} nor 'nobody' to run it as")


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
