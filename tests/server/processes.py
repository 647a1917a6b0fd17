"""`manage.py serve` of a small project in processes of its own, and clients that put it under steady load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from .patience import PATIENT_ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 60.0

PROJECT = {
    "site_settings.py": """
SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_urls"
WSGI_APPLICATION = "site_wsgi.application"
INSTALLED_APPS = ["django_wsgiperf"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
WSGIPERF = {"SERVER": {"STATS_ALLOW": ["127.0.0.1", "unix"]}}
""",
    "site_wsgi.py": """
from django.core.wsgi import get_wsgi_application
from tests.server.validation import validated
application = validated(get_wsgi_application())
""",
    "site_urls.py": """
import ctypes, os, threading, time
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
HELD = []
def wait_while(file):
    while file and os.path.exists(file):
        time.sleep(0.01)
def pid(request):
    time.sleep(float(request.GET.get("sleep", 0)))
    wait_while(request.GET.get("while"))
    return HttpResponse(f"VERSION {os.getpid()}")
def busy(request):
    deadline = time.monotonic() + float(request.GET["for"])
    while time.monotonic() < deadline:
        try:
            time.sleep(0.01)
        except BaseException:
            pass
    return HttpResponse("done")
def stream(request):
    def pieces():
        for n in range(int(request.GET["pieces"])):
            yield f"{n}\\n"
            time.sleep(0.05)
            wait_while(request.GET.get("while"))
    return StreamingHttpResponse(pieces())
def events(request):
    def pieces():
        yield "data: 1\\n\\n"
        while True:
            try:
                time.sleep(300)
            finally:
                print("EVENTS CLOSED", flush=True)
    return StreamingHttpResponse(pieces(), content_type="text/event-stream")
def big(request):
    return HttpResponse(b"x" * 8_000_000)
def hold(request):
    ctypes.PyDLL(None).usleep(int(float(request.GET["for"]) * 1e6))
    return HttpResponse("done")
def background(request):
    threading.Thread(target=time.sleep, args=[300], name="endless").start()
    return HttpResponse("done")
def grow(request):
    HELD.append(b"x" * 4_000_000)
    return HttpResponse(f"VERSION {os.getpid()}")
urlpatterns = [
    path("", pid), path("busy", busy), path("stream", stream), path("big", big), path("hold", hold),
    path("grow", grow), path("background", background), path("events", events),
]
""",
    "manage.py": """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
}


def write_project(folder: Path) -> Path:
    for name, text in PROJECT.items():
        (folder / name).write_text(text)
    return folder


def amend(file: Path, old: str, new: str) -> None:
    """Change a source file; what is to be changed must be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def environment(more: Mapping[str, str]) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WSGIPERF_", "DJANGO_"))}
    # Compiled modules are compared by size and whole seconds, and these tests change files faster than that.
    fixed = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**clean, **fixed, **more}


def run(project: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=project,
        env=environment(environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def eventually(condition: Callable[[], bool], what: str | Callable[[], str], *, steps: int = 1) -> None:
    """Wait for what another process is about to do, in so many steps; only a failure takes long."""
    deadline = time.monotonic() + DEADLINE_S * steps
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"never happened: {what if isinstance(what, str) else what()}")
        threading.Event().wait(0.01)


class Serve:
    """A running server, whose output is collected."""

    def __init__(
        self,
        project: Path,
        *arguments: str,
        address: str = "127.0.0.1:0",
        command: list[str] | None = None,
        pass_fds: Iterable[int] = (),
        start_new_session: bool = False,
        **environ: str,
    ) -> None:
        self.output: list[str] = []
        addresses = [address] if address else []
        self.process = subprocess.Popen(
            command or [sys.executable, "manage.py", "serve", *addresses, *arguments],
            cwd=project,
            env=environment({**PATIENT_ENVIRONMENT, **environ}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=tuple(pass_fds),
            start_new_session=start_new_session,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output.append(line)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "".join(self.output)

    def says(self, words: str) -> None:
        """Wait until it has printed `words`."""
        eventually(lambda: words in self.text, lambda: f"{words!r} is told in: {self.text}")

    def wait_until_it_serves(self, pattern: str = r"http://127\.0\.0\.1:(\d+)") -> int:
        """The port."""

        def listening() -> bool:
            assert self.process.poll() is None, self.text
            return re.search(pattern, self.text) is not None

        eventually(listening, lambda: f"it listens: {self.text}")
        found = re.search(pattern, self.text)
        assert found is not None
        return int(found[1]) if found.groups() else 0

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        return self.process.wait(DEADLINE_S)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(DEADLINE_S)


def get(port: int, path: str = "/", **headers: str) -> tuple[int, str]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


def accepts(port: int) -> bool:
    """Whether anybody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
    except OSError:
        return False
    return True


def stats(port: int, query: str = "") -> dict[str, Any]:
    """/-/stats of the worker that answers."""
    numbers: dict[str, Any] = json.loads(get(port, f"/-/stats{query}")[1])
    return numbers


def workers(port: int) -> set[int]:
    """The process ids of the workers that serve; empty when the asked one was killed in mid-answer."""
    try:
        rows = stats(port)["workers"]
    except (OSError, http.client.HTTPException):
        return set()
    return {row["pid"] for row in rows if row["state"] == "serving"}


def serving(port: int, number: int) -> set[int]:
    """The process ids of so many workers, as soon as all have told that they serve."""
    found: set[int] = set()

    def told() -> bool:
        found.clear()
        found.update(workers(port))
        return len(found) == number

    eventually(told, lambda: f"{number} workers serve: {found}")
    return found


class Load:
    """Clients that ask again and again, half of them on fresh connections; every failure is kept.

    `balanced`: they ask /-/ready as a load balancer does, and go away when it says no."""

    def __init__(self, port: int, clients: int = 4, path: str = "/", *, balanced: bool = False) -> None:
        self.port = port
        self.path = path
        self.failures: list[str] = []
        self.pids: set[str] = set()
        self.answered = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n % 2 == 0,)) for n in range(clients)]
        if balanced:
            self._threads.append(threading.Thread(target=self._watch))

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            with contextlib.suppress(OSError, http.client.HTTPException):
                if get(self.port, "/-/ready")[0] == 503:
                    self._stop.set()

    def _ask(self, fresh: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(0.005):
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
            try:
                connection.request("GET", self.path, headers={"Connection": "close"} if fresh else {})
                response = connection.getresponse()
                text = response.read().decode()
                if response.status != 200:
                    self.failures.append(f"{response.status} {text}")
                self.pids.add(text.split()[-1])
                self.answered += 1
                if response.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    @property
    def has_gone(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def more(self, answers: int) -> None:
        """Wait for so many more answers."""
        before = self.answered
        eventually(lambda: self.answered >= before + answers, lambda: f"answers; failures: {self.failures}")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return not Path("/proc/self").exists()
        return False
