"""Threads that ask for pages and tell what came of each, until none is left or they are told to stop.

`_lock` guards the pages that are left, which the threads take one by one. Every result goes through one queue to the
thread that called, which alone counts and shows them.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from django_wsgiperf import __version__

from .address import Page, Place
from .client import Client, FetchError
from .outcome import Outcome, Told, read

COMMON_FIELDS: Final = {
    "User-Agent": f"django-wsgiperf/{__version__} (warm)",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
}
"""Asks for what a browser would, for pages that vary by it."""
MAX_FAILURES_KEPT: Final = 100

Fields = Mapping[str, str]


@dataclass(slots=True)
class Tally:
    """What has become of the requests so far."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """By the reason in Cache-Status."""
    errors: Counter[str] = field(default_factory=Counter)
    """By status, or by what was wrong with the connection."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Address and error, of the first MAX_FAILURES_KEPT."""

    @property
    def done(self) -> int:
        return self.counts.total()

    def add(self, page: Page, told: Told) -> None:
        self.counts[told.outcome] += 1
        if told.outcome is Outcome.REFUSED:
            self.refusals[told.why] += 1
        elif told.outcome is Outcome.FAILED:
            self.errors[told.why] += 1
            if len(self.failures) < MAX_FAILURES_KEPT:
                self.failures.append((page.url, told.why))


def warm(
    pages: Iterable[Page],
    variants: Sequence[Fields],
    *,
    place: Place | None,
    concurrency: int,
    timeout_s: float,
    on_progress: Callable[[Tally], object] = lambda tally: None,
) -> Tally:
    """Ask for every page in every variant, `concurrency` at a time. KeyboardInterrupt ends it after those under way.

    `on_progress` is called in this thread after each result. The tally it is given is the one that is returned."""
    crew = _Crew(((page, fields) for page in pages for fields in variants), place, timeout_s)
    threads = [threading.Thread(target=crew.work, name=f"wsgiperf-warm-{number}") for number in range(concurrency)]
    tally = Tally()
    at_work = len(threads)
    try:
        for thread in threads:
            thread.start()
        while at_work:
            result = crew.results.get()
            if result is None:
                at_work -= 1
            else:
                tally.add(*result)
                on_progress(tally)
    finally:
        crew.stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if crew.error is not None:
        raise crew.error
    return tally


class _Crew:
    """What the threads share."""

    def __init__(self, requests: Iterator[tuple[Page, Fields]], place: Place | None, timeout_s: float) -> None:
        self._lock = threading.Lock()
        self._requests = requests
        self._place = place
        self._timeout_s = timeout_s
        self.stop = threading.Event()
        # As many as there are requests, which the caller bounds.
        self.results: queue.SimpleQueue[tuple[Page, Told] | None] = queue.SimpleQueue()
        self.error: BaseException | None = None

    def work(self) -> None:
        client = Client(self._place, timeout_s=self._timeout_s)
        try:
            while not self.stop.is_set():
                with self._lock:
                    page, fields = next(self._requests, (None, None))
                if page is None or fields is None:
                    break
                try:
                    told = read(client.get(page, {**COMMON_FIELDS, **fields}))
                except FetchError as error:
                    told = Told(Outcome.FAILED, str(error))
                self.results.put((page, told))
        except BaseException as error:
            self.error = error
            self.stop.set()
        finally:
            client.close()
            self.results.put(None)
