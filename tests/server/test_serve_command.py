"""The command `manage.py serve`: what it prints, what it refuses and how, and where it listens."""

from __future__ import annotations

import contextlib
import http.client
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from .processes import ROOT, Serve, amend, environment, eventually, get, run, stats

Start = Callable[..., Serve]
TLS = Path(__file__).parent / "tls"


class TestSummary:
    def test_tells_where_with_what_and_how_to_stop(self, serve: Start) -> None:
        server = serve("--threads", "3", WSGIPERF_WORKERS="2")
        port = server.wait_until_it_serves()
        server.says("stop")
        lines = [line.split(maxsplit=1) for line in server.output if line.strip()]
        assert [line[0] for line in lines] == [
            "django-wsgiperf",
            "serving",
            "with",
            "cache",
            "project",
            "health",
            "reload",
            "stop",
        ]
        told = {line[0]: line[1].strip() for line in lines}
        assert told["serving"] == f"http://127.0.0.1:{port}"
        assert told["with"] == "2 processes x 3 threads (workers: WSGIPERF_WORKERS, threads: --threads)"
        assert told["project"] == "site_settings"
        assert told["health"] == "/-/live  /-/ready"
        assert f"kill -HUP {server.pid}" in told["reload"]
        assert "Ctrl-C" in told["stop"]
        assert "\x1b" not in server.text, "no colours into a pipe"
        assert "gunicorn" not in server.text.lower()

    def test_says_how_many_database_connections_there_may_be(self, serve: Start, project: Path) -> None:
        with (project / "site_settings.py").open("a") as file:
            file.write(
                "ENGINE = 'django_wsgiperf.db.backends.sqlite3'\n"
                "DATABASES = {\n"
                "    'default': {'ENGINE': ENGINE, 'NAME': 'shop.sqlite3', 'POOL': {'MAX_SIZE': 4}},\n"
                "    'archive': {'ENGINE': ENGINE, 'NAME': 'archive.sqlite3'},\n"
                "    'scratch': {'ENGINE': ENGINE, 'NAME': ':memory:'},\n"
                "}\n"
            )
        server = serve("--threads", "3", "--workers", "2")
        server.says("stop")
        assert "database  default: at most 4 connections in each process, 8 in all\n" in server.text
        assert "          archive: at most 3 connections in each process, 6 in all\n" in server.text
        assert "scratch: at most" not in server.text

    def test_says_what_of_the_cache_and_the_timing_is_at_work(self, serve: Start, project: Path) -> None:
        with (project / "site_settings.py").open("a") as file:
            file.write(
                "CACHES = {'pages': {'BACKEND': 'django.core.cache.backends.db.DatabaseCache', 'LOCATION': 'pages'}}\n"
                "CACHES['default'] = CACHES['pages']\n"
                "MIDDLEWARE = ['django_wsgiperf.middleware.RequestTimingMiddleware']\n"
                "WSGIPERF = {'CACHE': {'STORE': 'pages', 'MEMORY_BYTES': 2**24}, 'METRICS': {'STORE': 'memory'}}\n"
            )
        server = serve()
        server.says("stop")
        assert "    cache  public pages, 16 MiB in each process, shared by CACHES['pages']\n" in server.text
        assert "   timing  every request, kept in memory, until the process ends\n" in server.text

    def test_parts_that_are_turned_off_have_no_line(self, serve: Start, project: Path) -> None:
        with (project / "site_settings.py").open("a") as file:
            file.write(
                "MIDDLEWARE = ['django_wsgiperf.middleware.RequestTimingMiddleware']\n"
                "WSGIPERF = {'CACHE': {'ENABLED': False}, 'METRICS': {'ENABLED': False}}\n"
            )
        server = serve()
        server.says("stop")
        assert "public pages" not in server.text
        assert "every request" not in server.text

    def test_warns_of_debug(self, serve: Start, project: Path) -> None:
        amend(project / "site_settings.py", "ROOT_URLCONF", "DEBUG = True\nROOT_URLCONF")
        serve().says("DEBUG is on")

    def test_cache_whose_package_is_missing_ends_it_with_a_message(self, serve: Start, project: Path) -> None:
        with (project / "site_settings.py").open("a") as file:
            file.write("CACHES = {'default': {'BACKEND': 'no_such_redis.cache.RedisCache'}}\n")
        server = serve()
        server.says("CommandError: CACHES cannot be used: Could not find backend 'no_such_redis.cache.RedisCache'")
        assert "Traceback" not in server.text

    def test_warns_when_no_host_is_allowed(self, serve: Start, project: Path) -> None:
        amend(project / "site_settings.py", "ROOT_URLCONF", "ALLOWED_HOSTS = []\nROOT_URLCONF")
        serve().says("ALLOWED_HOSTS is empty")

    def test_is_coloured_on_a_terminal_unless_that_is_not_wanted(self, project: Path) -> None:
        assert "\x1b[" in on_a_terminal(project)
        assert "\x1b[" not in on_a_terminal(project, NO_COLOR="1")

    def test_empty_page_paths_are_left_out(self, serve: Start) -> None:
        server = serve(WSGIPERF_LIVE_PATH="", WSGIPERF_READY_PATH="")
        server.says("stop")
        assert "health" not in server.text
        assert get(server.wait_until_it_serves(), "/-/live")[0] == 404


def on_a_terminal(project: Path, **environ: str) -> str:
    """What the command writes to a terminal until it has written its summary."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "serve", "127.0.0.1:0"],
        cwd=project,
        env=environment({"TERM": "xterm", **environ}),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    text = ""
    try:
        while "Ctrl-C" not in text:
            text += os.read(controller, 4096).decode()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        os.close(controller)
    return text


class TestPrintConfig:
    def test_shows_every_option_in_groups_with_its_origin(self, project: Path) -> None:
        result = run(project, "serve", "--print-config", "--threads", "5", WSGIPERF_STATS_TOKEN="correct-horse-battery")
        assert result.returncode == 0
        lines = result.stdout.splitlines()
        assert lines[0] == "Where and how many"
        assert re.search(r"^  THREADS +5 +command line \(--threads\)$", result.stdout, re.M)
        assert re.search(r"^  STATS_TOKEN +\*+ +environment \(WSGIPERF_STATS_TOKEN\)$", result.stdout, re.M)
        assert re.search(
            r"^  STATS_ALLOW +127.0.0.1, unix +settings \(WSGIPERF\['SERVER'\]\['STATS_ALLOW'\]\)$", result.stdout, re.M
        )
        assert "correct-horse-battery" not in result.stdout
        # The last such words of a line: a value may be one of them, too.
        origins = [re.match(r".*(?=  (default|command line|environment|settings)\b)", line) for line in lines]
        shown = [found[0] for found in origins if found is not None and found[0].startswith(" ")]
        column = min(map(len, shown))
        assert all(len(each) == column or len(each.rstrip()) > column for each in shown), "aligned, where values fit"

    def test_shows_the_connection_pools_too_with_what_a_database_has_of_its_own(self, project: Path) -> None:
        engine = "'ENGINE': 'django_wsgiperf.db.backends.sqlite3', 'NAME': 'shop.sqlite3'"
        pools = f"DATABASES = {{'default': {{{engine}}}, 'archive': {{{engine}, 'POOL': {{'MAX_SIZE': 2}}}}}}\n"
        with (project / "site_settings.py").open("a") as file:
            file.write(pools)
        result = run(project, "serve", "--print-config", WSGIPERF_POOL_MAX_SIZE="4")
        lines = result.stdout.splitlines()
        at = lines.index("POOL: How many connections")
        assert re.fullmatch(r"  MAX_SIZE +4 +environment \(WSGIPERF_POOL_MAX_SIZE\)", lines[at + 1])
        own = lines[-3:]
        assert own[:2] == ["", "DATABASES['archive']['POOL']"]
        assert re.fullmatch(r"  MAX_SIZE +2 +settings \(DATABASES\['archive'\]\['POOL'\]\['MAX_SIZE'\]\)", own[2])

    def test_wrong_pool_is_refused_in_its_words(self, project: Path) -> None:
        result = run(project, "serve", "--print-config", WSGIPERF_POOL_RESET="soft")
        assert result.returncode == 1
        assert "RESET: 'soft' is not among the choices" in result.stderr
        assert "environment (WSGIPERF_POOL_RESET)" in result.stderr
        assert "Traceback" not in result.stderr

    def test_works_where_a_check_fails(self, project: Path) -> None:
        amend(project / "site_settings.py", "ROOT_URLCONF", "LANGUAGE_CODE = '!'\nROOT_URLCONF")
        assert run(project, "serve", "--print-config").returncode == 0


def refused(project: Path, *arguments: str, **environ: str) -> str:
    """The one line that the command ends with."""
    result = run(project, "serve", *arguments, **environ)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("CommandError: ")
    return lines[0].removeprefix("CommandError: ")


class TestRefusals:
    def test_taken_port(self, project: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert refused(project, f"127.0.0.1:{port}").startswith(f"Cannot listen on 127.0.0.1:{port}: another")
            # The supervisor of --reload opens the sockets, too.
            assert refused(project, "--reload", f"127.0.0.1:{port}").startswith("Cannot listen on 127.0.0.1")

    @pytest.mark.parametrize(
        ("arguments", "environ", "told"),
        [
            (["--threads", "0"], {}, "command line (--threads)"),
            ([], {"WSGIPERF_THREADS": "many"}, "environment (WSGIPERF_THREADS)"),
            ([], {"WSGIPERF_THREDS": "3"}, "WSGIPERF_THREADS"),
        ],
    )
    def test_bad_value_with_its_origin(
        self, project: Path, arguments: list[str], environ: dict[str, str], told: str
    ) -> None:
        result = run(project, "serve", *arguments, **environ)
        assert result.returncode == 1
        assert told in result.stderr
        assert "Traceback" not in result.stderr

    def test_failed_check(self, project: Path) -> None:
        amend(project / "site_settings.py", "ROOT_URLCONF", "LANGUAGE_CODE = '!'\nROOT_URLCONF")
        result = run(project, "serve", "127.0.0.1:0")
        assert result.returncode == 1
        assert "translation.E001" in result.stderr
        assert "Traceback" not in result.stderr

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            (
                "import nothing_of_that_name\n",
                "ModuleNotFoundError: No module named 'nothing_of_that_name' (SITE, line 1)",
            ),
            ("x = 1\ny = (\n", "SyntaxError: '(' was never closed (SITE, line 2)"),
            ("raise RuntimeError('no key')\n", "RuntimeError: no key (SITE, line 1)"),
            ("", "does not define a"),
        ],
    )
    def test_application_that_cannot_be_loaded(self, project: Path, source: str, told: str) -> None:
        (project / "site_wsgi.py").write_text(source)
        line = refused(project, "127.0.0.1:0")
        assert line.startswith("WSGI_APPLICATION 'site_wsgi.application' cannot be loaded: ")
        assert told.replace("SITE", str(project / "site_wsgi.py")) in line

    def test_application_that_is_none(self, project: Path) -> None:
        (project / "site_wsgi.py").write_text("application = 'text'\n")
        assert (
            refused(project, "127.0.0.1:0")
            == "WSGI_APPLICATION 'site_wsgi.application' is a str, which cannot be called."
        )

    def test_files_that_cannot_be_used(self, project: Path, serve: Start) -> None:
        certificate, key = TLS / "certificate.pem", TLS / "other-key.pem"
        line = refused(project, "127.0.0.1:0", "--certfile", str(certificate), "--keyfile", str(key))
        assert line.startswith(f"Cannot use CERTFILE {certificate} with KEYFILE {key}: ")
        (project / "pid").write_text(f"{os.getpid()}\n")
        line = refused(project, "127.0.0.1:0", "--pid-file", "pid")
        assert line.startswith(f"PID_FILE pid says that process {os.getpid()} serves already.")

    def test_the_checks_see_the_command_line(self, project: Path) -> None:
        result = run(project, "serve", "no-such-host.invalid:1", "--max-requests-jitter", "5")
        assert "MAX_REQUESTS_JITTER is 5, but MAX_REQUESTS is 0" in result.stderr

    def test_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        with pytest.raises(CommandError, match="Windows Subsystem for Linux"):
            call_command("serve")

    def test_stale_pid_file_is_replaced(self, project: Path, serve: Start) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        (project / "pid").write_text(f"{gone.pid}\n")
        server = serve("--pid-file", "pid")
        server.wait_until_it_serves()
        assert (project / "pid").read_text() == f"{server.pid}\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert not (project / "pid").exists()


def test_logging_that_disables_existing_loggers_leaves_those_of_the_project(serve: Start, project: Path) -> None:
    """Django configures logging a second time as it makes the application, when the URLs have been checked."""
    handlers = {"console": {"class": "logging.StreamHandler"}}
    logging = {"version": 1, "handlers": handlers, "root": {"handlers": ["console"], "level": "INFO"}}
    amend(project / "site_settings.py", "WSGIPERF =", f"LOGGING = {logging}\nWSGIPERF =")
    words = "import logging\nWORDS = logging.getLogger(__name__)\n"
    view = "def pid(request):\n    WORDS.info('a word of the view')\n"
    amend(project / "site_urls.py", "def pid(request):\n", words + view)
    server = serve()
    assert get(server.wait_until_it_serves())[0] == 200
    server.says("a word of the view")
    server.signal(signal.SIGHUP)
    server.says("HUP: 1 worker is replaced")


class TestAddresses:
    def test_descriptors_unix_sockets_and_ports_together(self, serve: Start, project: Path) -> None:
        """gunicorn by itself would listen on the descriptor only."""
        with socket.create_server(("127.0.0.1", 0)) as theirs:
            number = theirs.fileno()
            path = project / "site.sock"
            server = serve(f"fd://{number}", f"unix:{path}", pass_fds=[number])
            port = server.wait_until_it_serves()
            server.says(f"unix:{path}")
            assert get(port)[0] == get(theirs.getsockname()[1])[0] == 200
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert not path.exists()

    def test_sockets_of_systemd_replace_the_configured(self, serve: Start, project: Path) -> None:
        path = project / "systemd.sock"
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.bind(str(path))
            theirs.listen()
            # As systemd does: the socket is number 3, and the variables name the process.
            start = (
                f"import os, sys; os.dup2({theirs.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
                "os.execv(sys.executable, [sys.executable, 'manage.py', 'serve', '127.0.0.1:1'])"
            )
            command = [sys.executable, "-c", start]
            server = serve(command=command, LISTEN_FDS="1", pass_fds=[theirs.fileno()])
            server.wait_until_it_serves(f"unix:{path}")
            server.says("The sockets of systemd are used, and not BIND from the command line (addresses).")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert path.exists(), "it is systemd's to remove"

    def test_tls(self, serve: Start) -> None:
        server = serve("--certfile", str(TLS / "certificate.pem"), "--keyfile", str(TLS / "key.pem"))
        port = server.wait_until_it_serves(r"https://127\.0\.0\.1:(\d+)")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        with contextlib.closing(client):
            for _ in range(2):
                client.request("GET", "/")
                response = client.getresponse()
                assert (response.status, response.read()[:7]) == (200, b"VERSION")

    def test_system_without_epoll(self, serve: Start, project: Path) -> None:
        amend(project / "manage.py", "import os, sys\n", "import os, select, sys\ndel select.epoll\n")
        server = serve("--workers", "2")
        port = server.wait_until_it_serves()
        for _ in range(10):
            assert get(port)[0] == 200
        server.signal(signal.SIGHUP)
        server.says("workers are replaced")
        assert get(port)[0] == 200

    def test_static_files_are_served_in_debug(self, serve: Start, project: Path) -> None:
        amend(
            project / "site_settings.py",
            'INSTALLED_APPS = ["django_wsgiperf"]',
            'DEBUG = True\nSTATIC_URL = "/static/"\n'
            'STATICFILES_DIRS = [__file__.replace("site_settings.py", "assets")]\n'
            'INSTALLED_APPS = ["django_wsgiperf", "django.contrib.staticfiles"]',
        )
        (project / "assets").mkdir()
        (project / "assets" / "site.css").write_text("body {}")
        assert get(serve().wait_until_it_serves(), "/static/site.css") == (200, "body {}")

    def test_auto_workers(self, serve: Start) -> None:
        port = serve("--workers", "auto", "--threads", "1").wait_until_it_serves()
        eventually(lambda: len(stats(port)["workers"]) >= 1, "workers serve")


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", ">/dev/full 2>&1"], ids=["closed", "full"])
def test_standard_streams_that_take_nothing_do_not_keep_it_from_serving(serve: Start, streams: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        command = f'exec "$0" manage.py serve fd://{number} --access-log combined {streams}'
        server = serve(command=["sh", "-c", command, sys.executable], pass_fds=[number])
        port = listening.getsockname()[1]
        assert get(port)[0] == get(port)[0] == 200
        standard = {os.readlink(f"/proc/{server.pid}/fd/{fd}") for fd in range(3)}
        assert standard <= {"/dev/null", "/dev/full"}, "what is printed reaches no file or connection of the server's"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_nothing_is_imported_that_windows_lacks() -> None:
    """The refusal must come before gunicorn, which needs fcntl."""
    code = (
        "import sys; sys.modules['fcntl'] = None; from django.conf import settings; settings.configure(); "
        "import django_wsgiperf.management.commands.serve, django_wsgiperf.server.preflight"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env={"PYTHONPATH": str(ROOT)})
