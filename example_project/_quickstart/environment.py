"""Makes .venv beside the package and installs the package, its extras and what the sample data needs.

A stamp in .venv says what was installed; as long as it would be the same, nothing is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .interpreters import can, find_python, succeeds
from .terminal import Stop, done, relative, step, tail

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "bookshop-stamp.json"
LOG = VENV / "bookshop-install.log"


def wanted_packages(database_url: str) -> list[str]:
    """What pip is to install, for a database at that address."""
    scheme = database_url.partition("://")[0]
    extras = {"postgres": ["postgres"], "postgresql": ["postgres"], "mysql": ["mysql"]}.get(scheme, [])
    packages = ["factory-boy>=3.3", *(["dj-database-url>=2.3"] if scheme else [])]
    return ["-e", f"{ROOT}[{','.join(['redis', *extras])}]", *packages]


def make_environment() -> Path:
    """The path of the Python of .venv, with everything installed. Raises Stop."""
    packages = wanted_packages(os.environ.get("DATABASE_URL", ""))
    project = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = {"packages": packages, "project": project}
    if _stamp() == stamp and succeeds([str(PYTHON), "-c", "import django_wsgiperf, factory"]):
        done("environment", relative(VENV))
        return PYTHON
    began = time.monotonic()
    if not succeeds([str(PYTHON), "-m", "pip", "--version"]):
        step("environment", f"making {relative(VENV)}")
        _create()
    step("environment", "installing, which takes a minute the first time")
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *packages]
    with LOG.open("wb") as log:
        code = subprocess.call(pip, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    if code:
        said = LOG.read_text(encoding="utf-8", errors="replace")
        raise Stop(f"pip could not install the packages. Its last words:\n\n{tail(said)}\n\nAll of it: {relative(LOG)}")
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")
    done("environment", relative(VENV), began)
    return PYTHON


def _stamp() -> object:
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _create() -> None:
    """Make .venv in the first way that works on this machine. Raises Stop."""
    modules = ("ensurepip", "venv")
    # Debian ships a Python that cannot; another Python of this machine may.
    maker = sys.executable if can(sys.executable, modules) else find_python(modules)
    ways = [[maker, "-m", "venv", "--clear", str(VENV)]] if maker else []
    ways.append([sys.executable, "-m", "virtualenv", "--clear", "--quiet", str(VENV)])
    ways.append(["uv", "venv", "--quiet", "--seed", "--clear", "--python", sys.executable, str(VENV)])
    if not any(succeeds(way) for way in ways):
        shutil.rmtree(VENV, ignore_errors=True)
        raise Stop(
            f"{sys.executable} cannot make a virtual environment: its module ensurepip is missing or broken.\n"
            "On Debian and Ubuntu: apt install python3-venv. Then run this again."
        )
