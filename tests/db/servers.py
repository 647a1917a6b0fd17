"""Private PostgreSQL and MariaDB servers whose tests may restart them, fill them up and read their logs.

Made by tests/_run/servers.py in temporary folders, on free ports of 127.0.0.1; the fixtures are in conftest.py. The
machine's own servers are never touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests._run import processes, results, servers
from tests.services import Address

ANSWER_LIMIT_S = 60.0
POLL_S = 0.02


class Refused(Exception):
    """The server did not let us in. The message has its words."""


#: What makes a server write down each attempt to connect.
LOGGING = {
    "postgres": ("-c", "log_connections=on", "-c", "log_disconnections=on", "-c", "log_line_prefix=%m [%p] "),
    "mysql": ("--log-output=FILE", "--general-log=1", "--general-log-file=general.log"),
}
#: The line that each attempt leaves.
KNOCK = {"postgres": r"connection received:", "mysql": r"^.*\d+ Connect\t"}


@dataclass(slots=True)
class Server:
    """A running private server. Use as a context manager, or call stop()."""

    key: str
    private: servers.PrivateServer
    _usual: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._usual = list(self.private.command)

    @property
    def address(self) -> Address:
        return Address.parse(self.private.url)

    def settings(self, engine: str, **others: Any) -> dict[str, Any]:
        """An entry of DATABASES for this server."""
        address = self.address
        return {
            "ENGINE": engine,
            "NAME": address.database,
            "HOST": address.host,
            "PORT": str(address.port),
            "USER": address.user,
            "PASSWORD": address.password,
            **others,
        }

    def execute(self, statement: str) -> str:
        """Run one statement on a connection of its own; the first value of its first row, if any."""
        return services.execute(self.address, statement)

    def open(self) -> Any:
        """A driver's connection that is the test's own. Raises Refused."""
        address = self.address
        login: dict[str, Any] = {"host": address.host, "port": address.port, "user": address.user}
        login |= {"password": address.password, "autocommit": True}
        try:
            if self.key == "postgres":
                import psycopg

                return psycopg.connect(**login, dbname=address.database)
            import MySQLdb

            return MySQLdb.connect(**login, database=address.database)
        except Exception as error:  # Each driver has its own.
            raise Refused(str(error)) from error

    def halt(self) -> None:
        """End it as an administrator would who does not wait for clients."""
        self.private.halt()

    def launch(self, *extra: str, wait: bool = True) -> None:
        """Start it again, and by default wait until it answers; `extra` holds for this start alone."""
        self.private.command = [*self._usual, *extra]
        self.private.launch()
        if wait:
            self.wait()

    def restart(self, *extra: str) -> None:
        """Halt and launch."""
        self.halt()
        self.launch(*extra)

    def wait(self) -> None:
        """Wait until it answers. Raises CannotStart."""
        deadline_s = time.monotonic() + ANSWER_LIMIT_S
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception as error:  # Each driver has its own.
                if self.private.has_ended() or time.monotonic() > deadline_s:
                    said = " / ".join(processes.tail(self.private.log, 4))
                    raise servers.CannotStart(f"{self.private.title} does not answer ({error}): {said}") from error
            time.sleep(POLL_S)

    @property
    def log(self) -> Path:
        """The file with its clients: PostgreSQL's log, MariaDB's general log, which has every statement."""
        return self.private.log if self.key == "postgres" else self.private.folder / "data" / "general.log"

    def log_size(self) -> int:
        """Where the log ends now."""
        return self.log.stat().st_size

    def log_since(self, offset: int) -> str:
        """What the server has written since the log was this long."""
        with self.log.open("rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", "replace")

    def attempts(self, offset: int) -> int:
        """How many clients have knocked since the log was this long, let in or not."""
        return len(re.findall(KNOCK[self.key], self.log_since(offset), re.MULTILINE))

    def stop(self) -> None:
        self.private.stop()


@contextlib.contextmanager
def running(key: str, folder: Path, extra: Sequence[str] = ()) -> Iterator[Server]:
    """A private server for the length of a `with` block. Skips the test where none is installed; under CI it fails."""
    log = folder / f"{key}.log"
    command = (*LOGGING[key], *extra)
    private = servers.start(key, log=log, env=processes.clean_environment(os.environ), extra=command)
    if private is None:
        why = f"{servers.RECIPES[key].title} is not installed here, and this needs a private server of its own"
        if results.is_ci(os.environ):
            raise services.ServiceMissing(why)
        pytest.skip(why)
    server = Server(key, private)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
