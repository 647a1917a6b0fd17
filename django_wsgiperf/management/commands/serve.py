"""`manage.py serve`: the project's WSGI application in a thread pool, from one process or many.

Reads the options, checks the project, opens the sockets, and hands over to server/application.py, or with `--reload`
to server/reloader.py; no serving happens here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.core.cache import InvalidCacheBackendError
from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.core.management.color import no_style
from django.utils.autoreload import get_child_arguments

from django_wsgiperf.conf import (
    SECTIONS,
    ConfigurationError,
    Resolved,
    ServerSettings,
    Source,
    add_arguments,
    adopt,
    from_namespace,
    load,
)
from django_wsgiperf.management.wsgiperf._terminal import width

_FILES_VARIABLE = "WSGIPERF__SOCKET_FILES"
"""For the program that USR2 starts: the unix sockets' files that it has to remove in the end, as JSON."""


class Command(BaseCommand):
    help = "Serve the project's WSGI application from a thread pool."
    requires_system_checks = "__all__"

    def __init__(self, *args: Any, **options: Any) -> None:
        from django_wsgiperf.server import process

        process.open_standard_streams()
        super().__init__(*args, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)
        parser.epilog = (
            "Each of these is also a key of WSGIPERF['SERVER'] in the settings (THREADS) and an environment variable "
            "(WSGIPERF_THREADS); the command line wins over both. --print-config shows what is in force."
        )
        parser.add_argument(
            "--print-config",
            action="store_true",
            help="show every option with its value and origin, and exit",
        )

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return self._execute(*args, **options)
        except KeyboardInterrupt:
            # Before gunicorn or the supervisor have taken over the signals: nothing runs yet.
            sys.exit(128 + signal.SIGINT)
        except InvalidCacheBackendError as error:
            # Django's own checks ask for every cache, and let this out.
            raise CommandError(
                f"CACHES cannot be used: {error}. Install what is missing, or write another BACKEND."
            ) from error

    def _execute(self, *args: Any, **options: Any) -> Any:
        from django_wsgiperf.server import preflight

        preflight.refuse_windows()
        try:
            self.resolved: Resolved[ServerSettings] = load("SERVER", cli=from_namespace(options))
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        if not options["print_config"]:
            # Before the checks, which are to see what the command line says.
            adopt(self.resolved)
        # What --print-config shows may be what makes a check fail; and the reloader's child runs the checks itself.
        if options["print_config"] or self._supervises():
            options["skip_checks"] = True
        if os.environ.get("NO_COLOR") and not options["force_color"]:
            options["no_color"] = True
        if options["no_color"]:
            self.style = no_style()
        return super().execute(*args, **options)

    def get_check_kwargs(self, options: Any) -> Any:
        # Django 6.1 checks the fields with every database by itself, for which MySQL's connects. A server starts
        # without its database, too, and `manage.py check` remains.
        kwargs: Any = super().get_check_kwargs(options)
        return {**kwargs, "databases": []}

    def handle(self, *args: Any, **options: Any) -> None:
        from django_wsgiperf.server import preflight, reloader
        from django_wsgiperf.server.summary import config_table

        if options["print_config"]:
            sections = [self.resolved, *self._sections_beside()]
            self.stdout.write(config_table(sections, self.style, columns=width(self.stdout)))
            return
        preflight.refuse_other_threads()
        settings = self.resolved.values
        if settings.access_log != "off" and settings.access_log_file == "-":
            # Programs read standard output then; what is for people goes beside it.
            self.stdout = OutputWrapper(options.get("stderr") or sys.stderr)
        if reloader.is_child():
            # Blocked, and ignored, by the supervisor; gunicorn will handle it.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            settings = self._as_child(settings)
        context = preflight.refuse_unusable_files(settings, self.resolved.origins)
        if not reloader.is_child():
            for warning in preflight.warnings(settings, context):
                self.stderr.write(warning, self.style.WARNING)
        if self._supervises():
            self._supervise(settings)
        else:
            self._serve(settings)

    def _sections_beside(self) -> Iterator[Resolved[Any]]:
        """The sections that are not the server's, and the pool of each database that has keys of its own."""
        from django_wsgiperf.checks.facts import pooled_databases

        try:
            yield from (load(section) for section in SECTIONS if section != "SERVER")
            yield from (pooled.resolved for pooled in pooled_databases())
        except ConfigurationError as error:
            raise CommandError(str(error)) from None

    def _supervises(self) -> bool:
        from django_wsgiperf.server import reloader

        return self.resolved.values.reload and not reloader.is_child()

    def _addresses(self) -> tuple[str, ...]:
        """Where to listen: where systemd says, if it does, else as configured."""
        from django_wsgiperf.server.listening import systemd_addresses

        addresses = systemd_addresses()
        origin = self.resolved.origins["bind"]
        if addresses and origin.source is not Source.DEFAULT:
            self.stderr.write(f"The sockets of systemd are used, and not BIND from the {origin}.")
        return addresses or self.resolved.values.bind

    def _open_listeners(self, addresses: tuple[str, ...], settings: ServerSettings) -> list[socket.socket]:
        from django_wsgiperf.server import preflight
        from django_wsgiperf.server.listening import ListeningError, open_listeners

        try:
            return open_listeners(addresses, settings.backlog)
        except ListeningError as error:
            # Those of systemd, or of the supervisor, have been set by nobody else.
            names = ("bind",) if addresses == self.resolved.values.bind else ()
            raise CommandError(f"{error}{preflight.set_by(self.resolved.origins, *names)}") from error

    def _supervise(self, settings: ServerSettings) -> None:
        from gunicorn.pidfile import Pidfile

        from django_wsgiperf.server import reloader
        from django_wsgiperf.server.listening import close_listeners, socket_files

        addresses = self._addresses()
        sockets = self._open_listeners(addresses, settings)
        pid_file = Pidfile(settings.pid_file) if settings.pid_file else None
        if pid_file is not None:
            pid_file.create(os.getpid())
        try:
            status = reloader.Supervisor(get_child_arguments(), sockets, self._say).run()
        finally:
            close_listeners(sockets, socket_files(addresses, sockets))
            if pid_file is not None:
                pid_file.unlink()
        sys.exit(status)

    def _as_child(self, settings: ServerSettings) -> ServerSettings:
        """The supervisor has the sockets and the pid file, and a view that waits in the debugger is not stuck."""
        from django_wsgiperf.server import reloader

        settings = replace(settings, pid_file="", bind=reloader.inherited_addresses(), drain_delay_s=0.0)
        if self.resolved.origins["request_timeout_s"].source is Source.DEFAULT:
            settings = replace(settings, request_timeout_s=0)
        return settings

    def _serve(self, settings: ServerSettings) -> None:
        from django_wsgiperf.server import preflight, preload, reloader
        from django_wsgiperf.server.application import ServeApplication
        from django_wsgiperf.server.listening import socket_files
        from django_wsgiperf.server.reports import Reporter

        files: list[str] = []
        if "GUNICORN_FD" in os.environ:
            # USR2: gunicorn takes the sockets from there, and would take those of BIND besides.
            files = json.loads(os.environ.get(_FILES_VARIABLE, "[]"))
            settings = replace(settings, bind=("127.0.0.1:0",))
        else:
            addresses = settings.bind if reloader.is_child() else self._addresses()
            sockets = self._open_listeners(addresses, settings)
            files = socket_files(addresses, sockets)
            settings = replace(settings, bind=tuple(f"fd://{sock.detach()}" for sock in sockets))
        os.environ[_FILES_VARIABLE] = json.dumps(files)
        application = preflight.load_application()
        early = preload.went_on()
        if early is not None and (replaced := early.replaced()):
            Reporter.from_environment().report_replaced(replaced)
            early.start_cold()
        ServeApplication(
            settings,
            application,
            command_line=get_child_arguments(),
            socket_files=files,
            when_ready=self._ready,
        ).run()

    def _ready(self, listeners: Sequence[Any]) -> None:
        from django_wsgiperf.server import reloader
        from django_wsgiperf.server.listening import url
        from django_wsgiperf.server.parts import parts
        from django_wsgiperf.server.reports import Reporter
        from django_wsgiperf.server.summary import start_summary

        reporter = Reporter.from_environment()
        reporter.report_folders()
        addresses = [url(listener.sock, tls=bool(self.resolved.values.certfile)) for listener in listeners]
        if "GUNICORN_PID" in os.environ:
            self._say(f"process {os.getpid()} serves {', '.join(addresses)}, too; TERM to the old one ends that")
        elif not reloader.is_child() or reloader.is_first_child():
            pid = os.getppid() if reloader.is_child() else os.getpid()
            beside = parts(self.resolved.values)
            self._print(start_summary(self.resolved, addresses, self.style, pid, beside))
        reporter.report_ready()

    def _say(self, text: str) -> None:
        self._print(f"  {text}\n")

    def _print(self, text: str) -> None:
        """Where nobody reads it, or the disk is full, the server has its work to do all the same."""
        with contextlib.suppress(OSError):
            self.stdout.write(text, ending="")
            self.stdout.flush()
