"""Files and addresses that `serve` cannot use: told in one line with the value, the place and what to do instead."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from django_wsgiperf.conf import load
from django_wsgiperf.server import certificates
from django_wsgiperf.server.listening import ListeningError, open_listeners, tls_context
from django_wsgiperf.server.preflight import refuse_unusable_files

from .processes import amend, environment, run

TLS = Path(__file__).parent / "tls"
CERTIFICATE, KEY = str(TLS / "certificate.pem"), str(TLS / "key.pem")


def refusal(**environ: str) -> str:
    """What is said of files that only the start of a server finds unusable."""
    resolved = load("SERVER", environ=environ, settings={})
    with pytest.raises(CommandError) as caught:
        refuse_unusable_files(resolved.values, resolved.origins)
    return str(caught.value)


def test_nowhere_to_write_temporary_files(project: Path) -> None:
    """As in a container whose file system is read-only: no file can have a byte."""
    command = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "manage.py", "serve", "127.0.0.1:0"]
    done = subprocess.run(
        command, cwd=project, env=environment({}), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: There is no folder for temporary files")
    assert "set TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr


class TestPidFile:
    def test_one_that_cannot_be_read(self, tmp_path: Path) -> None:
        path = tmp_path / "pid"
        path.symlink_to(path)  # Root may read everything else.
        assert refusal(WSGIPERF_PID_FILE=str(path)) == (
            f"Cannot read PID_FILE {path}: {os.strerror(40)}. Write a file of this user, or remove that one. "
            "Set by environment (WSGIPERF_PID_FILE)."
        )

    @pytest.mark.parametrize("text", ["SECRET_KEY = 5\n", "12 13", "-1", "9" * 40, "\xff"])
    def test_file_of_something_else_is_not_overwritten(self, project: Path, text: str) -> None:
        path = project / "pid"
        path.write_text(text)
        said = refusal(WSGIPERF_PID_FILE=str(path))
        assert said.startswith(f"PID_FILE {path} is there and holds something else than the number of a process; ")
        assert path.read_text() == text

    @pytest.mark.parametrize("text", ["", "\n", "0\n", "GONE"])
    def test_one_that_is_left_over_is_no_obstacle(self, tmp_path: Path, text: str) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        path = tmp_path / "pid"
        path.write_text(text.replace("GONE", str(gone.pid)))
        resolved = load("SERVER", environ={"WSGIPERF_PID_FILE": str(path)}, settings={})
        refuse_unusable_files(resolved.values, resolved.origins)


class TestCertificates:
    @pytest.mark.parametrize(
        ("certfile", "keyfile", "told"),
        [
            (CERTIFICATE, str(TLS / "other-key.pem"), "the key is that of another certificate"),
            (KEY, KEY, "there is no certificate in CERTFILE"),
            (CERTIFICATE, CERTIFICATE, "there is no private key in KEYFILE"),
            (CERTIFICATE, str(TLS / "encrypted-key.pem"), "the key has a password"),
            ("/proc/self/mem", KEY, "CERTFILE cannot be read (Input/output error)"),
        ],
    )
    def test_the_file_to_blame_is_named(self, certfile: str, keyfile: str, told: str) -> None:
        with pytest.raises(ListeningError) as caught:
            tls_context(certfile, keyfile)
        assert str(caught.value).startswith(f"Cannot use CERTFILE {certfile} with KEYFILE {keyfile}: {told}. ")

    def test_both_places_are_told(self) -> None:
        said = refusal(WSGIPERF_CERTFILE=CERTIFICATE, WSGIPERF_KEYFILE=str(TLS / "other-key.pem"))
        assert said.endswith(" Set by environment (WSGIPERF_CERTFILE) and environment (WSGIPERF_KEYFILE).")

    def test_expired_one(self) -> None:
        expired = str(TLS / "expired.pem")
        assert certificates.out_of_date(expired, tls_context(expired, KEY)) == "has expired"
        assert certificates.out_of_date(CERTIFICATE, tls_context(CERTIFICATE, KEY)) == ""

    def test_whatever_else_is_wrong_with_one_is_not_its_date(self, tmp_path: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # It has no certificate to show.
        assert certificates.out_of_date(CERTIFICATE, context) == ""

    def test_expired_one_is_told_when_the_server_starts(self, project: Path) -> None:
        expired = str(TLS / "expired.pem")
        # It would serve: clients whose clocks are wrong, or that do not ask, may use it. Here an address stops it.
        result = run(project, "serve", "unix:nowhere/site.sock", "--certfile", expired, "--keyfile", KEY)
        first, *_ = result.stderr.splitlines()
        assert first == f"CERTFILE {expired} has expired; clients will refuse it."


class TestAddresses:
    def test_place_of_one_that_is_not_from_the_command_line(self, project: Path) -> None:
        result = run(project, "serve", WSGIPERF_BIND="unix:nowhere/site.sock")
        assert result.returncode == 1
        assert result.stderr == (
            "CommandError: Cannot listen on unix:nowhere/site.sock: there is no folder nowhere. "
            "Make it, or write another path. Set by environment (WSGIPERF_BIND).\n"
        )

    def test_folder_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ListeningError, match=r"file is no folder. Write another path\.$"):
            open_listeners([f"unix:{tmp_path}/file/site.sock"], 1)

    def test_path_that_is_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ListeningError, match=r"that is a folder. .* for example unix:.*/site\.sock\.$"):
            open_listeners([f"unix:{tmp_path}"], 1)
        assert tmp_path.is_dir()


def test_ctrl_c_during_the_checks_is_quiet(project: Path) -> None:
    (project / "site_urls.py").write_text("raise KeyboardInterrupt\n")
    result = run(project, "serve", "127.0.0.1:0")
    assert (result.returncode, result.stderr) == (130, "")


def test_thread_that_cannot_handle_signals(project: Path) -> None:
    amend(
        project / "manage.py",
        "execute_from_command_line(sys.argv)",
        "import threading\nthreading.Thread(target=execute_from_command_line, args=[sys.argv], name='second').start()",
    )
    result = run(project, "serve", "unix:site.sock")
    assert "CommandError: serve handles signals, which Python allows in the main thread only" in result.stderr
    assert "and this is second. Call it in the main thread, or start manage.py serve" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (project / "site.sock").exists()
