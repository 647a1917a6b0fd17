"""OPTIONS["pool"]: Django's own pool lends the connections, and what we add to it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from django_wsgiperf.db import registry
from django_wsgiperf.db.native import NativePool
from tests.db.databases import Database, eventually, in_thread, run, value
from tests.db.sites import Answer, site
from tests.db.test_recovery import in_child, session

OPTIONS = {"pool": {"min_size": 1, "max_size": 1, "timeout": 0.5}}
seen: dict[str, Any] = {}


def the_pool() -> NativePool:
    (pool,) = registry.pools()
    assert isinstance(pool, NativePool)
    return pool


def in_use() -> int:
    used: int = the_pool().snapshot()["db.client.connection.count"]["used"]
    return used


def query(request: HttpRequest) -> HttpResponse:
    value(connection, "SELECT 1")
    seen["holders"] = [str(holder) for holder in the_pool().holders()]
    return HttpResponse("done")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    value(connection, "SELECT 1")
    return StreamingHttpResponse(str(value(connection, f"SELECT {number}")) for number in range(3))


urlpatterns = [path("query/", query, name="query"), path("stream/", stream)]


def test_djangos_pool_lends_and_we_keep_time(postgres: Database) -> None:
    wrapper = postgres.wrapper(OPTIONS=OPTIONS)
    for _ in range(3):
        assert value(wrapper, "SELECT 1") == 1
        assert wrapper.connection._pool is wrapper.pool
        wrapper.close()
    counted = the_pool().snapshot()
    assert counted["db.client.connection.pool.name"] == "default"
    assert counted["db.client.connection.max"] == 1
    assert counted["db.client.connection.count"] == {"idle": 1, "used": 0}
    assert counted["db.client.connection.wait_time"]["count"] == 3
    assert counted["db.client.connection.use_time"]["count"] == 3
    assert counted["created"] == 1


def test_pool_false_leaves_djangos_pool_alone(postgres: Database) -> None:
    wrapper = postgres.wrapper(OPTIONS=OPTIONS, pool=False)
    value(wrapper, "SELECT 1")
    wrapper.close()
    assert registry.pools() == []
    wrapper.close_pool()


def test_timeout_names_the_holders(postgres: Database) -> None:
    holder, other = postgres.wrapper(OPTIONS=OPTIONS), postgres.wrapper(OPTIONS=OPTIONS)
    value(holder, "SELECT 4711")
    with pytest.raises(OperationalError, match=r"(?s)couldn't get a conn.*Held by:.*MainThread.*SELECT 4711"):
        value(other, "SELECT 1")
    assert the_pool().snapshot()["db.client.connection.timeouts"] == 1
    holder.close()
    assert value(other, "SELECT 1") == 1
    other.close()


def test_connection_of_a_dead_thread_comes_back(postgres: Database) -> None:
    kept = []

    def dies() -> None:
        wrapper = postgres.wrapper(OPTIONS=OPTIONS)
        value(wrapper, "SELECT 1")
        kept.append(wrapper)

    in_thread(dies)
    other = postgres.wrapper(OPTIONS=OPTIONS)
    assert value(other, "SELECT 2") == 2
    assert the_pool().snapshot()["reclaimed"] == 1


def test_connection_of_a_thread_that_dies_comes_to_one_that_waits_already(postgres: Database) -> None:
    patient = {"pool": {**OPTIONS["pool"], "timeout": 20}}
    held = threading.Event()
    kept = []

    def dies_when_another_waits() -> None:
        kept.append(postgres.wrapper(OPTIONS=patient))
        value(kept[0], "SELECT 1")
        held.set()
        eventually(lambda: the_pool().snapshot()["db.client.connection.pending_requests"], "somebody waits")

    holder = threading.Thread(target=dies_when_another_waits)
    holder.start()
    assert held.wait(20)
    assert value(postgres.wrapper(OPTIONS=patient), "SELECT 2") == 2
    holder.join()
    assert the_pool().snapshot()["reclaimed"] == 1


def test_child_process_has_a_pool_of_its_own(postgres: Database) -> None:
    wrapper = postgres.wrapper(OPTIONS={"pool": {"min_size": 2, "max_size": 2, "timeout": 5}})
    number = session(wrapper)

    def child() -> None:
        assert wrapper.connection is None
        assert session(wrapper) != number
        wrapper.close()
        assert the_pool().snapshot()["forks"] == 1
        wrapper.close_pool()
        gc.collect()

    in_child(child)
    assert session(wrapper) == number
    wrapper.close()
    assert value(wrapper, "SELECT 1") == 1
    wrapper.close()


@pytest.fixture
def served(postgres: Database) -> Iterator[None]:
    seen.clear()
    with site(postgres, __name__, OPTIONS=OPTIONS):
        yield


def test_connection_goes_back_with_the_response(served: None) -> None:
    def request() -> None:
        answer = Answer("/query/")
        assert in_use() == 0
        assert answer.read() == b"done"
        assert "GET query" in seen["holders"][0]

    in_thread(request)


def test_streamed_body_has_a_connection_only_while_it_makes_a_chunk(served: None) -> None:
    def request() -> None:
        answer = Answer("/stream/")
        for _ in answer.chunks:
            assert in_use() == 0
        answer.close()

    in_thread(request)


def test_error_of_a_fail_over_replaces_all_connections_but_not_each_time(postgres: Database) -> None:
    options = {"pool": {"min_size": 2, "max_size": 2}}
    writer, reader = postgres.wrapper(OPTIONS=options), postgres.wrapper(OPTIONS=options)
    for is_first in (True, False):
        value(reader, "SELECT 1")
        raw = reader.connection
        with pytest.raises(DatabaseError, match="read-only"):
            run(writer, "BEGIN READ ONLY", "CREATE TABLE refused (n int)")
        writer.close()
        reader.close()
        if is_first:
            eventually(lambda raw=raw: raw.closed, "the end of the old connection")
    # What is returned is closed by another thread, in order.
    value(reader, "SELECT 1")
    reader.close()
    assert not raw.closed


def test_release_transaction_works_on_it(postgres: Database) -> None:
    wrapper = postgres.wrapper(OPTIONS=OPTIONS, pool={"RELEASE": "transaction"})
    assert value(wrapper, "SELECT 1") == 1
    assert wrapper.connection is None
    assert in_use() == 0


def test_prewarm_opens_it(postgres: Database) -> None:
    with site(postgres, __name__, OPTIONS={"pool": {"min_size": 3}}):
        registry.prewarm()
        assert the_pool().snapshot()["db.client.connection.count"] == {"idle": 3, "used": 0}


def test_end_leaves_its_threads_the_moment_that_they_need(postgres: Database, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        wrapper = postgres.wrapper(OPTIONS=OPTIONS)
        assert value(wrapper, "SELECT 1") == 1
        wrapper.close()
        registry.close_all(0)
    assert "couldn't stop thread" not in caplog.text


def test_own_and_djangos_pool_do_not_mix(postgres: Database) -> None:
    wrapper = postgres.wrapper()
    value(wrapper, "SELECT 1")
    wrapper.close()
    wrapper.settings_dict["OPTIONS"] = OPTIONS
    run(wrapper, "SET statement_timeout = 77000")
    wrapper.close()
    assert sorted(type(pool).__name__ for pool in registry.pools()) == ["NativePool", "Pool"]
