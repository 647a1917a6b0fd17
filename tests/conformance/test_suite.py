"""Getting the suite: what is said where it cannot be had. npm and Node.js are played by scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance import suite
from tests.conformance.suite import NoSuite

INSTALL = """\
mkdir -p node_modules/{package}/ node_modules/node-fetch
echo '{{"version": "{version}"}}' > node_modules/{package}/package.json
echo again >> {count}
"""


class Programs:
    """A folder that is all of PATH, but for what the scripts themselves take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def add(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n", encoding="utf-8")
        path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(made.folder))
    return made


def test_what_is_missing_is_named_with_what_to_install(programs: Programs, tmp_path: Path) -> None:
    with pytest.raises(NoSuite, match=r"Node\.js was not found: install Node\.js and npm \(Debian: nodejs npm\)"):
        suite.get(tmp_path)
    programs.add("node", "echo v10.24.0")
    with pytest.raises(NoSuite, match=r"v10\.24\.0: install Node\.js 18 or newer"):
        suite.get(tmp_path)
    programs.add("node", "echo v20.1.0")
    with pytest.raises(NoSuite, match="npm was not found: install it"):
        suite.get(tmp_path)


def test_it_is_fetched_once_and_again_where_it_is_not_whole(programs: Programs, tmp_path: Path) -> None:
    count = tmp_path / "count"
    programs.add("node", "echo v20.1.0")
    programs.add("npm", INSTALL.format(package=suite.PACKAGE, version=suite.VERSION, count=count))
    place = suite.get(tmp_path)
    assert suite.get(tmp_path) == place
    assert json.loads((place / "package.json").read_text()) == {"version": suite.VERSION}
    assert count.read_text().split() == ["again"]
    (place.parent / "node-fetch").rmdir()
    suite.get(tmp_path)
    assert count.read_text().split() == ["again", "again"]


def test_npm_that_fails_is_quoted_and_another_version_is_refused(programs: Programs, tmp_path: Path) -> None:
    programs.add("node", "echo v20.1.0")
    programs.add("npm", "echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(NoSuite, match="failed: npm error code ENOTFOUND"):
        suite.get(tmp_path)
    programs.add("npm", INSTALL.format(package=suite.PACKAGE, version="0.0.1", count=tmp_path / "count"))
    with pytest.raises(NoSuite, match="another version"):
        suite.get(tmp_path)
