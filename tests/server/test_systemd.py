"""What systemd is told of the server, and when: as a service of Type=notify, by a socket that stands for systemd's."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_wsgiperf.server.systemd import Notifier

from .processes import DEADLINE_S, Serve, eventually, get, serving

Start = Callable[..., Serve]


class Systemd:
    """The socket, and what came to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(DEADLINE_S)

    def hears(self) -> dict[str, str]:
        """The next message."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a file", "an abstract name"] if sys.platform == "linux" else ["a file"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    address = str(tmp_path / "notify") if request.param == "a file" else f"@wsgiperf-test-{os.getpid()}"
    with contextlib.closing(Systemd(address)) as heard:
        yield heard


def test_ready_reloading_and_stopping(serve: Start, systemd: Systemd) -> None:
    server = serve("--workers", "2", NOTIFY_SOCKET=systemd.address)
    assert systemd.hears() == {"READY": "1", "STATUS": "2 workers serve"}
    port = server.wait_until_it_serves()
    before = serving(port, 2)
    since_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    server.signal(signal.SIGHUP)
    told = systemd.hears()
    assert told.pop("RELOADING") == "1"
    assert int(told["MONOTONIC_USEC"]) >= since_us
    assert systemd.hears()["READY"] == "1"
    eventually(lambda: len(serving(port, 2) - before) == 2, "both workers are new")
    server.signal(signal.SIGTERM)
    assert systemd.hears()["STOPPING"] == "1"
    assert server.wait() == 0


def test_a_certificate_that_cannot_be_used_ends_the_reload(serve: Start, systemd: Systemd, project: Path) -> None:
    tls = Path(__file__).parent / "tls"
    certificate = project / "certificate.pem"
    certificate.write_bytes((tls / "certificate.pem").read_bytes())
    server = serve("--certfile", str(certificate), "--keyfile", str(tls / "key.pem"), NOTIFY_SOCKET=systemd.address)
    assert systemd.hears()["READY"] == "1"
    certificate.write_text("nonsense")
    server.signal(signal.SIGHUP)
    assert systemd.hears()["RELOADING"] == "1"
    assert systemd.hears()["READY"] == "1"


def test_the_program_that_usr2_started_is_the_service_when_the_old_one_ends(serve: Start, systemd: Systemd) -> None:
    server = serve(NOTIFY_SOCKET=systemd.address)
    assert systemd.hears()["READY"] == "1"
    port = server.wait_until_it_serves()
    server.signal(signal.SIGUSR2)
    assert systemd.hears()["READY"] == "1", "of the new one; systemd believes the main process alone"
    server.signal(signal.SIGTERM)
    told = systemd.hears()
    assert "STOPPING" not in told
    assert server.wait() == 0
    try:
        assert get(port)[0] == 200
    finally:
        os.kill(int(told["MAINPID"]), signal.SIGTERM)
    assert systemd.hears()["STOPPING"] == "1"


def test_the_master_says_that_it_lives(serve: Start, systemd: Systemd) -> None:
    serve(NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="200000")
    while "READY" not in systemd.hears():
        pass
    assert [systemd.hears() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def _variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "GUNICORN_PID"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")

    def test_what_the_application_starts_is_not_the_service(self) -> None:
        assert Notifier().alive_every_s == 2
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & os.environ.keys()
        assert not Notifier().is_on

    def test_another_process_is_watched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WATCHDOG_PID", "1")
        assert Notifier().alive_every_s == float("inf")

    def test_the_program_that_usr2_started_is_watched_in_its_predecessors_place(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WATCHDOG_PID", "1")
        monkeypatch.setenv("GUNICORN_PID", "1")
        assert Notifier().alive_every_s == 2

    @pytest.mark.parametrize("text", ["", "soon", "0", "-1"])
    def test_nobody_is_watched(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", text)
        assert Notifier().alive_every_s == float("inf")

    def test_a_socket_that_is_not_there_is_told_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        Notifier().ready(1)
        assert "systemd could not be told 'READY=1' by NOTIFY_SOCKET: " in caplog.text
