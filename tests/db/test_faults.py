"""What servers do to connections: they restart, cut them off, refuse them. Real servers, under load.

How the pool decides is tested in test_pool.py with a fake driver; here nothing is fake.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError

from django_wsgiperf.db import PoolUnavailable
from tests.db.load import PATIENCE_S, Site, ask, load, until
from tests.db.servers import Refused, Server

THREADS = 12
MAX_SIZE = 4
ENGINES = {"postgres": "postgresql", "mysql": "mysql"}
SESSIONS = {
    "postgres": (
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ),
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE user = 'tests' AND id <> connection_id()",
}
#: What makes a server let in ten at most.
SMALL = {
    "postgres": ("-c", "max_connections=10", "-c", "superuser_reserved_connections=0", "-c", "max_wal_senders=0"),
    "mysql": ("--max-connections=10",),
}
MakeSite = Callable[..., Site]


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn."""
    found: Server = request.getfixturevalue(f"private_{request.param}")
    return found


@pytest.fixture
def make_site(server: Server, allowed_database: None) -> Iterator[MakeSite]:
    """Makes a site on the server. `pool` overrides POOL; what else is given goes into the DATABASES entry."""
    with contextlib.ExitStack() as made:

        def make(pool: dict[str, Any] | None = None, **others: Any) -> Site:
            engine = f"django_wsgiperf.db.backends.{ENGINES[server.key]}"
            pool = {"MAX_SIZE": MAX_SIZE, "ACQUIRE_TIMEOUT_S": PATIENCE_S, **(pool or {})}
            site = Site(server.settings(engine, POOL=pool, **others))
            made.callback(site.close)
            return site

        yield make


def sessions(server: Server) -> int:
    """How many sessions there are, without the one that asks."""
    return int(server.execute(SESSIONS[server.key]))


def test_restart_under_load_fails_only_what_was_in_flight_and_heals(server: Server, make_site: MakeSite) -> None:
    site = make_site()
    with load(site, THREADS) as requests:
        requests.goes_on(200)
        server.halt()
        # Everybody notices that it is gone.
        until(lambda: site.pool.statistics.connect_failures > 2, "attempts to connect to a server that is gone")
        mark = server.log_size()
        server.launch(wait=False)
        requests.goes_on(200)
    # A connection that died fails the request that has it, and is never lent again.
    assert len(requests.errors) <= MAX_SIZE, requests.errors
    assert all(isinstance(error, DatabaseError) for error in requests.errors)
    assert server.attempts(mark) <= 3 * MAX_SIZE, server.log_since(mark)
    assert site.pool.statistics.timeouts == 0


def test_no_stampede_while_the_server_is_down(server: Server, make_site: MakeSite) -> None:
    site = make_site()
    with load(site, THREADS) as requests:
        requests.goes_on(50)
        server.halt()
        began = time.monotonic()
        try:
            until(
                lambda: time.monotonic() - began > 1.5 and site.pool.statistics.connect_failures > 2,
                "a second and a half without a server",
            )
            failures = site.pool.statistics.connect_failures
        finally:
            server.launch(wait=False)
        requests.goes_on(50)
    # Twelve threads that each tried again at once would have knocked many thousand times.
    assert failures < 30
    assert len(requests.errors) <= MAX_SIZE


def test_outage_longer_than_patience_fails_fast_and_names_the_servers_words(
    server: Server, make_site: MakeSite
) -> None:
    site = make_site({"ACQUIRE_TIMEOUT_S": 0.5})
    site.request()
    server.halt()
    try:
        with pytest.raises(OperationalError):
            until(lambda: site.request() is not None, "an error")
        until(lambda: _is_given_up(site), "the end of the pool's patience")
        words = r"(?i)refuse|can't connect"
        with pytest.raises(OperationalError, match=words):
            site.request()
        # However long one would wait in line: this is longer than a test may take.
        with pytest.raises(Exception, match=words):
            site.pool.acquire(timeout_s=600.0)
    finally:
        server.launch()
    until(lambda: _answers(site), "the pool's recovery")


def test_sessions_that_the_server_ends_under_load_fail_one_request_each(server: Server, make_site: MakeSite) -> None:
    site = make_site()
    with load(site, THREADS) as requests:
        requests.goes_on(100)
        killed = _kill_sessions(server)
        requests.goes_on(200)
    assert killed >= 1
    assert len(requests.errors) <= MAX_SIZE, requests.errors


def test_sessions_ended_for_being_idle_fail_nobody(server: Server, make_site: MakeSite) -> None:
    options: dict[str, dict[str, Any]] = {
        "postgres": {"options": "-c idle_session_timeout=1000"},
        "mysql": {"init_command": "SET SESSION wait_timeout = 1"},
    }
    site = make_site({"BYPASS_WINDOW_S": 0.05}, OPTIONS=options[server.key])
    _open_all(site)
    assert site.pool.snapshot()["created"] == MAX_SIZE
    until(lambda: sessions(server) == 0, "the server's idle timeout")
    for _ in range(2 * MAX_SIZE):
        site.request()
    assert site.pool.statistics.closed["dead"] >= 1


def test_pool_that_is_larger_than_the_server_lives_with_what_it_gets(server: Server, make_site: MakeSite) -> None:
    try:
        server.restart(*SMALL[server.key])
        with _others(server, leave=3):
            # Not used before: what is refused first must not be taken for the whole truth.
            site = make_site({"MAX_SIZE": THREADS})
            with load(site, THREADS) as requests:
                requests.goes_on(300)
            assert requests.errors == []
            assert site.pool.statistics.connect_failures >= 1
            assert site.pool.statistics.timeouts == 0
        # When the others leave, there is room for more.
        with load(site, THREADS, _slowly) as requests:
            until(lambda: sum(site.pool.snapshot()["db.client.connection.count"].values()) > 3, "more connections")
    finally:
        server.restart()


def test_full_server_refuses_a_new_pool_in_its_own_words_at_once(server: Server, make_site: MakeSite) -> None:
    site = make_site()
    try:
        server.restart(*SMALL[server.key])
        with _others(server, leave=0):
            with pytest.raises(OperationalError, match=r"(?i)too many|already"):
                site.request()
            assert site.pool.statistics.timeouts == 0, "nobody has waited in line for it"
        until(lambda: _answers(site), "room on the server")
    finally:
        server.restart()


def _answers(site: Site) -> bool:
    with contextlib.suppress(OperationalError):
        site.request()
        return True
    return False


def _is_given_up(site: Site) -> bool:
    try:
        site.request()
    except OperationalError as error:
        return isinstance(error, PoolUnavailable)
    return False


def _slowly(connection: Any) -> None:
    ask(connection)
    time.sleep(0.01)


def _kill_sessions(server: Server) -> int:
    """End all sessions but the one that asks; how many there were."""
    before = sessions(server)
    if server.key == "postgres":
        server.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    else:
        ids = server.execute(
            "SELECT group_concat(id) FROM information_schema.processlist WHERE user = 'tests' AND id <> connection_id()"
        )
        for number in ids.split(","):
            with contextlib.suppress(Exception):  # The driver's own, for one that is gone by itself meanwhile.
                server.execute(f"KILL CONNECTION {number}")
    return before


def _can_open(server: Server) -> bool:
    with contextlib.suppress(Refused):
        server.open().close()
        return True
    return False


def _open_all(site: Site) -> None:
    """Bring the pool to its full size, with all connections idle."""
    assert site.pool.prewarm(MAX_SIZE) == MAX_SIZE


@contextlib.contextmanager
def _others(server: Server, leave: int) -> Iterator[None]:
    """Other programs' sessions that leave room for only so many more."""
    taken = []
    try:
        with contextlib.suppress(Refused):
            while len(taken) < 300:
                taken.append(server.open())
        assert leave < len(taken) < 300, "the server's limit"
        for _ in range(leave):
            taken.pop().close()
        # The server takes a moment to notice.
        if leave:
            until(lambda: _can_open(server), "the server's room")
        yield
    finally:
        for connection in taken:
            connection.close()
