"""One measured request: what it is, where its time went, and how it ended. Plain data and sums; no Django, no store.

A Record is made when a request begins and is its thread's (or task's) until finish(), after which nobody writes to it
and the aggregator reads it. Hooks find the one of their request by `current`.
"""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from typing import Final

SPAN_KINDS: Final = ("queue", "middleware", "view", "db", "pool", "cache", "template", "gc", "page_cache", "write")


class DatabaseUse:
    """What one request did with one database alias. Times in nanoseconds."""

    __slots__ = ("errors", "execute_ns", "queries", "rows", "wait_ns")

    def __init__(self) -> None:
        self.execute_ns = 0
        """In execute() and executemany(), without fetching."""
        self.wait_ns = 0
        """For a connection: to be given one by a pool, or to open one."""
        self.queries = 0
        self.rows = 0
        self.errors = 0


class CacheUse:
    """What one request did with one cache alias. Times in nanoseconds, without database time inside."""

    __slots__ = ("call_ns", "calls", "hits", "misses")

    def __init__(self) -> None:
        self.call_ns = 0
        self.calls = 0
        self.hits = 0
        self.misses = 0


class Record:
    """One request. Durations are nanoseconds of time.perf_counter_ns(); -1 is unknown, as under servers that do not
    tell."""

    __slots__ = (
        "aborted",
        "began_ns",
        "began_s",
        "body_bytes",
        "cache",
        "cpu_ns",
        "current_sql",
        "db",
        "exception",
        "gc_ns",
        "gc_runs",
        "method",
        "page_cache",
        "queries",
        "queue_ns",
        "request_id",
        "route",
        "spans",
        "spans_dropped",
        "stacks",
        "status",
        "streaming",
        "template_ns",
        "templates",
        "thread_id",
        "total_ns",
        "trace_id",
        "ttfb_ns",
        "write_ns",
    )

    def __init__(self, method: str) -> None:
        self.began_s = time.time()
        """Unix seconds; only to choose the minute that it counts for."""
        self.began_ns = time.perf_counter_ns()
        self.thread_id = threading.get_ident()
        self.method = method
        """One of the nine that are known, else `_OTHER`."""
        self.route = ""
        """The route's template, `/books/<int:pk>/`, or `(not found)`, `(redirect)`, `(middleware)`, `(bad request)`;
        empty until it is known."""
        self.status = 0
        self.exception = ""
        """Class of the exception that the view let through, with its module."""
        self.streaming = False
        self.aborted = False
        """The client left before the end."""
        self.ttfb_ns = -1
        """Until the response left the middleware: all of it, but for a stream's body."""
        self.total_ns = -1
        """Until the response was closed."""
        self.queue_ns = -1
        """Before it began: waiting for a thread."""
        self.write_ns = -1
        """After it ended: until the client had taken all."""
        self.cpu_ns = -1
        """Processor time of the thread; -1 for asynchronous requests."""
        self.body_bytes = -1
        self.db: dict[str, DatabaseUse] = {}
        self.cache: dict[str, CacheUse] = {}
        self.template_ns = 0
        """Rendering, without the database, cache, pool and collector time inside."""
        self.templates = 0
        self.gc_ns = 0
        self.gc_runs = 0
        self.page_cache = ""
        """What the response cache did: "hit", "stale", "miss", "bypass", "collapsed", "revalidated"; empty without."""
        # -- for slow samples
        self.spans: list[tuple[str, int, int, str]] = []
        """(kind of SPAN_KINDS, start after began_ns, duration, text: parameterless SQL, template name, cache call)."""
        self.spans_dropped = 0
        self.queries: dict[str, list[int | str]] = {}
        """Parameterless SQL -> [count, ns in all, call site "file:line in function", known only for repeated ones]."""
        self.stacks: list[str] = []
        """Stacks of the thread, sampled while it ran past the threshold."""
        self.request_id = ""
        self.trace_id = ""
        # -- while it runs, for the live view
        self.current_sql = ""

    @property
    def db_ns(self) -> int:
        """In statements, over all aliases."""
        return sum(use.execute_ns for use in self.db.values())

    @property
    def pool_wait_ns(self) -> int:
        """For connections, over all aliases."""
        return sum(use.wait_ns for use in self.db.values())

    @property
    def cache_ns(self) -> int:
        """In calls of Django's caches, over all aliases."""
        return sum(use.call_ns for use in self.cache.values())

    @property
    def accounted_ns(self) -> int:
        """All that is known to be something else than Python code: exclusive times, so that they add up."""
        return self.db_ns + self.pool_wait_ns + self.cache_ns + self.template_ns + self.gc_ns

    @property
    def python_ns(self) -> int:
        """The rest: views, middleware, serializers, waiting for the interpreter lock and for other services."""
        return max(0, self.total_ns - self.accounted_ns)


current: ContextVar[Record | None] = ContextVar("wsgiperf_record", default=None)
"""The record of the request that the running code belongs to; None outside of requests."""
