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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The reader's project after step 1; its manage.py."""
    start = [sys.executable, "-m", "django", "startproject", "library", "."]
    subprocess.run(start, cwd=tmp_path, env=environment(tmp_path), check=True, timeout=60)
    blocks = re.findall(r"```python\n# (library/\w+\.py)\n(.+?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    assert [name for name, _ in blocks] == ["library/settings.py", "library/urls.py"]
    for name, text in blocks:
        file = tmp_path / name
        file.write_text(file.read_text() + text if name.endswith("settings.py") else text)
    return tmp_path / "manage.py"


def test_first_page_is_served(project: Path) -> None:
    with serve(project.parent, manage=project) as address:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{address}/", timeout=20) as response:
            assert response.read() == b"Hello from the pool.\n"
        with opener.open(f"{address}/-/live", timeout=20) as response:
            assert response.read().strip() == b"alive"


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
