"""Options to a gunicorn application: what `manage.py serve` runs.

gunicorn is the process manager (signals, fork, sockets, pid file); this module tells it what to do and teaches its
master four things: to start a worker's successor before the worker goes, to go on listening while it drains, to leave
socket files alone that are not its own, and to tell systemd how it fares.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gunicorn import sock
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from django_wsgiperf.conf import ServerSettings

from . import process
from .gateway import WSGIApplication
from .listening import ListeningError, tls_context
from .scoreboard import Scoreboard
from .systemd import Notifier
from .worker import PooledWorker

logger = logging.getLogger("django_wsgiperf.server")

_QUICK_S = 5.0
"""So long a worker may take to end that is not to finish anything."""
_HOUSEKEEPING = (
    "Starting gunicorn",
    "Listening at",
    "Using worker",
    "Booting worker",
    "Worker exiting",
    "Handling signal",
    "Hang up",
    "Shutting down",
)


class QuietLogger(Logger):  # type: ignore[misc]
    """gunicorn's log without the lines that `serve`'s own summary replaces; they are still there at level debug."""

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        if msg.startswith(_HOUSEKEEPING):
            self.error_log.debug(msg, *args, **kwargs)
        else:
            self.error_log.info(msg, *args, **kwargs)


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master. A worker that is to go is told so when as many others serve as there are to be."""

    num_workers: int

    def __init__(self, app: ServeApplication) -> None:
        super().__init__(app)
        process.adopt_log_handlers()
        self.START_CTX["args"] = app.command_line
        self.START_CTX[0] = app.command_line[0]
        self._outgoing: set[int] = set()
        """Process ids of workers that are to be replaced."""
        self._told: set[int] = set()
        """Those of them that have been told to go."""
        self._stillborn = 0
        self._spawn_again_at = 0.0
        self._systemd = Notifier()
        self._reloader = os.getppid() if os.environ.get("WSGIPERF__RELOAD_CHILD") else 0

    def manage_workers(self) -> None:
        if self._reloader and os.getppid() != self._reloader:
            raise StopIteration  # The reloader was killed: nobody would ever end this process.
        if self.num_workers == 0 and not self.reexec_pid:
            logger.warning("The new program has ended; the workers come back")
            self.num_workers = self.cfg.workers
        if self.num_workers:
            Scoreboard.shared().stopping = False
        workers: dict[int, Any] = self.WORKERS
        asking = {pid for pid, worker in workers.items() if worker.wants_to_retire}
        self._outgoing = (self._outgoing | asking) & workers.keys()
        self._told &= workers.keys()
        staying = sorted(workers.keys() - self._outgoing, key=lambda pid: workers[pid].age)
        if time.monotonic() >= self._spawn_again_at:
            staying += [self.spawn_worker() for _ in range(self.num_workers - len(staying))]
        while len(staying) > self.num_workers:
            self._outgoing.add(staying.pop(0))
        if sum(workers[pid].is_serving for pid in staying) >= self.num_workers:
            for pid in self._outgoing - self._told:
                self._told.add(pid)
                self.kill_worker(pid, signal.SIGTERM)
            if self.num_workers:
                self._systemd.ready(self.num_workers)

    def spawn_worker(self) -> int:
        """Fork a worker. Signals for it wait until it can handle them; the master's handlers would swallow them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)
        try:
            pid: int = super().spawn_worker()  # In the worker this never returns.
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)
        return pid

    def reaped(self, worker: PooledWorker) -> None:
        """A worker has ended. One that never served will not do better when it is started again at once."""
        if worker.has_served:
            self._stillborn = 0
            return
        self._stillborn += 1
        delay_s = min(10.0, 0.1 * 2 ** min(self._stillborn, 10))
        self._spawn_again_at = time.monotonic() + delay_s
        logger.error("A worker ended before it served; the next is started in %.1f s", delay_s)

    def reload(self) -> None:
        """HUP: a successor for every worker, with the certificate as it is now. The application stays the one that was
        loaded before the forks."""
        self._systemd.reloading()
        self.log.reopen_files()
        try:
            self.app.load_certificate()
        except ListeningError as error:
            logger.error("HUP: %s The workers go on with the certificate that they have.", error)
            return
        self.num_workers = self.cfg.workers
        self._outgoing |= self.WORKERS.keys()
        number = len(self._outgoing)
        logger.info("HUP: %s replaced", "1 worker is" if number == 1 else f"{number} workers are")

    def handle_winch(self) -> None:
        """After USR2: let the workers go, so that the new program serves alone. HUP brings them back.

        At other times it is a terminal that has changed its size."""
        if self.reexec_pid:
            logger.info("WINCH: %d workers go, process %d serves", len(self.WORKERS), self.reexec_pid)
            self.num_workers = 0
            Scoreboard.shared().stopping = True  # None of these workers has a successor to give its connections to.

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        self._systemd.alive()
        timeout = min(timeout, self._systemd.alive_every_s)
        # A worker that begins to serve sends no signal.
        is_awaited = self._outgoing - self._told or self._systemd.awaits_readiness
        signals: list[int] = super().wait_for_signals(timeout=min(timeout, 0.05) if is_awaited else timeout)
        return signals

    def stop(self, graceful: bool = True) -> None:
        """gunicorn's would look at the workers ten times a second, and remove the files of all unix sockets, also of
        those that were passed to us."""
        if self.reexec_pid:
            self._systemd.succeeded_by(self.reexec_pid)
        else:
            self._systemd.stopping()
        Scoreboard.shared().stopping = True
        delay_s = self.cfg.wsgiperf_settings.drain_delay_s
        if graceful and delay_s:
            # The listeners, and the unix sockets' files, stay until the workers stop accepting.
            self.kill_workers(signal.SIGTERM)
            graceful = self._await_workers(delay_s)
        # Before the workers: the last of them to close a socket takes what has come to it.
        sock.close_sockets(self.LISTENERS, unlink=False)
        self.LISTENERS.clear()
        if self.reexec_pid == self.master_pid == 0:
            for path in self.app.socket_files:
                with contextlib.suppress(OSError):
                    os.unlink(path)
        self.kill_workers(signal.SIGTERM if graceful else signal.SIGQUIT)
        if not graceful or not self._await_workers(self.cfg.graceful_timeout):
            self._await_workers(_QUICK_S, quick=True)
        self.kill_workers(signal.SIGKILL)
        self.reap_workers()

    def _await_workers(self, seconds: float, *, quick: bool = False) -> bool:
        """Until all workers have ended, or for `seconds`; False when INT or QUIT asked to make it quick.

        Where it is `quick` already, another of them is not heard: Ctrl-C comes from the terminal and the reloader."""
        ends = time.monotonic() + seconds
        self.reap_workers()
        while self.WORKERS and (remaining := ends - time.monotonic()) > 0:
            # The end of a worker is a signal, too.
            signals = super().wait_for_signals(timeout=remaining)
            if not quick and (signal.SIGINT in signals or signal.SIGQUIT in signals):
                self.kill_workers(signal.SIGQUIT)
                return False
            self.reap_workers()
        return True


class ServeApplication(BaseApplication):  # type: ignore[misc]
    """Runs `application` with `settings`; `when_ready` gets the master's listening sockets.

    `settings.bind` names open file descriptors only; `socket_files` are the files of those that were made here."""

    def __init__(
        self,
        settings: ServerSettings,
        application: WSGIApplication,
        *,
        command_line: list[str],
        socket_files: Sequence[str] = (),
        when_ready: Callable[[Sequence[Any]], None] | None = None,
    ) -> None:
        self.settings = settings
        self.command_line = command_line
        self.socket_files = socket_files
        self._application = application
        self._when_ready = when_ready
        super().__init__()

    def load_config(self) -> None:
        settings, cfg = self.settings, self.cfg
        for name, value in {
            "bind": list(settings.bind),
            "workers": settings.workers,
            "threads": settings.threads,
            "worker_class": PooledWorker,
            "logger_class": QuietLogger,
            "backlog": settings.backlog,
            "preload_app": True,
            "timeout": math.ceil(settings.worker_timeout_s),
            # The workers keep the time themselves; this is for one that does not.
            "graceful_timeout": math.ceil(settings.graceful_timeout_s) + 5,
            "pidfile": settings.pid_file or None,
            "certfile": settings.certfile or None,
            "keyfile": settings.keyfile or None,
            "loglevel": settings.log_level,
            "proc_name": "django-wsgiperf",
            "control_socket_disable": True,
            "when_ready": self._ready,
            "child_exit": lambda master, worker: master.reaped(worker),
        }.items():
            cfg.set(name, value)
        # Workers read the settings from here, and not from the environment again.
        cfg.wsgiperf_settings = settings
        self.load_certificate()

    def load_certificate(self) -> None:
        """In the master: a worker that is started later has no use for files that have become bad meanwhile.

        Raises ListeningError, and leaves the certificate as it was."""
        settings = self.settings
        self.cfg.wsgiperf_tls = tls_context(settings.certfile, settings.keyfile) if settings.certfile else None

    def load(self) -> WSGIApplication:
        return self._application

    def _ready(self, master: Arbiter) -> None:
        if self._when_ready is not None:
            self._when_ready(master.LISTENERS)

    def run(self) -> None:
        try:
            Master(self).run()
        except RuntimeError as error:  # gunicorn's refusals, before anything runs.
            sys.exit(f"Error: {error}")
