"""Real databases for the tests of the pooled engines: wrappers of ours and of Django's, and what the server says."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import ConnectionHandler
from django.db.utils import load_backend

from tests.services import Address

WAIT_S = 60.0


@dataclass
class Database:
    """One database on a real server. `engine` is the last part of the ENGINE's name."""

    engine: str
    settings: dict[str, Any]
    wrappers: list[Any] = field(default_factory=list)

    @classmethod
    def at(cls, url: str) -> Database:
        """A server's, by its address."""
        address = Address.parse(url)
        engine = "mysql" if address.scheme == "mysql" else "postgresql"
        settings = {"NAME": address.database, "USER": address.user, "PASSWORD": address.password}
        return cls(engine, {**settings, "HOST": address.host, "PORT": str(address.port)})

    def entry(self, *, pool: Any = True, stock: bool = False, **settings: Any) -> dict[str, Any]:
        """The database's entry in DATABASES, complete."""
        package = "django.db.backends" if stock else "django_wsgiperf.db.backends"
        given = {"ENGINE": f"{package}.{self.engine}", **self.settings, **settings}
        if not stock:
            given["POOL"] = pool
        complete: dict[str, Any] = ConnectionHandler({"default": given}).settings["default"]
        return complete

    def wrapper(self, *, alias: str = "default", pool: Any = True, stock: bool = False, **settings: Any) -> Any:
        """A DatabaseWrapper, as a thread would have it."""
        entry = self.entry(pool=pool, stock=stock, **settings)
        made = load_backend(entry["ENGINE"]).DatabaseWrapper(entry, alias)
        self.wrappers.append(made)
        return made

    def close(self) -> None:
        """Close what the test's own thread has open."""
        for wrapper in self.wrappers:
            wrapper.inc_thread_sharing()
            with contextlib.suppress(Exception):
                wrapper.close()


def value(wrapper: Any, sql: str, params: Any = None) -> Any:
    """The first value of the first row."""
    with wrapper.cursor() as cursor:
        cursor.execute(sql, params)
        row = cursor.fetchone()
    return row[0] if row else None


def run(wrapper: Any, *statements: str) -> None:
    """Statements without a result."""
    with wrapper.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def in_thread(function: Callable[[], Any]) -> Any:
    """What `function` gives in a thread of its own; its exception is raised here."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call, name="test-helper")
    thread.start()
    thread.join(WAIT_S)
    assert outcome, "the thread did not end"
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`, asked often until its time is up."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError(f"not in {WAIT_S:g} s: {what}")


@contextlib.contextmanager
def pools_closed() -> Iterator[None]:
    """No pool before, none after."""
    from django_wsgiperf.db import registry

    registry.close_all()
    try:
        yield
    finally:
        registry.close_all()
