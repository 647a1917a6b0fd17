"""What a process tells of itself with each writing, as bytes and back: the rows of the page of workers.

The numbers of the server, the pools and the page cache come from their providers, whoever they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import payload, providers
from .results import ProcessRow
from .stores.base import Report

if TYPE_CHECKING:
    from .worker import Worker


def describe(worker: Worker, now_s: float) -> dict[str, Any]:
    """All about this process, ready for JSON."""
    load = providers.load()
    pools = providers.ask(providers.POOLS)
    return {
        "instance": worker.instance,
        "host": worker.host,
        "pid": os.getpid(),
        "release": worker.settings.release,
        "started_s": worker.started_s,
        "seen_s": now_s,
        "threads": load.get("threads"),
        "busy": load.get("busy"),
        "queued": load.get("queued"),
        "rss_bytes": resident_bytes(),
        "requests": worker.records,
        "server": providers.ask(providers.SERVER),
        "pools": list(pools) if pools else [],
        "page_cache": providers.ask(providers.PAGE_CACHE),
        "pipeline": worker.status(),
    }


def report_of(worker: Worker, now_s: float) -> Report:
    """The same for the store."""
    return Report(worker.instance, worker.host, int(now_s), payload.pack_json(describe(worker, now_s)))


def row(told: Any, *, reachable: bool) -> ProcessRow | None:
    """A description for those who ask; None when it is none."""
    try:
        return _row(told, reachable)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def rows(found: Iterable[Report]) -> Iterator[ProcessRow]:
    """What the store has of processes. What cannot be read is passed over: it will report again."""
    for report in found:
        try:
            told = payload.unpack_json(report.report)
        except payload.Unreadable:
            continue
        described = row(told, reachable=False)
        if described is not None:
            yield described


def _row(told: Mapping[str, Any], reachable: bool) -> ProcessRow:
    return ProcessRow(
        instance=str(told["instance"]),
        host=str(told["host"]),
        pid=int(told["pid"]),
        release=str(told.get("release", "")),
        started_s=float(told["started_s"]),
        seen_s=float(told["seen_s"]),
        threads=told.get("threads"),
        busy=told.get("busy"),
        queued=told.get("queued"),
        rss_bytes=told.get("rss_bytes"),
        requests=int(told.get("requests", 0)),
        server=told.get("server"),
        pools=tuple(told.get("pools") or ()),
        page_cache=told.get("page_cache"),
        pipeline=told.get("pipeline") or {},
        reachable=reachable,
    )


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
