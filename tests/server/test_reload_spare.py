"""The spare process of `serve --reload`: what it imports before a save, and when it is not used."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from django_wsgiperf.server.spare import Spare, preloadable
from django_wsgiperf.server.watching import library_folders

from .processes import Serve, amend, environment, eventually, get
from .test_reload import comes

#: The processes of one test take turns on a busy machine; each wait has a limit of its own.
pytestmark = pytest.mark.timeout(600)
Start = Callable[..., Serve]

PAGE = """
import sys
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from django.utils import timezone
def page(request):
    preload = sys.modules.get("django_wsgiperf.server.preload")
    was = "spare" if preload is not None and preload.went_on() is not None else "cold"
    return HttpResponse(f"{was} {settings.WORD} {timezone.now()}")
urlpatterns = [path("", page)]
"""


@pytest.fixture
def telling(project: Path) -> Path:
    """The project with a page that tells whether its process was a spare one."""
    (project / "site_urls.py").write_text(PAGE)
    amend(project / "site_settings.py", "ROOT_URLCONF", "WORD = 'word 0'\nROOT_URLCONF")
    return project


def spare_waits(server: Serve) -> bool:
    """Whether a spare process is there that has imported all and does nothing; it may be one that only finds out what
    it cannot import."""
    if not Path("/proc/self").exists():
        return True
    for _ in range(10):
        # It also waits for a moment before it knows what to import.
        if spare_state(server) != "S":
            return False
        threading.Event().wait(0.02)
    return True


def spare_state(server: Serve) -> str:
    """As the kernel names it; empty where there is no spare process."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == server.pid and b"preload.py" in (folder / "cmdline").read_bytes():
                return state
    return ""


def save_until(told: Callable[[], bool], server: Serve, project: Path, port: int) -> None:
    """Save until a spare process was of use."""
    saves = iter(range(1, 1000))

    def saved() -> bool:
        eventually(lambda: spare_waits(server), lambda: f"a spare process is there: {server.text}")
        n = next(saves)
        amend(project / "site_settings.py", f"'word {n - 1}'", f"'word {n}'")
        comes(port, f"word {n} ", server)
        return told()

    eventually(saved, lambda: server.text, steps=6)


def test_save_is_served_by_a_process_that_has_imported_the_rest(serve: Start, telling: Path) -> None:
    server = serve("--reload")
    port = server.wait_until_it_serves()
    assert get(port)[1].startswith("cold")
    save_until(lambda: get(port)[1].startswith("spare"), server, telling, port)
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in server.text


def test_project_that_replaces_what_was_imported_is_started_without(serve: Start, telling: Path) -> None:
    """What refers to the one that was there before would be of the spare process only."""
    replacing = "from django.utils import timezone\ntimezone.now = lambda: 'never'\nWORD"
    amend(telling / "site_settings.py", "WORD", replacing)
    server = serve("--reload")
    port = server.wait_until_it_serves()
    save_until(lambda: "the project replaces django.utils.timezone.now" in server.text, server, telling, port)
    assert get(port)[1].startswith("cold word")
    assert "never" in get(port)[1]


def test_only_installed_modules_of_known_packages_are_imported_early() -> None:
    found = dict(preloadable())
    assert found["json"] == json.__file__
    assert found["django.conf"].endswith("conf/__init__.py")
    assert not [name for name in found if name.startswith(("tests", "pytest"))]
    assert all(os.path.realpath(file).startswith(library_folders()) for file in found.values())
    assert "json" not in dict(preloadable({"json"}))


READS = "from django.conf import settings\ntry:\n    settings.WORD\nexcept Exception:\n    pass\n"


def test_module_that_reads_a_setting_is_unfit_though_it_does_without(tmp_path: Path) -> None:
    for name, text in {"reads": READS, "imports": "import reads\n", "fails": "1 / 0\n", "fit": "", "other": ""}.items():
        (tmp_path / f"{name}.py").write_text(text)
    modules = {name: str(tmp_path / f"{name}.py") for name in ("fit", "imports", "reads", "fails")}
    script = f"""
import json
from django_wsgiperf.server.preload import import_all
print(json.dumps(sorted(import_all({modules | {"other": "/elsewhere/other.py"}!r}))))
"""
    told = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, env=environment({}), text=True)
    assert json.loads(told) == ["fails", "imports", "other", "reads"]


class TestFreshness:
    @pytest.fixture
    def spare(self, tmp_path: Path) -> Iterator[Spare]:
        def launch(command: Sequence[str], more: Mapping[str, str], fd: int) -> subprocess.Popen[bytes]:
            environ = environment({**more, "WSGIPERF__REPORT_FD": str(report)})
            return subprocess.Popen(command, cwd=tmp_path, env=environ, pass_fds=(fd, report))

        (tmp_path / "manage.py").write_text("import os, sys\nos.write(int(sys.argv[1]), b'it runs')\n")
        (tmp_path / "library.py").touch()
        self.reports, report = os.pipe()
        modules = {"django.conf": str(dict(preloadable())["django.conf"]), "library": str(tmp_path / "library.py")}
        spare = Spare([sys.executable, "-Wignore", str(tmp_path / "manage.py"), str(report)], modules, launch)
        os.close(report)
        yield spare
        if spare.process.poll() is None:
            spare.discard()
        os.close(self.reports)

    def told(self) -> bytes:
        return b"".join(iter(lambda: os.read(self.reports, 4096), b""))

    def test_it_goes_on_as_the_command(self, spare: Spare) -> None:
        assert spare.is_fresh()
        spare.go()
        assert spare.process.wait() == 0
        assert self.told().endswith(b"it runs")

    def test_change_of_what_it_imports_makes_it_stale(self, spare: Spare, tmp_path: Path) -> None:
        (tmp_path / "library.py").write_text("1")
        assert not spare.is_fresh()

    def test_it_ends_with_its_pipe(self, spare: Spare) -> None:
        os.close(spare._orders)
        assert spare.process.wait() == 0
        assert b"it runs" not in self.told()
