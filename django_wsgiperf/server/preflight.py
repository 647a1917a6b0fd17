"""What must hold before `serve` starts: its files and the application. Each is told in one line when it does not.

Addresses are in listening.py, option values in conf.py. Raises CommandError, which manage.py prints.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import ssl
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.core.servers.basehttp import get_internal_wsgi_application

from django_wsgiperf.conf import ConfigurationError, Origin, ServerSettings, Source
from django_wsgiperf.wsgi import wrap

from . import certificates
from .gateway import WSGIApplication
from .listening import ListeningError, tls_context
from .scoreboard import is_alive

_ELSEWHERE = (Source.SETTINGS, Source.ENVIRONMENT)
_PID = re.compile(rb"[0-9]{1,9}")


def refuse_windows() -> None:
    """There is no fork() on Windows, and so no worker process."""
    if sys.platform == "win32":
        raise CommandError(
            "serve needs fork(), which Windows does not have. Use the Windows Subsystem for Linux, or there "
            "runserver for development and waitress for production."
        )


def refuse_other_threads() -> None:
    """Signals can be handled in the main thread only (the signal module)."""
    thread = threading.current_thread()
    if thread is not threading.main_thread():
        raise CommandError(
            f"serve handles signals, which Python allows in the main thread only, and this is {thread.name}. "
            f"Call it in the main thread, or start manage.py serve as a process of its own."
        )


def refuse_unusable_files(settings: ServerSettings, origins: Mapping[str, Origin]) -> ssl.SSLContext | None:
    """Certificates, the pid file, the access log, and a folder for temporary files. Gives what the certificate makes.
    Raises CommandError."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise CommandError(
            "There is no folder for temporary files, which workers and large bodies need. Mount one at /tmp, such as "
            "an emptyDir in Kubernetes, or set TMPDIR to one that this user may write to."
        ) from error
    context = None
    if settings.certfile:
        try:
            context = tls_context(settings.certfile, settings.keyfile)
        except ListeningError as error:
            raise CommandError(f"{error}{set_by(origins, 'certfile', 'keyfile')}") from error
    if settings.pid_file:
        _refuse_pid_file(settings.pid_file, set_by(origins, "pid_file"))
    if settings.access_log != "off" and settings.access_log_file != "-":
        _refuse_unwritable("ACCESS_LOG_FILE", settings.access_log_file, set_by(origins, "access_log_file"))
    return context


def set_by(origins: Mapping[str, Origin], *names: str) -> str:
    """Where values come from, as a last sentence. Nothing for the command line, which the user has just written."""
    places = dict.fromkeys(str(origins[name]) for name in names if origins[name].source in _ELSEWHERE)
    return f" Set by {' and '.join(places)}." if places else ""


def warnings(settings: ServerSettings, context: ssl.SSLContext | None) -> Iterator[str]:
    """What does not keep the server from its work, but its clients."""
    state = certificates.out_of_date(settings.certfile, context) if context is not None else ""
    if state:
        yield f"CERTFILE {settings.certfile} {state}; clients will refuse it."


def _refuse_pid_file(path: str, place: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(
            f"Cannot write PID_FILE {path}: permission denied. Write a file in a folder of this user.{place}"
        )
    try:
        text = Path(path).read_bytes().strip()
    except FileNotFoundError:
        return
    except OSError as error:
        raise CommandError(
            f"Cannot read PID_FILE {path}: {error.strerror}. Write a file of this user, or remove that one.{place}"
        ) from error
    if text and not _PID.fullmatch(text):
        raise CommandError(
            f"PID_FILE {path} is there and holds something else than the number of a process; it would be lost. "
            f"Write another path, or remove the file if nobody needs it.{place}"
        )
    pid = int(text or b"0")
    if not is_alive(pid) or pid == os.getpid() or "GUNICORN_PID" in os.environ:
        return
    raise CommandError(
        f"PID_FILE {path} says that process {pid} serves already. Stop that one first, or remove the file "
        f"if it is another program's number by now.{place}"
    )


def _refuse_unwritable(key: str, path: str, place: str) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640))
    except OSError as error:
        raise CommandError(
            f"Cannot write {key} {path}: {error.strerror}. Write a file that this user may write.{place}"
        ) from error


def load_application() -> WSGIApplication:
    """The application that WSGI_APPLICATION names; with DEBUG it serves static files too, as runserver does."""
    named = django_settings.WSGI_APPLICATION
    try:
        with _loggers_left_enabled():
            application = get_internal_wsgi_application()
    except Exception as error:
        # Django's own words are the cover of the import error that matters.
        cause = error.__cause__ if isinstance(error, ImproperlyConfigured) and error.__cause__ else error
        what = f"WSGI_APPLICATION {named!r}" if named else "The WSGI application"
        raise CommandError(
            f"{what} cannot be loaded: {_last_line(cause)}. Mend that, or set WSGI_APPLICATION to the dotted path of "
            f"a WSGI callable; --traceback shows the way there."
        ) from error
    if not callable(application):
        raise CommandError(f"WSGI_APPLICATION {named!r} is a {type(application).__name__}, which cannot be called.")
    try:
        # Static files, which are outside of it, are none of the cache's business.
        cached = wrap(application)
    except (ConfigurationError, ImproperlyConfigured) as error:
        raise CommandError(str(error)) from error
    if django_settings.DEBUG and "django.contrib.staticfiles" in django_settings.INSTALLED_APPS:
        from django.contrib.staticfiles.handlers import StaticFilesHandler

        return StaticFilesHandler(cached)  # type: ignore[arg-type]  # any WSGI application will do
    return cached


@contextlib.contextmanager
def _loggers_left_enabled() -> Iterator[None]:
    """Django's get_wsgi_application() configures logging a second time. A LOGGING that disables the loggers that exist
    is meant for those before the first; by now they are the application's, Django's and ours."""
    loggers = [found for found in logging.root.manager.loggerDict.values() if isinstance(found, logging.Logger)]
    enabled = [found for found in loggers if not found.disabled]
    try:
        yield
    finally:
        for found in enabled:
            found.disabled = False


def _last_line(error: BaseException) -> str:
    """The exception as Python would end its traceback, and the place of it."""
    text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):
        return f"{text} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text
