"""A site under load without a web server: threads whose requests begin and end as Django's do, and what became of them.

Everything ends by itself: a load has a number of threads, and is stopped at the end of its `with` block.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.utils import ConnectionHandler

from django_wsgiperf.db import Pool

PATIENCE_S = 60.0
POLL_S = 0.005

Work = Callable[[Any], None]


def until(condition: Callable[[], bool], what: str, limit_s: float = PATIENCE_S) -> None:
    """Wait until the condition holds. Raises AssertionError, naming `what`, when it does not come to hold."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {limit_s:g} s"
        time.sleep(POLL_S)


def ask(connection: Any) -> None:
    """The least that a request can want."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone()[0] == 1


class Site:
    """The connections of one project. Each thread has wrappers of its own, as always."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.connections = ConnectionHandler({"default": settings})

    @property
    def connection(self) -> Any:
        """This thread's wrapper."""
        return self.connections["default"]

    @property
    def pool(self) -> Pool[Any]:
        pool: Pool[Any] = self.connection.pool_of.pool
        return pool

    def request(self, work: Work = ask) -> None:
        """One request: what request_started does, the view, and what request_finished does."""
        self._between_requests()
        try:
            work(self.connection)
        finally:
            self._between_requests()

    def _between_requests(self) -> None:
        for connection in self.connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()

    def close(self) -> None:
        """Leave nothing behind."""
        self.connection.close()
        self.pool.close()


@dataclass(slots=True)
class Load:
    """What the requests of a running load have come to. The lock guards both."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    done: int = 0
    errors: list[Exception] = field(default_factory=list)

    def goes_on(self, requests: int = 50) -> None:
        """Wait until this many more requests have been answered."""
        goal = self.done + requests
        until(lambda: self.done >= goal, f"{requests} more requests; the errors so far are {self.errors}")


@contextlib.contextmanager
def load(site: Site, threads: int, work: Work = ask) -> Iterator[Load]:
    """Requests one after another from each of `threads` threads for the length of a `with` block."""
    results = Load()
    ended = threading.Event()

    def browse() -> None:
        while not ended.is_set():
            try:
                site.request(work)
            except Exception as error:  # Whatever it is, the test is to see it.
                with results.lock:
                    results.errors.append(error)
            else:
                with results.lock:
                    results.done += 1
        site.connection.close()

    browsers = [threading.Thread(target=browse, name=f"browser-{number}", daemon=True) for number in range(threads)]
    for browser in browsers:
        browser.start()
    try:
        yield results
    finally:
        ended.set()
        for browser in browsers:
            browser.join(PATIENCE_S)
    assert not any(browser.is_alive() for browser in browsers), "a request hangs"
