"""Passwords that change while a site runs: open sessions go on, and the next one is opened with the new password."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.db.utils import load_backend

from django_wsgiperf.db import make_pooled
from tests.db.load import Site
from tests.db.servers import Server
from tests.db.test_faults import ENGINES

PATIENCE_S = 5.0


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest, allowed_database: None) -> Server:
    """Each kind of server in turn."""
    found: Server = request.getfixturevalue(f"private_{request.param}")
    return found


class Account:
    """A login of the server that is the test's own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = f"site_{secrets.token_hex(4)}"
        self.password = secrets.token_hex(8)
        self._who = self.name if server.key == "postgres" else f"'{self.name}'@'127.0.0.1'"
        with_login = "LOGIN PASSWORD" if server.key == "postgres" else "IDENTIFIED BY"
        server.execute(f"CREATE {self._kind} {self._who} {with_login} '{self.password}'")
        if server.key == "mysql":
            server.execute(f"GRANT SELECT ON mysql.* TO {self._who}")

    @property
    def _kind(self) -> str:
        return "ROLE" if self.server.key == "postgres" else "USER"

    def change(self) -> None:
        """Give it a new password."""
        self.password = secrets.token_hex(8)
        how = "PASSWORD" if self.server.key == "postgres" else "IDENTIFIED BY"
        self.server.execute(f"ALTER {self._kind} {self._who} {how} '{self.password}'")

    def drop(self) -> None:
        self.server.execute(f"DROP {self._kind} {self._who}")

    def settings(self) -> dict[str, Any]:
        engine = f"django_wsgiperf.db.backends.{ENGINES[self.server.key]}"
        pool = {"MAX_SIZE": 2, "ACQUIRE_TIMEOUT_S": PATIENCE_S}
        return {**self.server.settings(engine, POOL=pool), "USER": self.name, "PASSWORD": self.password}


@pytest.fixture
def account(server: Server) -> Iterator[Account]:
    made = Account(server)
    yield made
    made.drop()


def test_open_sessions_outlive_a_change_of_the_password(account: Account) -> None:
    site = Site(account.settings())
    site.request()
    account.change()
    site.request()
    assert site.pool.snapshot()["created"] == 1
    site.close()


def test_new_password_in_the_settings_is_used_for_the_next_connection(account: Account) -> None:
    site = Site(account.settings())
    site.request()
    account.change()
    site.pool.evict_all("the password has changed")
    # The old one, which the settings still have, is refused, with the server's words and without the password.
    with pytest.raises(OperationalError) as refused:
        Site(account.settings() | {"PASSWORD": "old-secret", "POOL": {"ACQUIRE_TIMEOUT_S": 0.2}}).request()
    assert "old-secret" not in str(refused.value)
    assert account.name in str(refused.value)
    site.connections.settings["default"]["PASSWORD"] = account.password
    site.request()
    assert site.pool.snapshot()["created"] == 2
    site.close()


def test_token_is_asked_for_once_for_each_connection(account: Account) -> None:
    """Those of cloud providers hold for minutes and cost a call; get_connection_params() is where they come in."""
    asked = []

    class Tokens(load_backend(f"django.db.backends.{ENGINES[account.server.key]}").DatabaseWrapper):  # type: ignore[misc]
        def get_connection_params(self) -> dict[str, Any]:
            asked.append(account.password)
            return {**super().get_connection_params(), "password": account.password}

    site = Site(account.settings() | {"PASSWORD": "never used"})
    site.connections["default"] = make_pooled(Tokens)(site.connections.settings["default"])
    for _ in range(3):
        site.request()
    first = account.password
    account.change()
    site.pool.evict_all("the password has changed")
    for _ in range(3):
        site.request()
    assert asked == [first, account.password]
    assert site.pool.snapshot()["created"] == 2
    site.close()
