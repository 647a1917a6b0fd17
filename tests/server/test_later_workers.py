"""A worker that is started while the server has long been running: what has become bad meanwhile does not end that."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from .processes import Serve, eventually, get, serving, workers

Start = Callable[..., Serve]
TLS = Path(__file__).parent / "tls"


def secure(serve: Start, project: Path) -> tuple[Serve, int]:
    for name in ("certificate.pem", "key.pem"):
        shutil.copy(TLS / name, project)
    server = serve("--certfile", "certificate.pem", "--keyfile", "key.pem")
    return server, server.wait_until_it_serves(r"https://127\.0\.0\.1:(\d+)")


def asked(port: int) -> tuple[str, str]:
    """The certificate that the server shows, and the number of the worker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=60)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
        shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return ssl.DER_cert_to_PEM_cert(shown).strip(), answer.split()[-1].decode()


def text(name: str) -> str:
    _, begin, certificate = (TLS / name).read_text().partition("-----BEGIN")
    return (begin + certificate).strip()


def test_hup_reads_the_certificate_anew(serve: Start, project: Path) -> None:
    server, port = secure(serve, project)
    assert asked(port)[0] == text("certificate.pem")
    shutil.copy(TLS / "expired.pem", project / "certificate.pem")  # Another one of the same key.
    server.signal(signal.SIGHUP)
    eventually(lambda: asked(port)[0] == text("expired.pem"), lambda: server.text)


def test_certificate_that_has_become_bad_stays_as_it_was(serve: Start, project: Path) -> None:
    """It is renewed in two steps, and between them its key is another's."""
    server, port = secure(serve, project)
    _, before = asked(port)
    shutil.copy(TLS / "other-key.pem", project / "key.pem")
    server.signal(signal.SIGHUP)
    server.says("the key is that of another certificate")
    server.says("The workers go on with the certificate that they have.")
    assert asked(port) == (text("certificate.pem"), before)


def test_worker_that_dies_meanwhile_is_replaced(serve: Start, project: Path) -> None:
    server, port = secure(serve, project)
    _, before = asked(port)
    (project / "key.pem").unlink()
    os.kill(int(before), signal.SIGKILL)
    eventually(lambda: asked(port)[1] != before, lambda: server.text)


def test_successors_that_cannot_start_leave_the_old_ones_at_work(serve: Start, project: Path) -> None:
    with (project / "site_settings.py").open("a") as settings:
        settings.write(
            "import os\nos.register_at_fork(after_in_child=lambda: os._exit(1) if os.path.exists('broken') else None)\n"
        )
    server = serve()
    port = server.wait_until_it_serves()
    before = serving(port, 1)
    (project / "broken").touch()
    server.signal(signal.SIGHUP)
    server.says("A worker ended before it served")
    assert get(port)[0] == 200
    assert serving(port, 1) == before
    (project / "broken").unlink()
    eventually(lambda: bool(workers(port)) and not workers(port) & before, lambda: server.text)
