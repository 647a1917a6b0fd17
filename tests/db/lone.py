"""Programs for tests that must end, or be forked, with a pool in use: `python -m tests.db.lone NAME SETTINGS`.

SETTINGS is an entry of DATABASES as JSON. Each prints JSON lines with what it has seen; test_faults_processes.py runs
them and reads those.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import traceback
from typing import Any

import django
from django.conf import settings

CHILD_LIMIT_S = 60.0
WORKERS = 3


def say(**facts: Any) -> None:
    """Print a line in one write, so that parent and child do not mix theirs."""
    os.write(1, (json.dumps(facts) + "\n").encode())


def session(connection: Any) -> int:
    """The server's number for the session."""
    question = "SELECT pg_backend_pid()" if connection.vendor == "postgresql" else "SELECT connection_id()"
    with connection.cursor() as cursor:
        cursor.execute(question)
        number: int = cursor.fetchone()[0]
        return number


def fork() -> None:
    """A process forks in a transaction, while other threads hold connections, wait for one, and one lies idle."""
    from django.db import connection, transaction

    pool = connection.pool_of.pool
    held, ended = threading.Barrier(WORKERS + 1), threading.Event()

    def work() -> None:
        session(connection)
        held.wait()
        ended.wait(CHILD_LIMIT_S)
        # Still the same session, and it still answers.
        say(who="worker", session=session(connection))
        connection.close()

    def line_up() -> None:
        say(who="waiter", session=session(connection))
        connection.close()

    threads = [threading.Thread(target=work, name=f"worker-{number}") for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    held.wait()
    with transaction.atomic():
        before = session(connection)
        waiter = threading.Thread(target=line_up, name="waiter")
        waiter.start()
        while not pool.snapshot()["db.client.connection.pending_requests"]:
            ended.wait(0.01)
        child = os.fork()
        if not child:
            in_child(before)
        status = os.waitpid(child, 0)[1]
        say(who="parent", before=before, after=session(connection), child=os.waitstatus_to_exitcode(status))
    ended.set()
    connection.close()
    for thread in [*threads, waiter]:
        thread.join(CHILD_LIMIT_S)
    say(who="parent at last", **counted(pool))


def in_child(of_parent: int) -> None:
    """What the forked child does, to its end."""
    from django.db import connection

    code = 1
    try:
        # The transaction was the parent's; a request of the child begins after it.
        was_open = connection.in_atomic_block
        connection.in_atomic_block = False
        connection.closed_in_transaction = False
        connection.needs_rollback = False
        sessions = [session(connection)]
        connection.close()
        threads = [threading.Thread(target=lambda: (sessions.append(session(connection)), connection.close()))]
        for thread in threads:
            thread.start()
            thread.join(CHILD_LIMIT_S)
        say(who="child", sessions=sessions, was_open=was_open, **counted(connection.pool_of.pool))
        code = 0 if of_parent not in sessions else 3
    except BaseException:
        traceback.print_exc()
    finally:
        # As workers of servers that fork do, with what is registered for the exit.
        sys.stdout.flush()
        atexit._run_exitfuncs()
        os._exit(code)


def counted(pool: Any) -> dict[str, Any]:
    """The pool's numbers that tell whether something was lost."""
    numbers = pool.snapshot()
    return {
        "open": numbers["db.client.connection.count"],
        "waiting": numbers["db.client.connection.pending_requests"],
        "closed": numbers["closed"],
        "forks": numbers["forks"],
    }


def leave() -> None:
    """A process ends with all connections in transactions of daemon threads, and more daemons waiting for one."""
    from django.db import connection, transaction

    pool = connection.pool_of.pool

    def hold() -> None:
        with transaction.atomic():
            session(connection)
            threading.Event().wait()

    for number in range(WORKERS):
        threading.Thread(target=hold, name=f"holder-{number}", daemon=True).start()
    session(connection)
    for number in range(WORKERS):
        threading.Thread(target=lambda: session(connection), name=f"waiter-{number}", daemon=True).start()
    while counted(pool)["waiting"] < WORKERS:
        threading.Event().wait(0.01)
    say(who="leaver", **counted(pool))


def rest() -> None:
    """A process ends with connections idle and the main thread's in use."""
    from django.db import connection

    together = threading.Barrier(WORKERS)

    def use() -> None:
        session(connection)
        together.wait()
        connection.close()

    users = [threading.Thread(target=use, name=f"user-{number}") for number in range(WORKERS)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    session(connection)
    say(who="leaver", **counted(connection.pool_of.pool))


def main() -> None:
    name, database = sys.argv[1:]
    settings.configure(
        DATABASES={"default": json.loads(database)},
        INSTALLED_APPS=["django_wsgiperf"],
        SECRET_KEY="x" * 50,
        USE_TZ=True,
    )
    django.setup()
    {"fork": fork, "leave": leave, "rest": rest}[name]()


if __name__ == "__main__":
    main()
