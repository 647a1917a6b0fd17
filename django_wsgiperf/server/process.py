"""What concerns a process as a whole: what must not cross a fork, its memory, its log, its end.

Knows Django's database connections, and the metrics, by name only when the application has loaded them; no sockets, no
requests.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ledger import Ledger

logger = logging.getLogger("django_wsgiperf.server")

_LEDGER_MIN_BYTES = 262_144
_LEDGER_ROUTE_BYTES = 4096
"""The sums of a route take a tenth of that when they are packed."""
_LAST_FLUSH_S = 2.0

is_stray = False
"""This process was forked by a request, and shares the sockets of its worker."""


def go_astray() -> None:
    """In a child that a request's thread has forked: whatever comes back from the application is to end."""
    global is_stray
    is_stray = True


def end_stray() -> None:
    """The application has returned, or raised, in such a child: it would answer the request a second time, and take
    part in the worker's work."""
    logger.error(
        "A process that a request has forked came back to the server, and is ended. Let it end by os._exit(), or start "
        "it by the modules subprocess or multiprocessing."
    )
    os._exit(70)


def open_standard_streams() -> None:
    """Put the null device where this process was started with standard input, output or error closed.

    Else a file or a connection of its own gets their number, and then what is meant for them: the access log, say."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # The smallest number that is free.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - to the end of the process


def close_django_connections() -> None:
    """Close the calling thread's database connections: it ends, or its process is about to be forked.

    A connection that two processes use is broken for both, and one that nobody uses is one too many."""
    if "django.db" in sys.modules:
        from django.core.exceptions import ImproperlyConfigured
        from django.db import connections

        try:
            connections.close_all()
        except ImproperlyConfigured:
            pass  # There is no database; DATABASES was never read.
        except Exception:
            logger.warning("A database connection could not be closed", exc_info=True)


def close_database_pools() -> None:
    """In the master before a fork: what pools opened while the application was loaded is of no use to anybody."""
    if "django_wsgiperf.db.registry" in sys.modules:
        from django_wsgiperf.db import registry

        registry.close_all()


def begin_with_databases() -> None:
    """In a worker before it accepts: have the pools of database connections warmed."""
    from django.conf import settings

    if settings.configured:
        from django_wsgiperf.db import serving

        serving.begin()


def warn_of_threads() -> None:
    """In the master before the first fork: name the threads that will be missing in the workers."""
    names = sorted(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
    if names:
        logger.warning(
            "The application started threads while it was loaded (%s). They do not exist in the worker processes. "
            "Start them when they are first needed, for example in the first request.",
            ", ".join(names),
        )


def resident_bytes() -> int:
    """Resident memory of this process; its peak where the system does not tell the present."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def adopt_log_handlers() -> None:
    """Where the project configures no logging for us, our messages go where gunicorn's go."""
    ours, theirs = logging.getLogger("django_wsgiperf"), logging.getLogger("gunicorn.error")
    if not ours.hasHandlers():
        for handler in theirs.handlers:
            ours.addHandler(handler)
        ours.setLevel(theirs.level)
        ours.propagate = False


def show_stacks_on_abort() -> None:
    """Have every thread's stack written to stderr when the master aborts this process for its silence.

    That works while a call holds the interpreter lock, when nothing in Python can tell what is going on."""
    if not faulthandler.is_enabled():
        try:
            faulthandler.enable()
        except (OSError, ValueError, RuntimeError, AttributeError):
            logger.debug("There is no stderr to write stacks to", exc_info=True)


def ledger_bytes() -> int:
    """In the master: how much each worker may have to write down of what it counts."""
    from django.conf import settings

    from django_wsgiperf import conf

    try:
        routes = conf.current("METRICS").values.max_routes if settings.configured else 0
    except conf.ConfigurationError:
        routes = 0  # The worker says what is wrong.
    return max(_LEDGER_MIN_BYTES, routes * _LEDGER_ROUTE_BYTES)


def meet_the_others(ledger: Ledger, place: int) -> None:
    """In a worker before it accepts: take part in what the project's processes on this host ask each other, and go on
    counting from what was counted at `place`."""
    from django.conf import settings

    if settings.configured:
        from django_wsgiperf import control
        from django_wsgiperf.metrics import cumulative

        if ledger.has(place):
            cumulative.take_seat(ledger, place)
        control.start()


def begin_with_metrics() -> None:
    """In a worker before it accepts: report it, though it may have no request for long. Where requests are measured."""
    if "django_wsgiperf.metrics.instruments" in sys.modules:
        from django_wsgiperf.metrics import instruments, pipeline

        if instruments.is_installed():
            pipeline.start()


def write_down_counts(*, last: str = "") -> None:
    """In a worker: have the ledger up to date, should this process be killed. `last`: nothing more will be counted,
    since there is a "stop" or a "recycle"."""
    if "django_wsgiperf.metrics.cumulative" in sys.modules:
        from django_wsgiperf import conf
        from django_wsgiperf.metrics import cumulative, pipeline

        if last and conf.current("METRICS").values.enabled:
            pipeline.shutdown(_LAST_FLUSH_S, kind=last)
        cumulative.publish()


def leave_the_others() -> None:
    """Take part no longer."""
    if "django_wsgiperf.control" in sys.modules:
        from django_wsgiperf import control

        control.stop()


def leave_within(seconds: float) -> None:
    """See that this process ends soon, though the application's own threads may go on: Python waits for them."""

    def give_up() -> None:
        names = sorted(t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread())
        logger.warning("Process %d does not wait for threads of the application: %s", os.getpid(), ", ".join(names))
        leave()

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()


def leave() -> None:
    """End this process now, whatever its threads are doing: they may be inside the application for ever."""
    leave_the_others()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    os._exit(0)
