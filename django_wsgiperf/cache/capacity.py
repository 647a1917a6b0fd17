"""How many threads of this process's server may wait for a page that another makes: for flight.py.

By how many it has, as it says itself; what it does not say is not guessed. Reads the environ and what servers leave in
the process; imports no server.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from typing import Any

from django_wsgiperf import conf


def waiters_in(environ: Mapping[str, Any]) -> int | None:
    """Of a server of ours half, since it has others wait beside its pool. Of another all but the one that makes the
    page: who may not wait makes it, too, which takes a thread for longer than to wait. None where nobody says."""
    own = conf.serving_threads()
    if own is not None:
        return own // 2
    if environ.get("wsgi.multithread") is False:
        return 0
    for ask in (_waitress, _gunicorn, _uwsgi):
        threads = ask(environ)
        if threads is not None:
            return threads - 1
    return None


def _waitress(environ: Mapping[str, Any]) -> int | None:
    """Its channel is the object of a method in the environ, and has the server's settings."""
    channel = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
    return _count(getattr(getattr(channel, "adj", None), "threads", None))


def _gunicorn(environ: Mapping[str, Any]) -> int | None:
    """The worker handles the signals of its process. Other workers than gthread have no such threads."""
    module = sys.modules.get("gunicorn.workers.gthread")
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if module is None or not isinstance(worker, module.ThreadWorker):
        return None
    return _count(worker.cfg.threads)


def _uwsgi(environ: Mapping[str, Any]) -> int | None:
    """The module that it puts into its processes has its options, as bytes."""
    options = getattr(sys.modules.get("uwsgi"), "opt", {})
    # With several interpreters or apps a key may be there more than once.
    found = options.get(b"threads", options.get("threads"))
    return _count(found[-1] if isinstance(found, list) and found else found)


def _count(found: object) -> int | None:
    """A number of threads, however it is written."""
    if isinstance(found, bytes | str | int) and not isinstance(found, bool):
        try:
            return max(1, int(found))
        except ValueError:
            return None
    return None
