"""`serve --reload` while files change again and again: by an editor, by another program, or by the server itself."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_wsgiperf.server import reloader
from django_wsgiperf.server.reloader import Supervisor
from django_wsgiperf.server.watching import Watch

from .processes import environment, eventually

SERVER = """
import json, os, sys, time
fd = int(os.environ["WSGIPERF__REPORT_FD"])
os.write(fd, json.dumps(["file", "page.py"]).encode() + b'\\n["ready"]\\n')
time.sleep(300)
"""
SUPERVISOR = """
import sys
from django.conf import settings
settings.configure()
from django_wsgiperf.server.reloader import Supervisor
sys.exit(Supervisor([sys.executable, "server.py"], [], lambda text: print(text, flush=True)).run())
"""


class Reloading:
    def __init__(self, folder: Path) -> None:
        self.page = folder / "page.py"
        self.page.touch()
        (folder / "server.py").write_text(SERVER)
        self.lines: list[str] = []
        self._saves = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR], cwd=folder, env=environment({}), stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.lines.append(line)

    def save(self) -> None:
        self._saves += 1
        self.page.write_text("#" * self._saves)

    def count(self, words: str) -> int:
        return sum(words in line for line in self.lines)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()


@pytest.fixture
def reloading(tmp_path: Path) -> Iterator[Reloading]:
    server = Reloading(tmp_path)
    yield server
    server.end()


def test_file_that_was_saved_too_often_in_a_row_is_watched_again_later(reloading: Reloading) -> None:
    """A developer whose editor saves by itself is no server that writes the file as it starts, only much like it."""

    def let_be() -> bool:
        reloading.save()
        return reloading.count("changes whenever the server starts") == 1

    eventually(let_be, lambda: "".join(reloading.lines), steps=2)
    before = reloading.count("starting again")

    def starts() -> bool:
        reloading.save()
        return reloading.count("starting again") > before

    eventually(starts, lambda: "".join(reloading.lines))


def test_what_was_accepted_has_not_changed_until_it_changes_again(tmp_path: Path) -> None:
    file, template = tmp_path / "urls.py", tmp_path / "page.html"
    file.write_text("1")
    watch = Watch()
    watch.add(str(file))
    watch.add_glob(str(tmp_path), "*.html")
    for path in (file, template):
        path.write_text("22")
        assert watch.changed() == str(path)
        watch.accept(str(path))
        assert watch.changed() == ""
        path.write_text("333")
        assert watch.changed() == str(path)
        watch.accept(str(path))
    template.unlink()
    assert watch.changed() == str(template)
    watch.accept(str(template))
    assert watch.changed() == ""


class Restless(Watch):
    """Whenever it is looked at, a file has just been saved: so many times."""

    def __init__(self, file: Path, saves: float) -> None:
        super().__init__()
        self.add(str(file))
        self.saves = saves
        self._file = file

    def changed(self) -> str:
        if self.saves:
            self.saves -= 1
            self._file.write_text(self._file.read_text() + "#")
        return super().changed()


@pytest.mark.parametrize(("saves", "longest_s"), [(4, 60.0), (float("inf"), 0.5)])
def test_start_waits_for_the_last_of_many_saves_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: float, longest_s: float
) -> None:
    (tmp_path / "page.py").touch()
    supervisor = Supervisor([], [], print)
    watch = Restless(tmp_path / "page.py", saves)
    monkeypatch.setattr(supervisor, "_watch", watch)
    monkeypatch.setattr(reloader, "_QUIET_S", 0.01)
    monkeypatch.setattr(reloader, "_QUIET_MAX_S", longest_s)
    supervisor._await_quiet()
    assert watch.saves in (0, float("inf"))
