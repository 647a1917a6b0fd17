"""How each measured server is started, and whether it is here. Knows commands; knows nothing of load or results.

Every server gets the same project, the same number of processes and of threads that may run a view, access log
off, and what it needs to keep idle connections open. Everything else stays at the server's own defaults.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.common.places import PROJECT, ROOT, THREADS

APPLICATION = "benchsite.wsgi:application"
#: Long enough that nobody closes an idle connection during a run.
IDLE_S = 600

OURS, LIMIT, GTHREAD, WAITRESS, UWSGI, GRANIAN = "serve", "limit", "gthread", "waitress", "uwsgi", "granian"
UWSGI_SOCKET = "uwsgi-socket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What one start of a server is for. `idle` is how many unused connections it must be able to keep."""

    port: int
    workers: int = 1
    path: str = "/small"
    idle: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server under comparison. `package` is the distribution whose version is shown."""

    name: str
    title: str
    package: str
    command: Callable[[Launch], list[str]]
    max_workers: int = 64
    overlaps: bool = True
    keeps_idle: bool = True

    def version(self) -> str:
        """Give the version, or nothing when the server is not installed."""
        if self.name == OURS:
            return "of this tree"
        try:
            return importlib.metadata.version(self.package) if self.package else ""
        except importlib.metadata.PackageNotFoundError:
            return ""

    def missing(self) -> str:
        """Say why this server cannot be started here; empty when it can."""
        if self.name == LIMIT:
            return ""
        if self.name == OURS:
            spec = importlib.util.find_spec("django_wsgiperf.management.commands.serve")
            return "" if spec else "django_wsgiperf has no serve command yet"
        if not self.version():
            return f"the package {self.package} is not installed"
        if self.package == "uWSGI" and not uwsgi_program():
            return "the uwsgi program is not beside the interpreter or on the path"
        return ""


def uwsgi_program() -> str:
    """Give the path of the uwsgi program, or nothing."""
    beside = Path(sys.executable).with_name("uwsgi")
    return str(beside) if beside.exists() else shutil.which("uwsgi") or ""


def serve(launch: Launch) -> list[str]:
    return [
        sys.executable, "manage.py", "serve", launch.address,
        "--threads", str(THREADS), "--workers", str(launch.workers),
    ]  # fmt: skip


def limit(launch: Launch) -> list[str]:
    return [
        sys.executable, "-m", "tests.benchmarks.serving.limit",
        str(launch.port), str(launch.workers), launch.path,
    ]  # fmt: skip


def gthread(launch: Launch) -> list[str]:
    command = [
        sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--bind", launch.address,
        "--threads", str(THREADS), "--workers", str(launch.workers), "--log-level", "warning",
    ]  # fmt: skip
    if launch.idle:
        command += ["--worker-connections", str(launch.idle + 1000), "--keep-alive", str(IDLE_S)]
    return [*command, APPLICATION]


def waitress(launch: Launch) -> list[str]:
    command = [sys.executable, "-m", "waitress", f"--listen={launch.address}", f"--threads={THREADS}"]
    if launch.idle:
        # select() stops at 1,024 descriptors, and the default limit is 100 connections.
        command += ["--asyncore-use-poll", f"--connection-limit={launch.idle + 1000}", f"--channel-timeout={IDLE_S}"]
    return [*command, APPLICATION]


def uwsgi(launch: Launch) -> list[str]:
    # uWSGI's HTTP router keeps connections and hands requests to the threads over a socket of its own. Without it,
    # --http11-socket ties a thread to each connection, so that 12 threads leave 20 of 32 clients unanswered.
    return [
        *uwsgi_base(launch), "--http", launch.address, f"--http-keepalive={IDLE_S}", f"--http-timeout={IDLE_S}",
        "--socket", "127.0.0.1:0",
        *(("--http-events", "1024", "--max-fd", str(launch.idle + 4096)) if launch.idle else ()),
    ]  # fmt: skip


def uwsgi_socket(launch: Launch) -> list[str]:
    # No router: one process less, but the socket is closed after each response, and says so.
    return [*uwsgi_base(launch), "--http-socket", launch.address, "--add-header", "Connection: close"]


def uwsgi_base(launch: Launch) -> list[str]:
    return [
        uwsgi_program(), "--master", "--die-on-term", "--need-app", "--module", APPLICATION,
        "--processes", str(launch.workers), "--threads", str(THREADS), "--listen", "1024", "--disable-logging",
        "--pythonpath", str(PROJECT), "--pythonpath", str(ROOT),
        *(("--virtualenv", sys.prefix) if sys.prefix != sys.base_prefix else ()),
    ]  # fmt: skip


def granian(launch: Launch) -> list[str]:
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(launch.port),
        "--workers", str(launch.workers), "--blocking-threads", str(THREADS), "--no-log",
    ]  # fmt: skip
    if launch.idle:
        # Every open connection holds a permit, so there must be more of them than connections.
        command += ["--backpressure", str(launch.idle + 1000), "--http1-header-read-timeout", "60000"]
    return [*command, APPLICATION]


SERVERS = {
    server.name: server
    for server in (
        Server(name=LIMIT, title="the limit", package="", command=limit, overlaps=False),
        Server(name=OURS, title="serve", package="django-wsgiperf", command=serve),
        Server(name=GTHREAD, title="gunicorn gthread", package="gunicorn", command=gthread),
        Server(name=WAITRESS, title="waitress", package="waitress", command=waitress, max_workers=1),
        Server(name=UWSGI, title="uWSGI", package="uWSGI", command=uwsgi),
        Server(name=UWSGI_SOCKET, title="uWSGI, no router", package="uWSGI", command=uwsgi_socket, keeps_idle=False),
        Server(name=GRANIAN, title="granian", package="granian", command=granian),
    )
}
