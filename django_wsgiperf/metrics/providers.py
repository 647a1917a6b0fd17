"""What other parts of the project tell about this process when they are asked: the server, the pools, the page cache.

They register a function by name; the metrics know none of them. Plain Python, to be imported by anybody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

logger = logging.getLogger("django_wsgiperf.metrics")

LOAD: Final = "load"
"""Asked each second: the numbers "threads", "busy", "queued" and "queue_peak" of this process, as a dictionary."""
SERVER: Final = "server"
"""Asked at each report: the worker's numbers, as in /-/stats."""
POOLS: Final = "pools"
"""Asked at each report: a list of Pool.snapshot()."""
PAGE_CACHE: Final = "page_cache"
"""Asked at each report: Engine.numbers()."""
INTERRUPT: Final = "interrupt"
"""Told a key of a running request: whether it could be interrupted."""
ASIDE: Final = "aside"
"""Told by a thread that runs a request and is about to wait for another: whether the server has put another thread in
its place, so that it may."""
SLOTS: Final = "slots"
"""Asked by the live view: `{thread id: (slot, whether it can be interrupted)}` of threads that run a request."""

_providers: dict[str, Callable[..., Any]] = {}
_failed: set[str] = set()


def provide(name: str, function: Callable[..., Any]) -> None:
    """From now on `function` tells what `name` is about. It may be called by any thread, and is to be quick."""
    _providers[name] = function


def withdraw(name: str) -> None:
    """Nobody tells any more."""
    _providers.pop(name, None)


def ask(name: str, *arguments: Any) -> Any:
    """What the provider tells; None where there is none, or it fails, which is logged once."""
    function = _providers.get(name)
    if function is None:
        return None
    try:
        return function(*arguments)
    except Exception:
        if name not in _failed:
            _failed.add(name)
            logger.warning("The numbers of %r are missing from the metrics", name, exc_info=True)
        return None


def load() -> Mapping[str, Any]:
    """The threads of this process and what waits for them; empty where the server does not tell."""
    found = ask(LOAD)
    return found if isinstance(found, Mapping) else {}
