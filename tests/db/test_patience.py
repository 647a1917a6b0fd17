"""A question whether a connection is alive has an end, also where the network swallows it without a word."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from django_wsgiperf.db.adapters.patience import acknowledged_soon
from tests.db.databases import Database


def limit_ms(fileno: int) -> int:
    """How long the kernel waits for an acknowledgement on somebody's socket; 0 for its own idea."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, os.dup(fileno)) as connection:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.fixture(params=["postgres", "mysql"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def test_limit_holds_for_the_question_and_for_no_query(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = database.wrapper()
    wrapper.ensure_connection()
    adapter, raw = wrapper.pool_of.adapter, wrapper.connection
    ask, seen = adapter.ping, []

    def ping(raw: Any) -> None:
        seen.append(limit_ms(adapter.fileno(raw)))
        ask(raw)

    monkeypatch.setattr(adapter, "ping", ping)
    assert adapter.is_alive(raw)
    assert seen == [2000]
    assert limit_ms(adapter.fileno(raw)) == 0
    wrapper.close()


def test_closed_connection_is_not_alive(database: Database) -> None:
    wrapper = database.wrapper()
    wrapper.ensure_connection()
    wrapper.connection.close()
    assert not wrapper.pool_of.adapter.is_alive(wrapper.connection)
    wrapper.close()


@pytest.mark.parametrize(("usual", "meanwhile"), [(500, 500), (2000, 2000), (30_000, 2000)])
def test_shorter_limit_of_the_connection_is_left_alone(usual: int, meanwhile: int) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, usual)
        with acknowledged_soon(connection.fileno()):
            assert limit_ms(connection.fileno()) == meanwhile
        assert limit_ms(connection.fileno()) == usual


def test_limit_ends_with_a_question_that_fails() -> None:
    with socket.socket() as connection:
        with pytest.raises(ZeroDivisionError), acknowledged_soon(connection.fileno()):
            raise ZeroDivisionError
        assert limit_ms(connection.fileno()) == 0


def test_what_is_no_tcp_has_no_limit() -> None:
    one, other = socket.socketpair()
    with one, other, acknowledged_soon(one.fileno()):
        one.send(b"x")
        assert other.recv(1) == b"x"


def test_system_without_such_a_limit_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    one, other = socket.socketpair()
    with one, other, acknowledged_soon(one.fileno()):
        one.send(b"x")
        assert other.recv(1) == b"x"
