"""Does what docs/tutorial.md says, in a new project, and gets what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from .served import ROOT, environment, serve

TUTORIAL = ROOT / "docs" / "tutorial.md"


FILE = re.compile(r"```python\n# (library/\w+\.py)\n(.+?)```", re.DOTALL)


def follow(folder: Path, until: str) -> Path:
    """Do the tutorial's steps before the heading `until`, in a new project in `folder`; its manage.py."""
    start = [sys.executable, "-m", "django", "startproject", "library", "."]
    subprocess.run(start, cwd=folder, env=environment(folder), check=True, timeout=60)
    text = TUTORIAL.read_text(encoding="utf-8")
    for name, content in FILE.findall(text[: text.index(until)]):
        file = folder / name
        file.write_text(file.read_text() + content if name.endswith("settings.py") else content)
    return folder / "manage.py"


def manage(project: Path, *arguments: str) -> str:
    """What a command of the project says."""
    done = subprocess.run(
        [sys.executable, str(project), *arguments],
        env=environment(project.parent),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def get(address: str) -> tuple[bytes, str]:
    """The body, and the Cache-Status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=20) as response:
        return response.read(), response.headers.get("Cache-Status", "")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The reader's project after step 1; its manage.py."""
    return follow(tmp_path, until="## 2.")


def test_its_files_are_those_that_its_steps_name() -> None:
    names = [name for name, _ in FILE.findall(TUTORIAL.read_text(encoding="utf-8"))]
    assert names == ["library/settings.py", "library/urls.py", "library/settings.py", "library/urls.py"]


def test_first_page_is_served(project: Path) -> None:
    with serve(project.parent, manage=project) as address:
        assert get(f"{address}/")[0] == b"Hello from the pool.\n"
        assert get(f"{address}/-/live")[0].strip() == b"alive"


def test_summary_has_the_lines_of_the_tutorial() -> None:
    """But for numbers, which are the reader's."""
    text = TUTORIAL.read_text(encoding="utf-8")
    shown = text[text.index("  django-wsgiperf ") : text.index("In another terminal")]
    labels = ["serving", "with", "cache", "project", "health", "reload", "stop", "warning"]
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("    ")] == labels


def test_slow_page_comes_from_the_cache_and_is_measured(tmp_path: Path) -> None:
    project = follow(tmp_path, until="## 7.")
    manage(project, "migrate", "-v0")
    with serve(project.parent, manage=project) as address:
        first, second = get(f"{address}/slow/"), get(f"{address}/slow/")
        assert first[0] == second[0] == b"That took a while.\n"
        assert first[1] == "wsgiperf; fwd=uri-miss; stored"
        assert second[1] == "wsgiperf; hit"
    # The server has written its last minute before it ended.
    assert "/slow/" in manage(project, "wsgiperf", "stats", "--period", "15m")


def test_mistake_is_refused_in_the_words_of_the_tutorial(project: Path) -> None:
    settings = project.parent / "library" / "settings.py"
    settings.write_text(settings.read_text().replace('"THREADS"', '"THREDS"'))
    done = subprocess.run(
        [sys.executable, str(project), "serve"],
        env=environment(project.parent),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    for line in ("THREDS: there is no such key in WSGIPERF['SERVER']", "    instead: write THREADS"):
        assert line in done.stderr
        assert line in TUTORIAL.read_text(encoding="utf-8")


def test_every_file_that_the_tutorial_links_to_exists() -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (TUTORIAL.parent / target).is_file(), target
