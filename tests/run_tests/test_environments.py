"""Pythons are found although shims lie; environments are kept exactly as long as they fit."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests._run import environments, interpreters
from tests._run.debian import Debian
from tests._run.installing import uv_settings
from tests._run.interpreters import Interpreter

PROJECT = """
[project]
name = "thing"
[project.optional-dependencies]
db = ["mysqlclient>=2", "psycopg[binary]>=3"]
all = ["thing[db]"]
test = ["thing[all]", "pytest>=8; python_version > '3'"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def no_debian(tmp_path: Path) -> Debian:
    return Debian(False, tmp_path / "apt.log", {})


def plan(python: Interpreter, django: str = "django>=5.2") -> environments.Plan:
    return environments.Plan("name", python, django, ("test",))


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_shim_that_refuses_to_run_is_passed_over(tmp_path: Path) -> None:
    minor = f"3.{sys.version_info[1]}"
    script(tmp_path / "shims" / f"python{minor}", "echo 'not set' >&2; exit 127")
    real = tmp_path / "pyenv" / "versions" / f"{minor}.9" / "bin" / "python"
    script(real, f'exec {sys.executable} "$@"')
    places = {"PATH": str(tmp_path / "shims"), "PYENV_ROOT": str(tmp_path / "pyenv")}
    assert interpreters.ask(str(tmp_path / "shims" / f"python{minor}")) is None
    assert str(real) in list(interpreters.candidates(minor, places))
    found = interpreters.find(minor, places)
    assert found is not None
    assert found.minor == minor


def test_python_that_is_nowhere_is_not_found(tmp_path: Path) -> None:
    assert interpreters.find("3.99", {"PATH": str(tmp_path), "HOME": str(tmp_path)}) is None


def test_newest_patch_release_comes_first(tmp_path: Path) -> None:
    for patch in ("9", "10"):
        script(tmp_path / "versions" / f"3.99.{patch}" / "bin" / "python", "exit 1")
    found = list(interpreters.candidates("3.99", {"PATH": "", "PYENV_ROOT": str(tmp_path)}))
    assert [Path(path).parts[-3] for path in found] == ["3.99.10", "3.99.9"]


def test_own_extras_are_resolved(project: Path) -> None:
    assert environments.requirements(project, ("test",)) == [
        "mysqlclient>=2",
        "psycopg[binary]>=3",
        "pytest>=8; python_version > '3'",
    ]


def test_unknown_extra_is_named_with_those_that_exist(project: Path) -> None:
    with pytest.raises(environments.EnvironmentFailed, match="no extra 'bench'; it has db, all, test"):
        environments.requirements(project, ("bench",))


@pytest.mark.parametrize("text", ["uwsgi>=2; x == 'y'", "uWSGI", "uwsgi [a]", "uwsgi~=2"])
def test_name_of_a_requirement(text: str) -> None:
    assert environments.name_of(text) == "uwsgi"


def test_what_cannot_be_compiled_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, no_debian: Debian, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    python = Interpreter("/usr/bin/python3", "3.11.2", headers=False)
    why = environments.what_cannot_be_built(python, ["mysqlclient"], no_debian)["mysqlclient"]
    for lacking in ("a C compiler (Debian: gcc)", "Python.h (Debian: python3.11-dev)", "libmariadb-dev", "turned off"):
        assert lacking in why


def test_fingerprint_changes_with_everything_that_matters(project: Path) -> None:
    python = Interpreter("/usr/bin/python3", "3.11.2")
    kept = environments.fingerprint(plan(python), project)
    assert environments.fingerprint(plan(python), project) == kept
    newer = Interpreter("/usr/bin/python3", "3.11.3")
    changed = {
        environments.fingerprint(plan(newer), project),
        environments.fingerprint(plan(python, "django>=6"), project),
    }
    (project / "pyproject.toml").write_text(PROJECT + "\n", encoding="utf-8")
    changed.add(environments.fingerprint(plan(python), project))
    assert kept not in changed
    assert len(changed) == 3


def test_python_without_venv_says_which_package_has_it(project: Path, no_debian: Debian) -> None:
    python = Interpreter("/usr/bin/python3", "3.11.2", lacks=("ensurepip",))
    with pytest.raises(environments.EnvironmentFailed, match=r"lacks ensurepip .* apt-get install python3.11-venv"):
        environments.prepare(plan(python), project, log=project / "log", env={}, debian=no_debian)


class Allowing(Debian):
    """A Debian whose packages can be installed: then pkg-config knows MariaDB's client library."""

    def install(self, *packages: str) -> str | None:
        assert "libmariadb-dev" in packages
        self.log.with_name("library").touch()
        return None


#: A Python that makes environments of itself and notes what they install.
PYTHON = """
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"import django"*) echo 5.2.1 ;;
    *"pip install"*) echo "$*" >> "{log}" ;;
esac
"""


def test_what_was_left_out_is_installed_as_soon_as_it_can_be(
    project: Path, no_debian: Debian, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = project / "installed"
    script(project / "bin" / "cc", "")
    script(project / "bin" / "pkg-config", f'test -e "{project / "library"}"')
    monkeypatch.setenv("PATH", str(project / "bin"), prepend=os.pathsep)
    python = Interpreter(str(script(project / "python", PYTHON.format(log=log))), "3.11.2")

    def prepare(debian: Debian) -> tuple[environments.Environment, str]:
        log.write_text("", encoding="utf-8")
        made = environments.prepare(plan(python), project, log=project / "log", env=dict(os.environ), debian=debian)
        return made, log.read_text(encoding="utf-8").replace("\n", " ")

    made, installed = prepare(no_debian)
    assert made.is_new
    assert "turned off" in made.left_out["mysqlclient"]
    assert "psycopg[binary]>=3" in installed
    assert "mysqlclient" not in installed

    made, installed = prepare(no_debian)
    assert (made.is_new, list(made.left_out), installed) == (False, ["mysqlclient"], "")

    made, installed = prepare(Allowing(True, project / "apt.log", {}))
    assert (made.is_new, made.left_out) == (True, {})
    assert ".[test]" in installed

    made, installed = prepare(no_debian)
    assert (made.is_new, made.left_out, installed) == (False, {}, "")


def test_uv_is_told_what_pip_is_configured_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("UV_", "SSL_"))]:
        monkeypatch.delenv(name)
    listed = """
:env:.disable-pip-version-check='1'
:env:.cert='/etc/ssl/all.pem'
global.index-url='https://one.example/simple'
global.extra-index-url='file:///a/simple file:///b/simple'
install.find-links='/wheels\\n/more'
"""
    assert uv_settings(listed) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_INDEX": "file:///a/simple file:///b/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/etc/ssl/all.pem",
    }
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine.example/simple")
    assert "UV_DEFAULT_INDEX" not in uv_settings(listed)
