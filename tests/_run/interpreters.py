"""Finds Pythons by their minor version: the running one, those on PATH, those of pyenv and uv.

Each candidate is asked what it is, because a pyenv shim may exist for a Python that it refuses to run. Which
versions are wanted, and what is done with them, is elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

QUESTION = """
import importlib.util as util, json, sys, sysconfig
from pathlib import Path
print(json.dumps({
    "path": sys.executable,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "lacks": [name for name in ("venv", "ensurepip", "ssl", "sqlite3") if util.find_spec(name) is None],
    "headers": Path(sysconfig.get_path("include"), "Python.h").exists(),
    "virtual": sys.prefix != sys.base_prefix,
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that runs. `lacks` names the modules without which no virtual environment can be made."""

    path: str
    version: str
    lacks: tuple[str, ...] = ()
    headers: bool = True
    virtual: bool = False

    @property
    def minor(self) -> str:
        """ "3.11" of "3.11.7"."""
        return ".".join(self.version.split(".")[:2])


def find(minor: str, environ: Mapping[str, str] | None = None) -> Interpreter | None:
    """The best Python of this minor version: the first whole one, or else the first that lacks something."""
    incomplete: Interpreter | None = None
    for path in candidates(minor, os.environ if environ is None else environ):
        found = ask(path)
        if found is None or found.minor != minor:
            continue
        if not found.lacks:
            return found
        incomplete = incomplete or found
    return incomplete


def candidates(minor: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Files that may be this Python, the likeliest first, each once."""
    seen: set[str] = set()
    for path in _places(minor, environ):
        if path not in seen and os.access(path, os.X_OK):
            seen.add(path)
            yield path


def _places(minor: str, environ: Mapping[str, str]) -> Iterator[str]:
    if sys.version_info[:2] == tuple(map(int, minor.split("."))):
        yield sys.executable
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        if folder:
            yield os.path.join(folder, f"python{minor}")
    home = Path(environ.get("HOME", "/nonexistent"))
    for root, pattern in (
        (Path(environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", f"{minor}.*/bin/python"),
        (home / ".local/share/uv/python", f"cpython-{minor}.*/bin/python{minor}"),
    ):
        yield from map(str, sorted(root.glob(pattern), key=by_number, reverse=True))


def by_number(path: Path) -> list[int]:
    """A sort key that puts 3.11.10 after 3.11.9."""
    return [int(digits) for digits in "".join(c if c.isdigit() else " " for c in str(path)).split()]


def ask(path: str, limit_s: float = 20.0) -> Interpreter | None:
    """What the file says of itself, or None when it does not run."""
    try:
        answer = subprocess.run(
            [path, "-I", "-c", QUESTION],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=limit_s,
            check=True,
            text=True,
        ).stdout
        known = json.loads(answer)
        return Interpreter(**{**known, "lacks": tuple(known["lacks"])})
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None
