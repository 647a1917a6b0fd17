"""Listening sockets: which addresses are opened, and what is said of those that cannot be."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_wsgiperf.server import listening
from django_wsgiperf.server.listening import ListeningError, explain, open_listeners, socket_files, url


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


@contextlib.contextmanager
def bound(family: socket.AddressFamily) -> Iterator[int]:
    """A port that no other program is given meanwhile, and that who may use an address again can listen on."""
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("", 0))
        yield sock.getsockname()[1]


def refusal(*addresses: str) -> str:
    with pytest.raises(ListeningError) as caught:
        open_listeners(addresses, 16)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"Cannot listen on {addresses[-1]}: ")
    return message


class TestTcp:
    def test_free_port_is_opened_and_named(self, opened: list[socket.socket]) -> None:
        opened += open_listeners(["127.0.0.1:0", "[::1]:0", "localhost:0"], 16)
        ports = [sock.getsockname()[1] for sock in opened]
        assert [url(sock, tls=False) for sock in opened] == [
            f"http://127.0.0.1:{ports[0]}",
            f"http://[::1]:{ports[1]}",
            f"http://127.0.0.1:{ports[2]}",
        ]
        assert url(opened[1], tls=True).startswith("https://[::1]:")
        socket.create_connection(("127.0.0.1", ports[0])).close()

    @pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")])
    def test_taken_port(self, family: socket.AddressFamily, host: str) -> None:
        with socket.create_server((host.strip("[]"), 0), family=family) as taken:
            message = refusal(f"{host}:{taken.getsockname()[1]}")
        assert "another program listens there. Stop it, or write another port, for example 8001." in message

    def test_unknown_host(self) -> None:
        message = refusal("no-such-host.invalid:8000")
        assert "the host name 'no-such-host.invalid' is unknown" in message
        assert "for example 127.0.0.1:8000" in message

    def test_address_of_another_machine(self) -> None:
        assert "this machine does not have that address" in refusal("192.0.2.1:8000")

    def test_privileged_port(self) -> None:
        message = explain("0.0.0.0:80", PermissionError(errno.EACCES, "Permission denied"))
        assert "port 80 is reserved for root" in message
        assert "CAP_NET_BIND_SERVICE" in message

    def test_machine_without_ipv6(self) -> None:
        assert "127.0.0.1:8000" in explain("[::1]:8000", OSError(errno.EAFNOSUPPORT, "not supported"))

    def test_ipv6_wildcard_takes_ipv4_unless_that_is_listed_too(self, opened: list[socket.socket]) -> None:
        with bound(socket.AF_INET6) as port:
            opened += open_listeners([f"[::]:{port}"], 16)
            socket.create_connection(("127.0.0.1", port)).close()
            opened.pop().close()
            opened += open_listeners([f"[::]:{port}", f"0.0.0.0:{port}"], 16)
            for host in ("127.0.0.1", "::1"):
                socket.create_connection((host, port)).close()

    def test_nothing_stays_open_when_one_address_fails(self, tmp_path: Path) -> None:
        with bound(socket.AF_INET) as port:
            path = tmp_path / "site.sock"
            refusal(f"127.0.0.1:{port}", f"unix:{path}", "192.0.2.1:8000")
            assert not path.exists()
            socket.create_server(("127.0.0.1", port)).close()


class TestUnix:
    def test_everybody_may_connect_who_may_enter_the_folder(self, tmp_path: Path, opened: list[socket.socket]) -> None:
        path = tmp_path / "site.sock"
        opened += open_listeners([f"unix:{path}"], 16)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert url(opened[0], tls=False) == f"unix:{path}"
        assert socket_files([f"unix:{path}", "127.0.0.1:0"], opened) == [str(path)]

    def test_file_that_is_no_socket_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "notes"
        path.write_text("dear diary")
        assert "there is a file of that name, and it is no socket" in refusal(f"unix:{path}")
        assert path.read_text() == "dear diary"

    def test_socket_of_a_living_server(self, tmp_path: Path, opened: list[socket.socket]) -> None:
        path = tmp_path / "site.sock"
        opened += open_listeners([f"unix:{path}"], 16)
        assert "another program listens there. Stop it, or write another path." in refusal(f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_socket_of_a_dead_server_is_replaced(self, tmp_path: Path, opened: list[socket.socket]) -> None:
        path = tmp_path / "site.sock"
        open_listeners([f"unix:{path}"], 16)[0].close()
        assert path.exists()
        opened += open_listeners([f"unix:{path}"], 16)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert f"there is no folder {tmp_path}/run. Make it" in refusal(f"unix:{tmp_path}/run/site.sock")

    def test_path_that_is_too_long(self, tmp_path: Path) -> None:
        assert "about 100 bytes. Write a shorter one" in refusal(f"unix:{tmp_path}/{'x' * 120}")

    def test_folder_that_is_not_ours(self) -> None:
        message = explain("unix:/run/site.sock", PermissionError(errno.EACCES, "Permission denied"))
        assert "Write a path in a folder that this user may write to" in message


class TestDescriptors:
    def test_listening_socket_is_adopted(self, opened: list[socket.socket]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as theirs:
            opened += open_listeners([f"fd://{os.dup(theirs.fileno())}", "127.0.0.1:0"], 16)
            assert opened[0].getsockname() == theirs.getsockname()
        assert socket_files(["fd://3"], opened[:1]) == []

    def test_what_is_no_listening_socket(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with (
            open(tmp_path / "file") as file,
            socket.socket() as idle,
            socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        ):
            assert "is no socket" in refusal(f"fd://{file.fileno()}")
            assert "is no listening stream socket" in refusal(f"fd://{idle.fileno()}")
            assert "is no listening stream socket" in refusal(f"fd://{datagrams.fileno()}")
            number = os.dup(idle.fileno())
            os.close(number)
            assert "is not open" in refusal(f"fd://{number}")
            idle.bind(("127.0.0.1", 0))  # It has been left open.


class TestSystemd:
    def test_sockets_for_this_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "2")
        assert listening.systemd_addresses() == ("fd://3", "fd://4")
        assert listening.systemd_addresses() == (), "the variables are for one process"

    def test_sockets_for_another_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LISTEN_PID", "1")
        monkeypatch.setenv("LISTEN_FDS", "1")
        assert listening.systemd_addresses() == ()
