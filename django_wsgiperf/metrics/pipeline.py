"""What the request path hands its records to: bounded queues in memory, which never block a request and never raise.

begin() when a request starts; submit() when it is over, or forget() when it does not count; page_cache_hit() for
answers that never reached Django. A thread of this process (worker.py) sums and writes what comes in. It is started
with the first record, in each process anew, for threads do not survive a fork.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from django_wsgiperf import conf
from django_wsgiperf.conf import MetricsSettings
from django_wsgiperf.instance import host, instance

from .minute import Hit
from .modes import mode
from .record import Record
from .stores import open_store
from .stores.base import Store
from .stores.memory import MemoryStore
from .tally import Tally
from .worker import Worker

__all__ = [
    "begin",
    "cumulative",
    "flush",
    "forget",
    "instance",
    "page_cache_hit",
    "page_cache_hit_at_once",
    "running",
    "shutdown",
    "start",
    "status",
    "submit",
    "worker",
]

logger = logging.getLogger("django_wsgiperf.metrics")

running: dict[Record, Record] = {}
"""Records of requests that run now, the oldest first. By themselves: a set that keeps an order."""

_lock = threading.RLock()
"""Guards the making of _worker. Reentrant: the collector may run in any line, and with it the end of a request."""
_worker: Worker | None = None
_failed = False
_EXIT_S = 2.0
OWN_ROUTE: Final = "(wsgiperf)"
"""Requests for the admin's performance pages, which would show little else than themselves on a quiet site."""


def begin(record: Record) -> None:
    """A request has begun: it is seen among those that run."""
    running[record] = record


def forget(record: Record) -> None:
    """A request is not to be counted."""
    running.pop(record, None)


def submit(record: Record) -> None:
    """A request is over and its record complete. Nobody may write to it any more. Those of OWN_ROUTE do not count."""
    running.pop(record, None)
    if record.route == OWN_ROUTE:
        return
    try:
        (_worker or worker()).put(record)
    except Exception:
        _say_once()


def page_cache_hit(
    route: str, method: str, status: int, body_bytes: int, duration_ns: int, outcome: str, queue_ns: int = -1
) -> None:
    """An answer that never reached Django. `outcome` as in Record.page_cache; `queue_ns` is -1 where nobody tells."""
    try:
        (_worker or worker()).put_hit(
            Hit(time.time(), route, method, status, body_bytes, duration_ns, outcome, queue_ns)
        )
    except Exception:
        _say_once()


def page_cache_hit_at_once(route: str, status: int, body_bytes: int, duration_ns: int) -> None:
    """As page_cache_hit(), for the thread that all others wait for; see Worker.count_hit()."""
    try:
        (_worker or worker()).count_hit(route, status, body_bytes, duration_ns)
    except Exception:
        _say_once()


def worker() -> Worker:
    """The part of this process that sums and writes, made on first use. Raises ConfigurationError."""
    global _worker
    with _lock:
        if _worker is None:
            settings = conf.current("METRICS").values
            _worker = Worker(
                settings,
                _open_store,
                instance=instance(),
                host=settings.host or host(),
                mode=mode() if settings.enabled else "off",
                on_start=_listen,
            )
        return _worker


def _open_store(settings: MetricsSettings) -> Store:
    """The store of the settings. Tests that do not name one have theirs in memory, and no database is touched."""
    if mode() != "tests":
        return open_store(settings)
    if conf.current("METRICS").origins["store"].source is conf.Source.DEFAULT:
        return MemoryStore()
    return open_store(settings, own_connection=False)


def _listen() -> None:
    """Answer the project's other processes from now on, and send numbers where that is wanted."""
    from . import exports, query_live

    if threading.main_thread().is_alive():  # Else the process is ending, and has no more threads to start.
        query_live.listen()
        exports.begin()


def start() -> None:
    """Report this process though it has had no request yet. Never raises."""
    try:
        worker().start()
    except Exception:
        _say_once()


def flush(timeout_s: float = 2.0) -> bool:
    """Sum and write now what has come in; False when that did not succeed in time."""
    try:
        return worker().flush(timeout_s)
    except Exception:
        _say_once()
        return False


def shutdown(timeout_s: float = _EXIT_S, *, kind: str = "stop") -> None:
    """This process ends: write what there is, end the thread, and then have the last numbers sent where that is wanted.

    `kind` of the mark: "stop" or "recycle"."""
    from . import exports

    found = _worker
    try:
        if found is not None:
            found.shutdown(timeout_s, kind=kind)
        exports.end()
    except Exception:
        _say_once()


def status() -> dict[str, Any]:
    """How the metrics themselves fare; see Worker.status()."""
    return worker().status()


def cumulative() -> Tally:
    """All that this process has counted since it started, without samples. A copy."""
    return worker().cumulative()


def _say_once() -> None:
    global _failed
    if not _failed:
        _failed = True
        logger.error("Requests are not counted", exc_info=True)


def _after_fork_in_child() -> None:
    """What the parent has counted is the parent's to write."""
    global _lock, _worker, _failed
    _lock = threading.RLock()
    _worker, _failed = None, False
    running.clear()


def _at_exit() -> None:
    shutdown()


@receiver(setting_changed, dispatch_uid="django_wsgiperf.metrics.pipeline")
def _on_setting_changed(*, setting: str, **_: object) -> None:
    global _worker, _failed
    if setting in ("WSGIPERF", "DATABASES", "CACHES"):
        with _lock:
            found, _worker, _failed = _worker, None, False
        if found is not None:
            found.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
_ = django_settings
