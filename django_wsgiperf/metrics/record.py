"""One measured request: what it is, where its time went, and how it ended. Plain data and sums; no Django, no store.

A Record is made when a request begins and is its own until end(), after which nobody writes to it and the aggregator
reads it. Instruments (instruments.py) find the one of their request by `current`, and add to it through enter() and
leave(), which keep its times exclusive: they never count the same nanosecond twice, and add up to the whole.

The invariant: `accounted_ns` and what it sums are written only by the thread that has the seat: it has taken the one
thing out of `seat`, which is atomic, and left its number in `seated`. Its instruments nest; a thread that comes while
another is inside adds no time, which the other's already covers, and leaves its counts in `beside`, to be added at the
end. A lock of the threading module would take twice as long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from threading import get_ident
from types import MappingProxyType
from typing import Any, Final

from .uses import CacheUse, DatabaseUse, Limits

SPAN_KINDS: Final = ("queue", "middleware", "view", "db", "pool", "cache", "template", "gc", "page_cache", "write")
MAX_BESIDE: Final = 10_000
"""So many counts of other threads are kept at most for one request."""
MAX_STATEMENTS: Final = 500
"""So many different statements of one request are remembered, to tell which are repeated. All are counted."""

Span = tuple[str, int, int, str]

_USUAL = Limits()
_NOTHING: Final[Any] = MappingProxyType({})
"""What a request has that asked no database or cache. Those that end wait for the aggregator by the thousand: what they
do not need is not made, for its memory is the dearest of it."""
_making = threading.Lock()
"""Guards the making of a record's `beside`, which few have."""


class Record:
    """One request. Durations are nanoseconds of time.perf_counter_ns(); -1 is unknown, as under servers that do not
    tell."""

    # What nearly every request writes has a slot; the rest is of the class until it is written.
    __slots__ = (
        "__dict__",
        "accounted_ns",
        "began_ns",
        "began_s",
        "beside",
        "body_bytes",
        "cache",
        "cpu_began_ns",
        "cpu_ns",
        "current_sql",
        "db",
        "details",
        "limits",
        "method",
        "nested",
        "page_cache",
        "phases_due",
        "queries",
        "queue_ns",
        "request",
        "request_id",
        "route",
        "seat",
        "seated",
        "status",
        "task",
        "thread_id",
        "total_ns",
        "ttfb_ns",
        "view_began_ns",
        "view_ended_ns",
        "write_ns",
    )

    path: str = ""
    """For the log alone: never stored, since it may hold a secret."""
    exception: str = ""
    """Class of the exception that the view or a middleware let through, with its module; not those that Django
    answers with 4xx."""
    streaming: bool = False
    aborted: bool = False
    """The client left before the end."""
    template_ns: int = 0
    """Rendering, without the database, cache, pool and collector time inside."""
    templates: int = 0
    gc_ns: int = 0
    gc_runs: int = 0
    spans_dropped: int = 0
    stacks: Sequence[str] = ()
    """Stacks of the thread, sampled while it ran past the threshold."""
    trace_id: str = ""
    first_byte_parts: tuple[int, int, int, int, int] | None = None
    """Of a stream: db, pool, cache, template and gc time when its head was ready."""

    def __init__(self, method: str, limits: Limits = _USUAL, request: Any = None) -> None:
        self.began_s = time.time()
        """Unix seconds; only to choose the minute that it counts for."""
        self.thread_id = get_ident()
        """Of the thread that works on it, for its stack; 0 while an asynchronous request has none of its own."""
        self.method = method
        """One of the nine that are known, else `_OTHER`."""
        self.route = ""
        """The route's template, `/books/<int:pk>/`, or `(not found)`, `(redirect)`, `(middleware)`, `(bad request)`;
        empty until it is known."""
        self.status = 0
        """499 when the client left before there was a response, 504 when the server interrupted it."""
        self.ttfb_ns = -1
        """Until the response left the middleware: all of it, but for a stream's body."""
        self.total_ns = -1
        """Until the response was closed; the last field to be set."""
        self.queue_ns = -1
        """Before it began: waiting for a thread."""
        self.write_ns = -1
        """Of the time between the two above, what was not spent making a stream's body: the server sends it, and
        waits for the client where it has to."""
        self.cpu_ns = -1
        """Processor time of the thread; -1 for asynchronous requests."""
        self.body_bytes = -1
        self.page_cache = ""
        """What the response cache did: "hit", "stale", "miss", "bypass", "collapsed", "revalidated"; empty without."""
        self.db: dict[str, DatabaseUse] = _NOTHING
        self.cache: dict[str, CacheUse] = _NOTHING
        self.accounted_ns = 0
        """All that is known to be something else than Python code: the sum of the exclusive times above."""
        # -- for slow samples
        self.limits = limits
        self.details: Sequence[Span] = ()
        self.phases_due = False
        """It has ended, and nobody has asked for its spans yet."""
        self.queries: dict[str, list[Any]] = _NOTHING
        """Parameterless SQL -> [count, ns in all, call site "file:line in function", known only for repeated ones]."""
        self.view_began_ns = 0
        """On the clock of began_ns; 0 while there is none."""
        self.view_ended_ns = 0
        self.request_id = ""
        # -- while it runs
        self.task: Any = None
        """The asyncio task that runs it, if one does."""
        self.beside: list[Callable[[], None]] | None = None
        self.current_sql = ""
        self.request = request
        """The HttpRequest, to name its route for the live view before it has ended."""
        self.seat = [True]
        """Empty while a thread has it."""
        self.seated = 0
        """That thread's number: only one that finds its own here need believe it."""
        self.nested = 0
        """How many of its instruments are inside of its first."""
        self.cpu_began_ns = -1
        self.began_ns = time.perf_counter_ns()

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """A request that somebody pickles or copies has its record with it, which there is none of elsewhere: None."""
        return type(None), ()

    # -- for instruments

    def enter(self) -> bool:
        """Whether the calling thread may add time until leave(): nobody else does, and the request has not ended.

        An instrument notes `accounted_ns` at its beginning. At its end, what has been added since is not its own."""
        if self.total_ns >= 0:
            return False
        thread_id = get_ident()
        if self.seated == thread_id:
            self.nested += 1
            return True
        try:
            self.seat.pop()
        except IndexError:
            return False
        self.seated = thread_id
        return True

    def leave(self) -> None:
        """The end of what a successful enter() began."""
        if self.nested:
            self.nested -= 1
        else:
            self.seated = 0
            self.seat.append(True)

    def add_beside(self, count: Callable[[], None]) -> None:
        """Have `count` called at the end: by a thread that was refused the seat. Atomic, as list.append() is."""
        if self.total_ns >= 0:
            return
        if self.beside is None:
            with _making:
                self.beside = self.beside or []
        if len(self.beside) < MAX_BESIDE:
            self.beside.append(count)

    def add_span(self, kind: str, began_ns: int, duration_ns: int, text: str) -> None:
        """Keep a span, if there is room."""
        span = kind, began_ns - self.began_ns, duration_ns, text
        if len(self.details) >= self.limits.max_spans:
            self.spans_dropped += 1
        elif isinstance(self.details, list):
            self.details.append(span)
        else:
            self.details = [span]

    def add_statement(self, text: str, duration_ns: int) -> None:
        """Remember a statement that there has been none of, if there is room."""
        if self.queries is _NOTHING:
            self.queries = {}
        if len(self.queries) < MAX_STATEMENTS:
            self.queries[text] = [1, duration_ns, ""]

    def database(self, alias: str) -> DatabaseUse:
        """The sums of a database alias."""
        use = self.db.get(alias)
        if use is None:
            if self.db is _NOTHING:
                self.db = {}
            use = self.db[alias] = DatabaseUse()
        return use

    def cached(self, alias: str) -> CacheUse:
        """The sums of a cache alias."""
        use = self.cache.get(alias)
        if use is None:
            if self.cache is _NOTHING:
                self.cache = {}
            use = self.cache[alias] = CacheUse()
        return use

    # -- the end

    def end(self, now_ns: int) -> None:
        """The response is closed: complete the record. Once."""
        if self.beside is not None:
            for count in self.beside:
                count()
            self.beside = None
        self.current_sql = ""
        self.request = None
        self.task = None
        self.phases_due = True
        self.cpu_began_ns = -1
        self.total_ns = now_ns - self.began_ns

    @property
    def spans(self) -> list[Span]:
        """(kind of SPAN_KINDS, start after began_ns, duration, text: parameterless SQL, template name, cache call).

        Times of spans contain those of the spans inside; what a request waited in the queue starts below 0. Those of
        the middleware, the view and the like are there when it has ended, and not among `max_spans`."""
        spans = self.details
        if not isinstance(spans, list):
            spans = self.details = list(spans)
        if self.phases_due:
            # Most records are never looked at so closely.
            self.phases_due = False
            self._add_phases(spans)
        return spans

    @spans.setter
    def spans(self, spans: list[Span]) -> None:
        self.details = spans

    def _add_phases(self, spans: list[Span]) -> None:
        total_ns = self.total_ns
        ttfb_ns = self.ttfb_ns if self.ttfb_ns >= 0 else total_ns
        if self.queue_ns > 0:
            spans.append(("queue", -self.queue_ns, self.queue_ns, ""))
        if self.view_began_ns:
            view_began = self.view_began_ns - self.began_ns
            view_ended = self.view_ended_ns - self.began_ns if self.view_ended_ns else ttfb_ns
            spans.append(("middleware", 0, view_began, ""))
            spans.append(("view", view_began, view_ended - view_began, ""))
            spans.append(("middleware", view_ended, ttfb_ns - view_ended, ""))
        else:
            spans.append(("middleware", 0, ttfb_ns, ""))
        if self.write_ns > 0:
            spans.append(("write", ttfb_ns, total_ns - ttfb_ns, ""))

    # -- sums

    @property
    def db_ns(self) -> int:
        """In statements, over all aliases."""
        # tuple() takes all at once, should a thread that outlives its request add an alias just now.
        return sum([use.execute_ns for use in tuple(self.db.values())])

    @property
    def pool_wait_ns(self) -> int:
        """For connections, over all aliases."""
        return sum([use.wait_ns for use in tuple(self.db.values())])

    @property
    def cache_ns(self) -> int:
        """In calls of Django's caches, over all aliases."""
        return sum([use.call_ns for use in tuple(self.cache.values())])

    @property
    def python_ns(self) -> int:
        """The rest of total_ns: views, middleware, serializers, waiting for the interpreter lock and for other
        services."""
        return max(0, self.total_ns - self.accounted_ns - max(0, self.write_ns))

    def parts_ns(self) -> dict[str, int]:
        """The parts of the response time by the names of results.BREAKDOWN. They exclude each other.

        Their sum is queue_ns + total_ns; of a stream, without the time in which its body was made."""
        parts = self.first_byte_parts or self.accounts()
        db, pool, cache, template, collector = parts
        python = self.python_ns if self.first_byte_parts is None else max(0, self.ttfb_ns - sum(parts))
        return {
            "queue": max(0, self.queue_ns),
            "python": python,
            "db": db,
            "pool": pool,
            "cache": cache,
            "template": template,
            "gc": collector,
            "write": max(0, self.write_ns),
        }

    def report(self) -> dict[str, Any]:
        """What an access log may say of it, in milliseconds and counts; None is what is not known."""
        uses = tuple(self.cache.values())
        return {
            "request_id": self.request_id,
            "trace_id": self.trace_id,
            "route": self.route,
            "ttfb_ms": _ms(self.ttfb_ns),
            "queue_ms": _ms(self.queue_ns),
            "cpu_ms": _ms(self.cpu_ns),
            "db_ms": _ms(self.db_ns),
            "queries": sum([use.queries for use in tuple(self.db.values())]),
            "pool_ms": _ms(self.pool_wait_ns),
            "cache_ms": _ms(self.cache_ns),
            "cache_hits": sum([use.hits for use in uses]),
            "cache_misses": sum([use.misses for use in uses]),
            "template_ms": _ms(self.template_ns),
            "page_cache": self.page_cache,
            "exception": self.exception,
            "aborted": self.aborted,
        }

    def accounts(self) -> tuple[int, int, int, int, int]:
        """Database, pool, cache, template and collector time until now."""
        return self.db_ns, self.pool_wait_ns, self.cache_ns, self.template_ns, self.gc_ns


def _ms(duration_ns: int) -> float | None:
    return round(duration_ns / 1e6, 3) if duration_ns >= 0 else None


current: ContextVar[Record | None] = ContextVar("wsgiperf_record", default=None)
"""The record of the request that the running code belongs to; None outside of requests."""
