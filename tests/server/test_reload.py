"""`serve --reload`: what restarts it, what it outlives, and that nobody is left behind."""

from __future__ import annotations

import contextlib
import gettext
import http.client
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from django_wsgiperf.server.reports import Reporter
from django_wsgiperf.server.watching import Watch, project_files

from .conftest import Client
from .processes import Load, Serve, amend, environment, eventually, get, is_running, serving, stats

#: The processes of one test take turns on a busy machine; each wait has a limit of its own.
pytestmark = pytest.mark.timeout(600)
Start = Callable[..., Serve]

SHOP = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models
class Book(models.Model):
    title = models.CharField("title", max_length=10)
""",
    "shop/templates/page.html": "template one",
    "shop/late.py": "TEXT = 'import one'\n",
    "site_urls.py": """
from django.conf import settings
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.urls import path
from django.utils.translation import gettext
from shop.models import Book
def page(request):
    from shop import late
    title = Book._meta.get_field("title").max_length
    parts = [settings.WORD, f"length {title}", render_to_string("page.html"), late.TEXT, gettext("word")]
    return HttpResponse(", ".join(parts))
urlpatterns = [path("", page)]
""",
}


def write_shop(project: Path) -> None:
    for name, text in SHOP.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    messages(project, "word one")
    amend(
        project / "site_settings.py",
        'INSTALLED_APPS = ["django_wsgiperf"]',
        """INSTALLED_APPS = ["django_wsgiperf", "shop"]
WORD = "setting one"
LANGUAGE_CODE = "de"
LOCALE_PATHS = [__file__.replace("site_settings.py", "locale")]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DEBUG = True""",
    )


def messages(project: Path, word: str) -> None:
    """Write a compiled catalogue with one message (the format is that of GNU gettext)."""
    file = project / "locale" / "de" / "LC_MESSAGES" / "django.mo"
    file.parent.mkdir(parents=True, exist_ok=True)
    pairs = [(b"", b"Content-Type: text/plain; charset=UTF-8\n"), (b"word", word.encode())]
    table, texts = 28, b""
    starts = table + 16 * len(pairs)
    rows = []
    for column in (0, 1):
        for pair in pairs:
            rows.append(struct.pack("<II", len(pair[column]), starts + len(texts)))
            texts += pair[column] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), table, table + 8 * len(pairs), 0, 0)
    file.write_bytes(head + b"".join(rows) + texts)
    with file.open("rb") as compiled:
        assert gettext.GNUTranslations(compiled).gettext("word") == word


def comes(port: int, text: str, server: Serve) -> None:
    def is_there() -> bool:
        # The old server may go while it is asked.
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            return text in get(port)[1]
        return False

    eventually(is_there, lambda: f"{text}; it said: {server.text}")


class TestSaves:
    def test_every_kind_of_source_restarts_it(self, serve: Start, project: Path) -> None:
        write_shop(project)
        server = serve("--reload")
        port = server.wait_until_it_serves()
        assert get(port)[1] == "setting one, length 10, template one, import one, word one"
        amend(project / "site_settings.py", "setting one", "setting two")
        comes(port, "setting two", server)
        amend(project / "shop" / "models.py", "max_length=10", "max_length=20")
        comes(port, "length 20", server)
        amend(project / "shop" / "templates" / "page.html", "one", "two")
        comes(port, "template two", server)
        messages(project, "word two")
        comes(port, "word two", server)
        # Imported in the first request only, and in a worker.
        eventually(lambda: "import one" in get(port)[1], "it is loaded")
        amend(project / "shop" / "late.py", "one", "two")
        comes(port, "import two", server)
        assert get(port)[1] == "setting two, length 20, template two, import two, word two"

    def test_no_connection_is_refused_meanwhile(self, serve: Start, project: Path) -> None:
        server = serve("--reload")
        port = server.wait_until_it_serves()
        with Load(port) as load:
            for old, new in [("VERSION", "FIRST"), ("FIRST", "SECOND"), ("SECOND", "THIRD")]:
                load.more(10)
                amend(project / "site_urls.py", old, new)
                comes(port, new, server)
            load.more(10)
        assert load.failures == [], server.text

    def test_connections_that_are_open_come_to_the_new_code(self, serve: Start, project: Path) -> None:
        """A browser keeps them, and what it asks for after the save is not to come from the old server."""
        server = serve("--reload")
        port = server.wait_until_it_serves()
        with Client(port) as kept, Client(port) as silent:
            assert kept.get().body.startswith(b"VERSION")
            amend(project / "site_urls.py", "VERSION", "CHANGED")
            server.says("serving again")
            assert kept.get().body.startswith(b"CHANGED")
            assert silent.get().body.startswith(b"CHANGED")

    def test_request_under_way_ends_in_the_old_server_while_the_new_one_serves(
        self, serve: Start, project: Path
    ) -> None:
        server = serve("--reload")
        port = server.wait_until_it_serves()
        (project / "busy").touch()
        with ThreadPoolExecutor() as executor:
            slow = executor.submit(get, port, "/?while=busy")
            eventually(lambda: any(row["busy"] for row in stats(port)["workers"]), "the request runs")
            amend(project / "site_urls.py", "VERSION", "CHANGED")
            comes(port, "CHANGED", server)
            (project / "busy").unlink()
            status, text = slow.result()
        assert (status, text.split()[0]) == (200, "VERSION")

    def test_events_of_the_old_server_end_at_once_so_that_the_browser_comes_to_the_new_one(
        self, serve: Start, project: Path
    ) -> None:
        server = serve("--reload", "--graceful-timeout", "600s")
        port = server.wait_until_it_serves()
        before = the_worker(port)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
            amend(project / "site_urls.py", "VERSION", "CHANGED")
            assert b"data: 1" in b"".join(iter(lambda: client.recv(65_536), b""))
        comes(port, "CHANGED", server)
        eventually(lambda: not is_running(before), "nobody waits for their end")

    def test_unrelated_files_do_not(self, serve: Start, project: Path) -> None:
        server = serve("--reload")
        port = server.wait_until_it_serves()
        (project / "notes.txt").write_text("one")
        (project / "not_loaded.py").write_text("one = 1")
        (project / "notes.txt").write_text("two")
        amend(project / "site_urls.py", "VERSION", "CHANGED")
        comes(port, "CHANGED", server)
        assert "not" not in "".join(line for line in server.output if "changed" in line)


class TestBrokenFiles:
    @pytest.mark.parametrize(
        ("file", "text", "told"),
        [
            ("site_urls.py", "def (\n", "SyntaxError"),
            ("site_settings.py", "import nothing_of_that_name\n", "nothing_of_that_name"),
            ("site_wsgi.py", "application = None + 1\n", "cannot be loaded: TypeError"),
        ],
    )
    def test_error_is_shown_and_the_next_save_tries_again(
        self, serve: Start, project: Path, file: str, text: str, told: str
    ) -> None:
        server = serve("--reload")
        port = server.wait_until_it_serves()
        good = (project / file).read_text()
        (project / file).write_text(text)
        server.says("it starts again at the next save")
        assert told in server.text
        answers: list[tuple[int, str]] = []
        waiting = threading.Thread(target=lambda: answers.append(get(port)))
        waiting.start()
        (project / file).write_text(good)
        waiting.join()
        assert answers[0][0] == 200, "who came meanwhile has waited"

    def test_failing_check_is_waited_for_from_the_beginning(self, serve: Start, project: Path) -> None:
        amend(project / "site_settings.py", "ROOT_URLCONF", "LANGUAGE_CODE = '!'\nROOT_URLCONF")
        server = serve("--reload")
        server.says("it starts again at the next save")
        assert "SystemCheckError" in server.text
        amend(project / "site_settings.py", "LANGUAGE_CODE = '!'\n", "")
        server.wait_until_it_serves()

    def test_new_file_may_be_what_was_missing(self, serve: Start, project: Path) -> None:
        server = serve("--reload")
        port = server.wait_until_it_serves()
        amend(project / "site_urls.py", "HELD = []", "HELD = []\nfrom helper import WORD")
        server.says("it starts again at the next save")
        (project / "helper.py").write_text("WORD = 'x'\n")
        comes(port, "VERSION", server)


class TestEnding:
    def test_interrupt_ends_supervisor_and_server(self, serve: Start) -> None:
        server = serve("--reload", "--workers", "2")
        port = server.wait_until_it_serves()
        pids = serving(port, 2)
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        eventually(lambda: not any(is_running(pid) for pid in pids), "the workers have gone")
        assert "Traceback" not in server.text

    def test_interrupt_of_a_terminal_reaches_everybody_and_is_quiet(self, serve: Start) -> None:
        server = serve("--reload", "--workers", "2", start_new_session=True)
        port = server.wait_until_it_serves()
        pids = serving(port, 2)
        os.killpg(server.pid, signal.SIGINT)
        assert server.wait() == 0
        eventually(lambda: not any(is_running(pid) for pid in pids), "the workers have gone")
        assert "Traceback" not in server.text
        assert "SIGKILL" not in server.text

    def test_interrupt_does_not_wait_for_what_old_servers_still_do(self, serve: Start, project: Path) -> None:
        server = serve("--reload", "--graceful-timeout", "600s", "--request-timeout", "600s")
        port = server.wait_until_it_serves()
        before = the_worker(port)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /?sleep=600 HTTP/1.1\r\nHost: test\r\n\r\n")
            eventually(lambda: any(row["busy"] for row in stats(port)["workers"]), "the request runs")
            amend(project / "site_urls.py", "VERSION", "CHANGED")
            comes(port, "CHANGED", server)
            assert is_running(before)
            server.signal(signal.SIGINT)
            assert server.wait() == 0
        eventually(lambda: not is_running(before), "the old worker has gone")

    def test_only_the_last_few_old_servers_go_on(self, serve: Start, project: Path) -> None:
        server = serve("--reload", "--graceful-timeout", "600s", "--request-timeout", "600s")
        port = server.wait_until_it_serves()
        pids = []
        words = ["VERSION", "FIRST", "SECOND", "THIRD", "FOURTH"]
        with contextlib.ExitStack() as stack:
            for old, new in itertools.pairwise(words):
                pids.append(the_worker(port))
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
                client.sendall(b"GET /?sleep=600 HTTP/1.1\r\nHost: test\r\n\r\n")
                eventually(lambda: any(row["busy"] for row in stats(port)["workers"]), "the request runs")
                amend(project / "site_urls.py", old, new)
                comes(port, new, server)
            eventually(lambda: not is_running(pids[0]), "the oldest has been ended")
            assert all(is_running(pid) for pid in pids[1:])

    def test_interrupt_while_it_starts_is_quiet(self, serve: Start, project: Path) -> None:
        server = serve("--reload")
        port = server.wait_until_it_serves()
        amend(project / "site_wsgi.py", "application =", "import time\ntime.sleep(30)\napplication =")
        server.says("starting again")
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert "Traceback" not in server.text
        with pytest.raises(ConnectionRefusedError):
            get(port)

    def test_killed_supervisor_leaves_nobody_behind(self, serve: Start) -> None:
        server = serve("--reload")
        port = server.wait_until_it_serves()
        pids = serving(port, 1)
        server.process.kill()
        server.wait()
        eventually(lambda: not any(is_running(pid) for pid in pids), "the workers have gone")
        eventually(lambda: refuses(port), "nobody holds the sockets")

    def test_pid_and_socket_files_are_the_supervisors(self, serve: Start, project: Path) -> None:
        server = serve("--reload", "--pid-file", str(project / "pid"), address=f"unix:{project / 'site.sock'}")
        server.wait_until_it_serves("unix:")
        amend(project / "site_urls.py", "VERSION", "CHANGED")
        server.says("serving again")
        assert (project / "pid").read_text() == f"{server.pid}\n"
        assert (project / "site.sock").exists()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert not (project / "pid").exists()
        assert not (project / "site.sock").exists()


def the_worker(port: int) -> int:
    """The process id of the only one, as soon as it has told that it serves."""
    return min(serving(port, 1))


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except ConnectionRefusedError:
        return True
    return False


def touch(file: Path, text: str, seconds: float) -> str:
    """A file with a modification time of its own, as a later save would give it."""
    file.write_text(text)
    os.utime(file, (seconds, seconds))
    return str(file)


class TestWatch:
    def test_change_is_seen_until_the_refresh(self, tmp_path: Path) -> None:
        watch = Watch()
        path = touch(tmp_path / "a.py", "1", 1000)
        watch.add(path)
        assert watch.changed() == ""
        touch(tmp_path / "a.py", "2", 1001)
        assert watch.changed() == path == watch.changed()
        watch.refresh()
        assert watch.changed() == ""

    def test_file_that_is_moved_away_for_a_moment_has_not_changed(self, tmp_path: Path) -> None:
        seconds = [0.0]
        watch = Watch(lambda: seconds[0])
        path = touch(tmp_path / "a.py", "1", 1000)
        watch.add(path)
        for _ in range(2):
            (tmp_path / "a.py").rename(tmp_path / "a.py~")
            assert watch.changed() == ""
            (tmp_path / "a.py~").rename(tmp_path / "a.py")
            assert watch.changed() == ""
        (tmp_path / "a.py").unlink()
        assert watch.changed() == ""
        seconds[0] += 1
        assert watch.changed() == path

    def test_file_saved_while_the_server_started_has_changed(self, tmp_path: Path) -> None:
        watch = Watch()
        watch.add(touch(tmp_path / "old.py", "1", 1000), newer_than=1000.5)
        assert watch.changed() == ""
        path = touch(tmp_path / "new.py", "1", 1001)
        watch.add(path, newer_than=1000.5)
        assert watch.changed() == path

    def test_new_and_deleted_files_of_a_folder_count(self, tmp_path: Path) -> None:
        watch = Watch()
        watch.add_glob(str(tmp_path), "**/*.html")
        path = touch(tmp_path / "a.html", "1", 1000)
        touch(tmp_path / "b.txt", "1", 1000)
        assert watch.changed() == path
        watch.refresh()
        assert watch.changed() == ""
        (tmp_path / "a.html").unlink()
        assert watch.changed() == path

    def test_libraries_are_looked_at_now_and_then(self) -> None:
        seconds = [0.0]
        watch = Watch(lambda: seconds[0])
        watch.add(json.__file__)
        assert watch.changed() == ""
        watch._libraries[json.__file__] = (0, 0)
        assert watch.changed() == ""
        seconds[0] += 2
        assert watch.changed() == json.__file__

    def test_project_files_leave_out_environments_and_hidden_folders(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "nothing_of_that_name")
        for folder in ("shop", ".git", "env", "__pycache__"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "a.py").touch()
        (tmp_path / "env" / "pyvenv.cfg").touch()
        assert list(project_files()) == [str(tmp_path / "shop" / "a.py")]


class TestReports:
    def test_a_report_of_many_files_comes_in_pieces_that_do_not_mix(self) -> None:
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        Reporter(writable)._send([["file", "x" * 100] for _ in range(100)])
        pieces = []
        while select.select([readable], [], [], 0)[0]:
            pieces.append(os.read(readable, select.PIPE_BUF))
        os.close(readable)
        os.close(writable)
        assert b"".join(pieces).count(b"\n") == 100

    def test_modules_are_told_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[list[str]] = []
        reporter = Reporter(1)
        monkeypatch.setattr(reporter, "_send", lambda reports: told.extend(reports))
        reporter.report_modules()
        assert ["file", str(Path(__file__).resolve())] in told
        told.clear()
        reporter.report_modules()
        assert told == []

    def test_file_that_the_server_itself_writes_is_let_be(self, tmp_path: Path) -> None:
        """Without that it would start again for ever."""
        script = tmp_path / "server.py"
        stamp = tmp_path / "stamp.py"
        script.write_text(f"""
import json, os, time
fd = int(os.environ["WSGIPERF__REPORT_FD"])
os.write(fd, b'["ready"]\\n')
open({str(stamp)!r}, "w").write(str(time.time()))
os.write(fd, json.dumps(["file", {str(stamp)!r}]).encode() + b"\\n")
time.sleep(60)
""")
        test = f"""
import sys, django
from django.conf import settings
settings.configure()
from django_wsgiperf.server.reloader import Supervisor
supervisor = Supervisor([sys.executable, {str(script)!r}], [], lambda text: print(text, flush=True))
sys.exit(supervisor.run())
"""
        process = subprocess.Popen(
            [sys.executable, "-c", test], cwd=tmp_path, env=environment({}), stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            restarts = 0
            for line in process.stdout:
                restarts += "starting again" in line
                if "it is not watched any longer" in line:
                    break
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()
        assert restarts == 10
