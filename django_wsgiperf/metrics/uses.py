"""What a record counts by alias, of databases and caches, and how far it may grow. Plain sums."""

from __future__ import annotations


class DatabaseUse:
    """What one request did with one database alias. Times in nanoseconds."""

    __slots__ = ("errors", "execute_ns", "queries", "rows", "uncounted", "wait_ns")

    def __init__(self) -> None:
        self.execute_ns = 0
        """In execute(), executemany() and callproc(), without fetching."""
        self.wait_ns = 0
        """For a connection: to be given one by a pool, or to open one."""
        self.queries = 0
        self.rows = 0
        """Returned or changed, of the statements of which the driver says so."""
        self.uncounted = 0
        """Statements that gave rows, of which it does not say how many: each SELECT of SQLite."""
        self.errors = 0


class CacheUse:
    """What one request did with one cache alias. Times in nanoseconds, without database time inside."""

    __slots__ = ("call_ns", "calls", "hits", "misses")

    def __init__(self) -> None:
        self.call_ns = 0
        self.calls = 0
        self.hits = 0
        self.misses = 0


class Limits:
    """What a record may grow to."""

    __slots__ = ("max_spans", "repeats")

    def __init__(self, max_spans: int = 64, repeats: int = 5) -> None:
        self.max_spans = max_spans
        self.repeats = repeats
        """From so many equal statements on it is asked where they come from."""
