"""A gunicorn worker that runs the application in our thread pool: `serve` uses it, and so can `gunicorn -k`.

Owns the process's life: heartbeat, deadlines, recycling, draining. The main thread does nothing else, so signals
are handled at once whatever the pool is doing. Requests are the reactor's and the pool's business.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import select
import signal
import sys
import time
from typing import Any

from django.conf import settings as django_settings
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from django_wsgiperf.conf import ConfigurationError, ServerSettings

from . import gunicorn_options, process, reporting
from .accepting import Listener, base_environ
from .accesslog import AccessLog
from .deadlines import DeadlineSupervisor
from .draining import Draining
from .handover import Channel
from .ledger import Ledger
from .pulse import Pulse
from .reactor import Reactor
from .readiness import Readiness
from .reports import Reporter
from .reserved import ReservedPages
from .scoreboard import ENDED, SERVING, STARTING, Scoreboard
from .sharing import Sharing
from .threadpool import ThreadPool

logger = logging.getLogger("django_wsgiperf.server")

_EXIT_S = 2.0
"""So long the interpreter may take to end when the server's part is done: exit handlers, the application's threads."""
_WRITE_DOWN_S = 10.0
"""Between two writings of what was counted into the server's ledger; a worker that is killed loses so much at most."""


class PooledWorker(Worker):  # type: ignore[misc]
    """`gunicorn -k django_wsgiperf.server.worker.PooledWorker project.wsgi` honours gunicorn's own options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # In the master, before the fork.
        super().__init__(*args, **kwargs)
        self.board = Scoreboard.shared()
        self.place = self.board.claim(self)
        self.ledger = Ledger.shared(self.cfg.workers, process.ledger_bytes())
        self.channels = Channel.shared(len(self.sockets))
        self.settings: ServerSettings
        self.retiring = ""
        self.access_log: AccessLog | None = None
        self.reactor: Reactor
        self.pool: ThreadPool
        self.supervisor: DeadlineSupervisor
        self._pulse = Pulse()
        self._write_down_at = 0.0
        process.close_django_connections()
        process.close_database_pools()
        if self.age == 1:
            process.warn_of_threads()

    @property
    def under_serve(self) -> bool:
        """Whether the master is `serve`'s, which starts a successor for a worker that asks for it."""
        return hasattr(self.cfg, "wsgiperf_settings")

    @property
    def wants_to_retire(self) -> bool:
        """In the master: the worker asks for its replacement."""
        return self.board.get(self.place, "retiring") == 1

    @property
    def is_serving(self) -> bool:
        """In the master: the worker has begun to accept."""
        return self.board.get(self.place, "state") == SERVING

    @property
    def has_served(self) -> bool:
        """In the master: the worker came so far as to accept."""
        return self.board.get(self.place, "state") > STARTING

    # -- life

    def init_process(self) -> None:
        random.seed()
        process.adopt_log_handlers()
        super().init_process()

    def init_signals(self) -> None:
        super().init_signals()
        process.show_stacks_on_abort()
        for number in (signal.SIGHUP, signal.SIGUSR2):
            # The master's, but pkill and a terminal that closes send them to every process, and the default is to die
            # of them. No SIG_IGN: programs that the application starts would inherit that.
            signal.signal(number, lambda number, frame: None)
        # `serve`'s master forks with its signals held back: until here they would have been its own to handle.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, Arbiter.SIGNALS)

    def run(self) -> None:
        # An error before the worker serves is to end the master, too: another worker would have the same. But not where
        # others serve, that were started before the disk was full, say.
        self.booted = self.under_serve and self.board.others_serve(self.place)
        try:
            # Only now: under plain gunicorn it is the application that has configured Django.
            self.settings = gunicorn_options.settings_from(self.cfg)
            self._build()
        except ConfigurationError as error:
            self.log.error("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        self.booted = True
        settings = self.settings
        ends_at = settings.max_requests and settings.max_requests + random.randint(0, settings.max_requests_jitter)
        process.begin_with_databases()
        process.meet_the_others(self.ledger, self.place)
        reporting.begin(self.reactor, self.board, self.place, self.supervisor)
        process.begin_with_metrics()
        self.pool.start()
        self._publish()
        self.board.set(self.place, "state", SERVING)
        try:
            while self.alive:
                self._tick()
                if not self.retiring:
                    self._consider_retirement(ends_at)
            self._drain()
        except BaseException:
            # Python waits for the pool's threads, and nobody will tell them to end.
            self._leave_after_hooks()
            raise
        finally:
            self.board.set(self.place, "state", ENDED)

    def _build(self) -> None:
        settings = self.settings
        sys.setswitchinterval(settings.switch_interval_ms / 1000)
        if settings.gc_freeze:
            gc.freeze()
        if self.under_serve:
            context = self.cfg.wsgiperf_tls
            application = self.wsgi
        else:
            context = gunicorn_options.tls_context(self.cfg)
            application = gunicorn_options.with_pre_request(self, self.wsgi)
        listeners = []
        for listening, channel in zip(self.sockets, self.channels, strict=True):
            listening.sock.setblocking(False)
            environ = base_environ(settings, listening.sock, tls=context is not None, multiprocess=self.cfg.workers > 1)
            unix = isinstance(listening.sock.getsockname(), (str, bytes))
            # What TLS has agreed upon with the client is in this process.
            theirs = channel if context is None else None
            listeners.append(Listener(listening.sock, environ, context, unix=unix, channel=theirs))
        self.reactor = Reactor(settings, application, listeners)
        if not self.under_serve:
            self.reactor.proxies = gunicorn_options.proxy_trust(self.cfg, settings)
        self.pool = self.reactor.pool = ThreadPool(
            self.reactor, settings.threads, on_thread_end=process.close_django_connections
        )
        self.supervisor = DeadlineSupervisor(self.reactor)
        self.sharing = Sharing(self.board, self.place)
        checks = settings.ready_checks if django_settings.configured else ()
        self.readiness = Readiness(checks, settings.ready_timeout_s, self.board)
        self.pages = ReservedPages(self.reactor, self.board, self.place, self.readiness)
        self.reporter = Reporter.from_environment()
        if not self.under_serve:
            self.reactor.access_log = gunicorn_options.after_requests(self)
        if self.reactor.access_log is None and settings.access_log != "off":
            self.reactor.access_log = self.access_log = AccessLog(settings.access_log, settings.access_log_file)

    def _tick(self) -> None:
        """Prove to the master that this process lives, keep deadlines, publish counters; then sleep a little."""
        self._beat()
        if os.getppid() != self.ppid:
            logger.info("The master is gone; worker %d stops", os.getpid())
            if self.settings.reload:
                process.leave()  # Its successor serves already, and the developer waits for that one.
            self.alive = False
            return
        self.supervisor.tick()
        self._publish()
        if self.sharing.refresh():
            self.reactor.sharing = self.sharing
        self.reporter.report_modules()
        if time.monotonic() >= self._write_down_at:
            self._write_down_at = time.monotonic() + _WRITE_DOWN_S
            self.pages.write_down()
        self._sleep(self.supervisor.tick_s)

    def _beat(self) -> None:
        """Tell the master that this process is of use: not while nobody comes round to the sockets any more."""
        if self._pulse.beats(self.reactor.polled_at_ns / 1e9, time.monotonic()):
            self.notify()

    def _publish(self) -> None:
        self.board.publish(
            self.place,
            self.reactor,
            lost_threads=self.supervisor.lost_threads,
            rss_bytes=process.resident_bytes(),
        )

    def _sleep(self, seconds: float) -> None:
        """Until `seconds` have passed or a signal has come."""
        readable, _, _ = select.select([self.PIPE[0]], [], [], seconds)
        if readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self.PIPE[0], 4096)

    # -- recycling

    def _consider_retirement(self, ends_at: int) -> None:
        settings = self.settings
        served = self.board.get(self.place, "requests")
        rss = self.board.get(self.place, "rss_bytes")
        if ends_at and served >= ends_at:
            self._retire(f"it has served {served} requests (max_requests)")
        elif self.supervisor.lost_threads >= settings.max_lost_threads:
            self._retire(f"it has lost {self.supervisor.lost_threads} threads to stuck requests (max_lost_threads)")
        elif settings.max_rss_bytes and rss > settings.max_rss_bytes:
            self._retire(f"it uses {rss >> 20} MiB of memory (max_rss_bytes)")

    def _retire(self, reason: str) -> None:
        """Go, but not before another worker serves: `serve`'s master starts one and then sends TERM."""
        self.retiring = reason
        logger.info("Worker %d is replaced: %s", os.getpid(), reason)
        if self.under_serve:
            self.board.set(self.place, "retiring", 1)
            os.kill(self.ppid, signal.SIGCHLD)
        else:
            self.alive = False

    # -- the end

    def _drain(self) -> None:
        deadline = Draining(self).run()
        self._publish()
        self.pages.stop()
        process.write_down_counts(last="recycle" if self.retiring else "stop")
        if self.pool.stop(max(0.2, min(2.0, deadline - time.monotonic()))):
            self.reactor.shut_down()
            process.leave_within(_EXIT_S)
        else:
            self._leave_after_hooks()

    def attend(self, seconds: float) -> None:
        """While this worker drains: prove to the master that it lives, keep deadlines; then sleep a little."""
        self._beat()
        self.supervisor.tick()
        self._sleep(seconds)

    def _leave_after_hooks(self) -> None:
        """Let the arbiter call `worker_exit`, and do not wait for threads that may be inside the application."""
        hook = self.cfg.worker_exit

        def last(server: Any, worker: Any) -> None:
            try:
                hook(server, worker)
            finally:
                process.leave()

        self.cfg.set("worker_exit", last)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.alive = False

    def handle_usr1(self, sig: int, frame: Any) -> None:
        super().handle_usr1(sig, frame)
        if self.access_log is not None:
            self.access_log.reopen()

    def handle_quit(self, sig: int, frame: Any) -> None:
        # Ctrl-C comes from the terminal, and from the master a moment later: in the midst of what ends this process.
        for quick in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(quick, lambda number, frame: None)
        self.alive = False
        # Whoever is ended by Ctrl-C before it serves has not failed.
        self.board.set(self.place, "state", ENDED)
        self.cfg.worker_int(self)
        self._leave_after_hooks()
        sys.exit(0)
