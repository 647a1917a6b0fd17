"""`hold_connection`: the view and its streamed body have one session, whatever RELEASE says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from django_wsgiperf.db import hold_connection, registry
from tests.db.databases import Database, in_thread, run, value
from tests.db.sites import Answer, ask_async, site

SETS = {
    "postgresql": "SELECT set_config('app.who', 'me', false)",
    "mysql": "SELECT @who := 'me'",
    "sqlite": "CREATE TEMP TABLE who AS SELECT 'me' AS who",
}
ASKS = {
    "postgresql": "SELECT current_setting('app.who', true)",
    "mysql": "SELECT @who",
    "sqlite": "SELECT who FROM who",
}


def begin() -> None:
    run(connection, SETS[connection.vendor])
    with transaction.atomic():
        value(connection, "SELECT 1")


def ask() -> str:
    return f"{value(connection, ASKS[connection.vendor])},{in_use()};"


@hold_connection
def held(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        for _ in range(2):
            yield ask()

    begin()
    return StreamingHttpResponse(body())


@hold_connection
async def held_async(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        for _ in range(2):
            yield await sync_to_async(ask)()

    await sync_to_async(begin)()
    return StreamingHttpResponse(body())


urlpatterns = [path("held/", held), path("held_async/", held_async)]


def in_use() -> int:
    (pool,) = registry.pools()
    used: int = pool.snapshot()["db.client.connection.count"]["used"]
    return used


@pytest.fixture(params=["postgres", "mysql", "sqlite"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each kind in turn."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["response", "request", "transaction"])
def served(request: pytest.FixtureRequest, database: Database) -> Iterator[Database]:
    """With each policy in turn."""
    with site(database, __name__, pool={"MAX_SIZE": 2, "RELEASE": request.param}):
        yield database


def test_view_and_its_body_have_one_session(served: Database, caplog: pytest.LogCaptureFixture) -> None:
    assert in_thread(lambda: Answer("/held/").read()) == b"me,1;me,1;"
    assert in_use() == 0
    assert caplog.text == ""


def test_asynchronous_view_and_its_body_have_one_session(served: Database, caplog: pytest.LogCaptureFixture) -> None:
    messages = asyncio.run(ask_async("/held_async/"))
    assert b"".join(message.get("body", b"") for message in messages[1:]) == b"me,1;me,1;"
    assert in_use() == 0
    assert caplog.text == ""
