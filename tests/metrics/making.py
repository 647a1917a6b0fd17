"""Records, workers and stores as the tests of the metrics need them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st

from django_wsgiperf.conf import MetricsSettings
from django_wsgiperf.metrics.aggregate import Aggregator
from django_wsgiperf.metrics.modes import Mode
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.stores.base import Extent, Row, Store
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.metrics.tally import Tally
from django_wsgiperf.metrics.worker import Worker

MS = 1_000_000
NOON = 1_790_000_400 // 86_400 * 86_400 + 43_200
"""The start of a minute, of ten, of two hours, in the middle of a day."""
ALWAYS = [Extent(86_400, 0, 1 << 40)]
"""Every row that was not added to a coarser one."""


def record(
    route: str = "/books/",
    *,
    method: str = "GET",
    status: int = 200,
    at_s: float = NOON,
    ttfb_ns: int = 10 * MS,
    queue_ns: int = -1,
    cpu_ns: int = -1,
    body_bytes: int = 100,
    db_ns: int = 0,
    wait_ns: int = 0,
    queries: int = 0,
    cache_ns: int = 0,
    **fields: Any,
) -> Record:
    """A finished request that began at `at_s`."""
    made = Record(method)
    made.began_s = at_s
    made.route, made.status = route, status
    made.ttfb_ns, made.queue_ns, made.cpu_ns, made.body_bytes = ttfb_ns, queue_ns, cpu_ns, body_bytes
    if queries or db_ns or wait_ns:
        use = made.database("default")
        use.queries, use.execute_ns, use.wait_ns, use.rows = queries, db_ns, wait_ns, 2 * queries
    if cache_ns:
        cached = made.cached("default")
        cached.call_ns, cached.calls, cached.hits, cached.misses = cache_ns, 3, 2, 1
    made.accounted_ns = db_ns + wait_ns + cache_ns
    for name, value in fields.items():
        setattr(made, name, value)
    made.end(made.began_ns + ttfb_ns + max(0, made.write_ns))
    return made


def aggregator(**options: Any) -> Aggregator:
    return Aggregator(**{"host": "one", "boot": "0000aaaa", **options})


def tally_of(records: Iterable[Record], **options: Any) -> Tally:
    """What becomes of records of one minute."""
    sums = aggregator(**options)
    sums.add(records, NOON + 59)
    (minute,) = sums.minutes.values()
    minute.tally.samples = sums.samples(minute, 100)
    return minute.tally


class Clock:
    """Unix seconds that a test sets."""

    def __init__(self, now_s: float = NOON) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def worker(
    store: Store | Callable[[], Store] | None = None,
    *,
    name: str = "one:1:0000aaaa",
    host: str = "one",
    clock: Clock | None = None,
    mode: Mode = "tests",
    **options: Any,
) -> Worker:
    """A worker that does its work when it is told to."""
    kept = MemoryStore() if store is None else store
    opened: Callable[[], Store] = kept if callable(kept) else lambda: kept
    return Worker(
        MetricsSettings(**options),
        lambda settings: opened(),
        instance=name,
        host=host,
        mode=mode,
        clock=clock or Clock(),
        pause=lambda seconds: None,
    )


def requests_in(store: Store, extents: list[Extent] | None = None) -> int:
    """All requests that a reader finds."""
    from django_wsgiperf.metrics.reading import Reader

    return sum(each.total["requests"] for each in Reader(store).summaries(extents or ALWAYS))


def key(row: Row) -> tuple[int, int, str]:
    return row.level, row.start, row.owner


#: Whole microseconds, as they are stored.
def times(longest_ns: int, least: int = 0) -> st.SearchStrategy[int]:
    return st.integers(least, longest_ns // 1000).map(lambda us: us * 1000)


#: Records of a few routes within one minute.
records = st.builds(
    record,
    st.sampled_from(["/a/", "/b/<int:pk>/", "/c/", "(not found)"]),
    method=st.sampled_from(["GET", "POST", "BREW"]),
    status=st.sampled_from([200, 302, 404, 500, 599, 0]),
    at_s=st.integers(NOON, NOON + 30).map(float),
    ttfb_ns=times(10**10),
    queue_ns=st.just(-1) | times(10**9),
    cpu_ns=st.just(-1) | times(10**9),
    db_ns=times(10**9),
    wait_ns=times(10**8),
    queries=st.integers(0, 20),
    cache_ns=times(10**8),
    exception=st.sampled_from(["", "builtins.ValueError"]),
    page_cache=st.sampled_from(["", "hit", "miss"]),
    aborted=st.booleans(),
)
