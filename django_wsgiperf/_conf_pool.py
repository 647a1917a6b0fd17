"""The table of `WSGIPERF["POOL"]`: how the pools of database connections behave.

It holds for every database of a pooled ENGINE; `DATABASES[alias]["POOL"]` says otherwise for one of them, which
db/settings.py puts on top. Each field is one option; conf.py reads, checks and shows them all alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django_wsgiperf._conf_errors import Conflict
from django_wsgiperf._conf_options import Format, Section, option


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings(Section):
    """`WSGIPERF["POOL"]`: how the pools of database connections behave."""

    max_size: int = option(
        0,
        "connections of a pool at most, in each process; 0 is as many as serve has threads, and 10 elsewhere",
        group="How many connections",
        min=0,
        max=10_000,
    )
    min_idle: int = option(0, "idle connections that are kept ready, opened in the background", min=0, max=10_000)
    prewarm: int = option(
        0,
        "connections that a worker of serve opens, in parallel, before it accepts; MIN_IDLE are in any case",
        min=0,
        max=10_000,
    )

    acquire_timeout_s: float = option(
        5.0, "longest wait for a connection before OperationalError", group="Waiting for a connection", min=0.001
    )
    max_waiters: int = option(
        0, "threads that may wait for a connection; further ones fail at once; 0 is no bound", min=0, max=100_000
    )

    max_lifetime_s: float = option(1800.0, "age at which a connection is replaced; 0 turns it off", group="Age", min=0)
    lifetime_jitter: float = option(
        0.05, "random share taken off MAX_LIFETIME_S, so that connections do not end together", min=0, max=0.9
    )
    idle_timeout_s: float = option(
        600.0, "time without use after which a connection above MIN_IDLE is closed; 0 turns it off", min=0
    )

    keepalive_s: float = option(
        0.0, "time without use after which an idle connection is asked for life; 0 turns it off", group="Health", min=0
    )
    bypass_window_s: float = option(
        0.5, "time after its last use in which a connection is handed out without being asked for life", min=0
    )
    validate: str = option(
        "",
        "dotted path of a function that is given the driver's connection, and says whether it may be handed out",
        format=Format.DOTTED_PATH,
    )
    evict_on: tuple[str, ...] = option(
        ("25006", "57P01", "57P02", "1053", "1290", "1836"),
        "errors that tell of a fail-over, SQLSTATEs or MySQL's numbers, upon which every older connection is replaced",
        format=Format.DATABASE_ERROR,
    )

    reset: str = option(
        "auto",
        "what is undone of a session when its connection comes back",
        group="From one request to the next",
        choices=("auto", "hard", "rollback"),
    )
    release: str = option(
        "response", "when a request gives its connection back", choices=("response", "request", "transaction")
    )

    leak_threshold_s: float = option(
        0.0,
        "time after which whoever holds a connection is logged with its stack; 0 turns it off",
        group="Finding leaks",
        min=0,
    )

    def conflicts(self) -> Iterator[Conflict]:
        """The combinations that cannot be meant."""
        for name in ("min_idle", "prewarm"):
            if 0 < self.max_size < getattr(self, name):
                yield Conflict(
                    (name, "max_size"),
                    f"{name.upper()} is more than the pool may hold",
                    f"write at most {self.max_size}, or a larger MAX_SIZE",
                )
