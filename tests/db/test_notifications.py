"""What LISTEN brings, by psycopg's notifies(): a generator that keeps its connection to itself until it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from django_wsgiperf.db import registry
from tests.db.databases import Database, in_thread, run, value
from tests.db.sites import Answer, site


def events(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        run(connection, "LISTEN news", "NOTIFY news, 'one'", "NOTIFY news, 'two'")
        for event in connection.connection.notifies():
            yield event.payload

    return StreamingHttpResponse(body())


urlpatterns = [path("events/", events)]


def numbers() -> tuple[int, dict[str, int]]:
    """How many connections are used, and why others were closed."""
    (pool,) = registry.pools()
    counted = pool.snapshot()
    return counted["db.client.connection.count"]["used"], counted["closed"]


@pytest.mark.parametrize("reset", ["auto", "hard", "rollback"])
@pytest.mark.parametrize("fails", [False, True])
def test_connection_that_still_listens_is_closed_and_holds_up_nobody(
    postgres: Database, reset: str, *, fails: bool
) -> None:
    wrapper = postgres.wrapper(pool={"MAX_SIZE": 1, "RESET": reset})
    run(wrapper, "LISTEN news", "NOTIFY news, 'one'")
    listening = wrapper.connection.notifies()
    assert next(listening).payload == "one"
    wrapper.errors_occurred = fails
    wrapper.close()
    assert numbers() == (0, {"broken" if fails else "unfinished": 1})
    assert value(wrapper, "SELECT 5") == 5
    wrapper.close()
    listening.close()


def test_djangos_pool_replaces_a_connection_that_still_listens(postgres: Database) -> None:
    wrapper = postgres.wrapper(OPTIONS={"pool": {"min_size": 1, "max_size": 1, "timeout": 20}})
    run(wrapper, "LISTEN news", "NOTIFY news, 'one'")
    raw = wrapper.connection
    listening = raw.notifies()
    assert next(listening).payload == "one"
    wrapper.close()
    assert raw.closed
    assert value(wrapper, "SELECT 5") == 5
    wrapper.close()
    listening.close()


def test_streamed_body_keeps_its_connection_while_it_listens(postgres: Database) -> None:
    def request() -> None:
        answer = Answer("/events/")
        assert (next(answer.chunks), next(answer.chunks)) == (b"one", b"two")
        assert numbers() == (1, {})
        answer.close()
        assert numbers() == (0, {})
        assert value(connection, "SELECT COUNT(*) FROM pg_listening_channels()") == 0
        connection.close()

    with site(postgres, __name__):
        in_thread(request)
