"""The quickstart's parts. The whole of it is run by `quickstart.py --check`, from a bare interpreter."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from _quickstart import cli, environment, interpreters, serving, shop
from _quickstart.terminal import Stop

QUICKSTART = Path(cli.__file__).parents[1] / "quickstart.py"


def test_packages_follow_the_database() -> None:
    assert environment.wanted_packages("")[1].endswith("[redis]")
    assert "dj-database-url" not in " ".join(environment.wanted_packages(""))
    assert environment.wanted_packages("postgres://u@h/n")[1].endswith("[redis,postgres]")
    assert environment.wanted_packages("mysql://u@h/n")[1].endswith("[redis,mysql]")
    assert "dj-database-url" in " ".join(environment.wanted_packages("sqlite:///x"))


def test_taken_port_is_refused_with_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Stop, match=f"Port {port} cannot be used.*--port "):
            serving.free_port(port)
    assert serving.free_port(0) > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "--port 70000 is out of range"),
        (["--books", "0"], "--books 0 is out of range"),
        (["--threads", "0"], "--threads 0 is out of range"),
        (["--check", "--no-serve"], "not allowed with"),
        (["--prot", "1"], "unrecognized"),
    ],
)
def test_options_that_cannot_be_are_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.parse(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_database_that_cannot_be_reached_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://shop:secret@db.example.com:5432/books")
    said = "Traceback (most recent call last):\n  ...\ndjango.db.utils.OperationalError: refused\n\tIs it there?\n"
    text = shop.explain("migrate", said)
    assert "postgres://db.example.com:5432/books cannot be used" in text
    assert "refused" in text
    assert "secret" not in text


def test_failed_command_is_explained_in_its_own_words() -> None:
    assert shop.explain("seed", "CommandError: --books 0 is out of range.") == "--books 0 is out of range."
    said = "...\ndjango.core.exceptions.ImproperlyConfigured: DEBUG='x' is not a yes or a no."
    assert shop.explain("migrate", said) == "DEBUG='x' is not a yes or a no."
    assert "    something odd" in shop.explain("migrate", "something odd")


def test_interpreters_that_cannot_be_used_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert interpreters.find_python() is None
    (tmp_path / "python3.11").symlink_to(sys.executable)
    assert interpreters.find_python() == str(tmp_path / "python3.11")
    assert interpreters.find_python(("no_such_module",)) is None


def test_failed_start_is_told_with_the_exit_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(QUICKSTART), "--port", "x"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2
    assert "invalid int value: 'x'" in done.stderr
