"""A process that forks or ends while its pool is in use, seen from outside and by the server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.db.load import until
from tests.db.servers import Server
from tests.db.test_faults import ENGINES, sessions

LIMIT_S = 100.0


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn."""
    found: Server = request.getfixturevalue(f"private_{request.param}")
    return found


def run(name: str, server: Server, max_size: int) -> tuple[list[dict[str, Any]], str]:
    """Run one of lone.py's programs: what it has said, and what it has complained of."""
    engine = f"django_wsgiperf.db.backends.{ENGINES[server.key]}"
    database = server.settings(engine, POOL={"MAX_SIZE": max_size, "ACQUIRE_TIMEOUT_S": 30})
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.db.lone", name, json.dumps(database)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


def test_fork_with_leases_out_and_waiters_harms_neither_side(server: Server) -> None:
    mark = server.log_size()
    said, complaints = run("fork", server, max_size=4)
    workers = [facts["session"] for facts in said if facts["who"] == "worker"]
    waiter, parent, child, last = (one(said, who) for who in ("waiter", "parent", "child", "parent at last"))
    # The parent's transaction, its workers' sessions and its waiter go on as if nothing had been.
    assert parent["before"] == parent["after"]
    assert parent["child"] == 0
    assert len({*workers, parent["before"]}) == 4
    assert waiter["session"] in {*workers, parent["before"]}
    assert (last["open"], last["waiting"], last["closed"]) == ({"idle": 4, "used": 0}, 0, {})
    # The child has sessions of its own, and a pool that is whole.
    assert not {*child["sessions"]} & {*workers, parent["before"]}
    assert (child["open"], child["waiting"], child["forks"]) == ({"idle": 1, "used": 0}, 0, 1)
    assert complaints == ""
    if server.key == "postgres":
        assert "FATAL" not in server.log_since(mark)
        assert "unexpected" not in server.log_since(mark)
    until(lambda: sessions(server) == 0, "the end of all sessions")


def test_process_ends_at_once_with_connections_in_use_and_threads_waiting(server: Server) -> None:
    said, complaints = run("leave", server, max_size=4)
    assert (said[0]["open"], said[0]["waiting"]) == ({"idle": 0, "used": 4}, 3)
    assert complaints == ""
    until(lambda: sessions(server) == 0, "the end of all sessions")


def test_process_that_ends_takes_leave_of_the_server(server: Server) -> None:
    mark = server.log_size()
    said, complaints = run("rest", server, max_size=4)
    assert said[0]["open"] == {"idle": 2, "used": 1}
    assert complaints == ""
    until(lambda: sessions(server) == 0, "the end of all sessions")
    if server.key == "postgres":
        assert "unexpected" not in server.log_since(mark)
    else:
        # Only the program's sessions begin in a database.
        ids = re.findall(r"(\d+) Connect\ttests@127.0.0.1 on mysql", server.log_since(mark))
        assert len(ids) == 3
        until(lambda: all(_said_goodbye(server, mark, number) for number in ids), "a goodbye from each")


def _said_goodbye(server: Server, mark: int, number: str) -> bool:
    return re.search(rf"\b{number} Quit", server.log_since(mark)) is not None


def one(said: list[dict[str, Any]], who: str) -> dict[str, Any]:
    """The line that `who` has printed."""
    (facts,) = (facts for facts in said if facts["who"] == who)
    return facts
