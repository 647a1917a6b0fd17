"""Makes the virtual environments in .venvs/ and installs the package with its test tools into them.

An environment is kept as long as its fingerprint holds: the checkout's place, the Python, Django's version range
and pyproject.toml. What needs a compiler that is not there is left out, and named, until it is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests._run import processes
from tests._run.debian import Debian
from tests._run.installing import Installer
from tests._run.interpreters import Interpreter

COMPILE_LIMIT_S = 120.0
VENV_LIMIT_S = 300.0
#: Requirements that are compiled here: name -> what their build needs beside a compiler and Python's headers.
COMPILED = {"mysqlclient": "libmariadb", "uwsgi": ""}
CLIENT_LIBRARIES = ("libmariadb", "mariadb", "mysqlclient")


@dataclass(frozen=True, slots=True)
class Plan:
    """An environment that is wanted."""

    name: str
    interpreter: Interpreter
    django: str
    extras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is ready. `left_out` gives, by requirement, why it could not be built."""

    python: Path
    python_version: str
    django_version: str
    is_new: bool
    left_out: dict[str, str]


class EnvironmentFailed(Exception):
    """It could not be made: the message says why, `log` has the details."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


def prepare(
    plan: Plan,
    root: Path,
    *,
    log: Path,
    env: Mapping[str, str],
    debian: Debian,
    on_output: processes.Listener | None = None,
) -> Environment:
    """The environment, made or made anew when its fingerprint no longer holds."""
    folder = root / ".venvs" / plan.name
    with _only_one_at_a_time(root / ".venvs" / f"{plan.name}.lock"):
        kept = _kept(folder, plan, root)
        if kept is not None:
            # What could not be built then may be possible now: what was lacking is there, or may be installed.
            left_out = what_cannot_be_built(plan.interpreter, list(kept.left_out), debian)
            if left_out.keys() == kept.left_out.keys():
                _compile(kept.python, root, log, env)
                return replace(kept, left_out=left_out)
        interpreter = _complete(plan.interpreter, debian)
        left_out = what_cannot_be_built(interpreter, _wanted_builds(root, plan.extras), debian)
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "bin" / "python"
        venv: tuple[str | Path, ...] = (interpreter.path, "-m", "venv", folder)
        outcome = processes.run(venv, log=log, limit_s=VENV_LIMIT_S, env=env, cwd=root, on_output=on_output)
        if outcome.ok:
            installer = Installer(python, log, env, root, on_output)
            outcome = installer.install([*_what_to_install(root, plan, left_out), plan.django])
        if not outcome.ok:
            how = "took too long" if outcome.code is None else f"failed with exit code {outcome.code}"
            raise EnvironmentFailed(f"making the environment {how}", log)
        # Written last: an interrupted installation leaves none.
        (folder / "fingerprint.json").write_text(
            json.dumps({"of": fingerprint(plan, root), "left_out": left_out}), encoding="utf-8"
        )
        ready = _kept(folder, plan, root)
        if ready is None:
            raise EnvironmentFailed(f"{python} was installed, but it does not run", log)
        _compile(python, root, log, env)
        return Environment(ready.python, ready.python_version, ready.django_version, True, left_out)


def fingerprint(plan: Plan, root: Path) -> str:
    """What the environment depends on, as one word."""
    parts = [
        str(root),
        plan.interpreter.path,
        plan.interpreter.version,
        plan.django,
        ",".join(plan.extras),
        hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _kept(folder: Path, plan: Plan, root: Path) -> Environment | None:
    """The environment as it stands, if it is still the one that is wanted."""
    python = folder / "bin" / "python"
    try:
        noted = json.loads((folder / "fingerprint.json").read_text(encoding="utf-8"))
        if noted["of"] != fingerprint(plan, root):
            return None
        # -I: the checkout must come from the installation, not from the current folder.
        said = subprocess.run(
            [python, "-I", "-c", "import django, django_wsgiperf; print(django.__version__)"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=True,
            text=True,
        ).stdout
        return Environment(python, plan.interpreter.version, said.strip(), False, noted["left_out"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def _compile(python: Path, root: Path, log: Path, env: Mapping[str, str]) -> None:
    """Compile the package, for the many processes that the tests start and that write no bytecode."""
    command: list[str | Path] = [python, "-m", "compileall", "-q", "-j", "0", "django_wsgiperf"]
    processes.run(command, log=log, limit_s=COMPILE_LIMIT_S, env=env, cwd=root)


def _complete(interpreter: Interpreter, debian: Debian) -> Interpreter:
    """The interpreter with what a virtual environment needs; Debian ships that as packages of their own."""
    if not interpreter.lacks:
        return interpreter
    package = f"python{interpreter.minor}-venv"
    if why := debian.install(package):
        lacking = ", ".join(interpreter.lacks)
        raise EnvironmentFailed(
            f"{interpreter.path} lacks {lacking} ({why}). On Debian: apt-get install {package}", debian.log
        )
    return interpreter


def requirements(root: Path, extras: tuple[str, ...]) -> list[str]:
    """The requirements of the extras in pyproject.toml, with references to the project's own extras resolved."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tables: dict[str, list[str]] = project.get("optional-dependencies", {})
    own = re.compile(re.escape(project["name"]) + r"\[([^\]]+)\]$")
    found: list[str] = []
    for extra in extras:
        if extra not in tables:
            raise EnvironmentFailed(f"pyproject.toml has no extra {extra!r}; it has {', '.join(tables)}")
        for requirement in tables[extra]:
            reference = own.match(requirement)
            names = tuple(reference[1].replace(" ", "").split(",")) if reference else ()
            found += requirements(root, names) if names else [requirement]
    return list(dict.fromkeys(found))


def name_of(requirement: str) -> str:
    """The project's name in a requirement, in lower case."""
    return re.split(r"[\s\[<>=!~;@(]", requirement.strip(), maxsplit=1)[0].lower()


def _wanted_builds(root: Path, extras: tuple[str, ...]) -> list[str]:
    names = {name_of(requirement) for requirement in requirements(root, extras)}
    return [name for name in COMPILED if name in names]


def _what_to_install(root: Path, plan: Plan, left_out: Mapping[str, str]) -> list[str]:
    if not left_out:
        return ["-e", f".[{','.join(plan.extras)}]"]
    rest = [text for text in requirements(root, plan.extras) if name_of(text) not in left_out]
    return ["-e", ".", *rest]


def what_cannot_be_built(interpreter: Interpreter, wanted: list[str], debian: Debian) -> dict[str, str]:
    """By requirement, why it cannot be compiled here, after installing on Debian what was lacking."""
    reasons: dict[str, str] = {}
    for name in wanted:
        lacking = _lacking(interpreter, COMPILED[name])
        if not lacking:
            continue
        why = debian.install(*lacking.values())
        if why or _lacking(interpreter, COMPILED[name], headers_were_installed=True):
            what = ", ".join(f"{thing} (Debian: {package})" for thing, package in lacking.items())
            reasons[name] = f"{name} needs {what} to be built; {why or 'installing that did not help'}"
    return reasons


def _lacking(interpreter: Interpreter, library: str, *, headers_were_installed: bool = False) -> dict[str, str]:
    """What a build needs and does not have: name -> Debian package."""
    lacking: dict[str, str] = {}
    if not any(shutil.which(name) for name in (os.environ.get("CC") or "cc", "gcc", "clang")):
        lacking["a C compiler"] = "gcc"
        lacking["the C library's headers"] = "libc6-dev"
    if not interpreter.headers and not headers_were_installed:
        lacking["Python.h"] = f"python{interpreter.minor}-dev"
    if library:
        if not shutil.which("pkg-config"):
            lacking["pkg-config"] = "pkg-config"
        if not any(_pkg_config_knows(name) for name in CLIENT_LIBRARIES):
            lacking["MariaDB's client library"] = "libmariadb-dev"
    return lacking


def _pkg_config_knows(library: str) -> bool:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = ["pkg-config", "--exists", library]
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    return False


@contextlib.contextmanager
def _only_one_at_a_time(file: Path) -> Iterator[None]:
    """Two runs at once in one checkout must not fill the same folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
