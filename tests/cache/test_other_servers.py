"""The cache under other servers than `serve`: how many of their threads may wait, and what a crowd on one page does.

gunicorn is always there; waitress and uWSGI where they are installed, for they are needed by benchmarks only.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests._run.servers import free_port
from tests.server.processes import Serve

from .fakes import Worker, eventually
from .test_served import PROJECT, ask

THREADS = 12
CROWD = 40
PATIENCE = ("--graceful-timeout", "5")
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning", *PATIENCE, "site_wsgi")
GTHREAD = (*GUNICORN, "--worker-class", "gthread", "--threads", f"{THREADS}")
POOLED = (*GUNICORN, "--worker-class", "django_wsgiperf.server.worker.PooledWorker", "--threads", f"{THREADS}")
UWSGI = Path(sys.executable).with_name("uwsgi")
UWSGI_OPTIONS = ("--http-socket", "127.0.0.1:{port}", "--module", "site_wsgi", "--need-app", "--die-on-term")


def commands() -> Iterator[Any]:
    """How each server is started, and how many threads may wait in it."""
    python = sys.executable
    others = THREADS - 1
    yield pytest.param([python, *GTHREAD], others, id="gunicorn gthread")
    yield pytest.param([python, *GUNICORN, "--threads", "3"], 2, id="gunicorn with threads")
    yield pytest.param([python, *GUNICORN], 0, id="gunicorn")
    yield pytest.param([python, *POOLED], THREADS // 2, id="gunicorn with our worker")
    if importlib.util.find_spec("waitress"):
        command = [python, "-m", "waitress", "--listen=127.0.0.1:{port}", "site_wsgi:application"]
        yield pytest.param([*command[:-1], f"--threads={THREADS}", command[-1]], others, id="waitress")
        yield pytest.param(command, 3, id="waitress by default")
    if UWSGI.exists():
        virtual = ["--virtualenv", sys.prefix] if sys.prefix != sys.base_prefix else []
        yield pytest.param([str(UWSGI), *UWSGI_OPTIONS, *virtual, "--threads", f"{THREADS}"], others, id="uWSGI")
        yield pytest.param([str(UWSGI), *UWSGI_OPTIONS, *virtual], 0, id="uWSGI with one thread")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "site_wsgi.py").write_text(
        "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'site_settings'\n"
        "from django_wsgiperf.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"
    )
    with (tmp_path / "site_urls.py").open("a") as file:
        file.write(
            """
from django_wsgiperf.cache import runtime
def flights(request):
    made = runtime.engine().flights
    return HttpResponse(f"{made.room.most[False]} {made.numbers().waiting}")
urlpatterns.append(path("flights", flights))
"""
        )
    return tmp_path


@pytest.fixture
def start(project: Path) -> Iterator[Callable[[list[str]], int]]:
    """Starts a server; its port."""
    started: list[Serve] = []

    def begin(command: list[str]) -> int:
        port = free_port()
        started.append(Serve(project, command=[word.replace("{port}", str(port)) for word in command]))

        def answers() -> bool:
            assert started[-1].process.poll() is None, started[-1].text
            try:
                return ask(port, "/pid")[0].isdecimal()
            except OSError:
                return False

        eventually(answers)
        return port

    yield begin
    for each in started:
        each.stop()


@pytest.mark.parametrize(("command", "bound"), list(commands()))
def test_as_many_may_wait_as_each_server_can_spare(
    start: Callable[[list[str]], int], command: list[str], bound: int
) -> None:
    assert ask(start(command), "/flights")[0].split()[0] == str(bound)


def test_a_crowd_before_a_slow_page_has_it_made_once_and_leaves_no_thread_behind(
    start: Callable[[list[str]], int], project: Path
) -> None:
    port = start([sys.executable, *GTHREAD])
    crowd = [Worker(lambda: ask(port, "/slow")) for _ in range(CROWD)]
    eventually((project / "made").exists)
    # Asked behind the crowd, in a server whose threads all wait for the page, and answered when it is there.
    other = Worker(lambda: ask(port, "/pid"))
    (project / "ready").touch()
    assert {worker.result()[0] for worker in crowd} == {"slow"}
    assert other.result()[0].isdecimal()
    assert (project / "made").read_text() == "x"


def test_with_our_worker_other_pages_are_answered_meanwhile(start: Callable[[list[str]], int], project: Path) -> None:
    port = start([sys.executable, *POOLED])
    crowd = [Worker(lambda: ask(port, "/slow")) for _ in range(CROWD)]
    eventually(lambda: ask(port, "/flights")[0].split()[1] == str(CROWD - 1))
    for _ in range(20):
        assert ask(port, "/pid")[0].isdecimal()
    assert (project / "made").read_text() == "x"
    (project / "ready").touch()
    assert {worker.result()[0] for worker in crowd} == {"slow"}
    assert (project / "made").read_text() == "x"
