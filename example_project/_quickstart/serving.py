"""Serves the shop: finds a free port, shows the addresses, becomes the server. Or checks it, page by page."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from .environment import VENV
from .shop import MANAGE
from .terminal import Stop, done, paint, relative, say, step, tail

HOST = "127.0.0.1"
PASSWORD = os.environ.get("BOOKSHOP_DEMO_PASSWORD", "twelve-threads")
START_S = 60.0
STOP_S = 30.0
LOG = VENV / "bookshop-serve.log"

# What the check reads, and a word that each page must have.
PAGES = (
    ("/-/live", ""),
    ("/", "Just in"),
    ("/books/", "The catalogue"),
    ("/search/?q=river", "Books for"),
    ("/categories/crime/", "Crime"),
    ("/live/", "Live from the till"),
    ("/api/books/", '"results"'),
    ("/catalogue.csv", "isbn,title"),
    ("/account/login/", "csrfmiddlewaretoken"),
    ("/admin/login/", "Twelve Threads"),
    ("/static/shop/shop.css", "--paper"),
    ("/robots.txt", "User-agent"),
)


def free_port(port: int) -> int:
    """That port, known to be free; for 0 any free one. Raises Stop when it is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            other = port + 80 if port + 80 < 65536 else 8080
            raise Stop(f"Port {port} cannot be used: {error.strerror}. Choose another one: --port {other}") from None
        found: int = probe.getsockname()[1]
        return found


def command(python: Path, port: int, threads: int) -> list[str]:
    return [str(python), str(MANAGE), "serve", f"{HOST}:{port}", "--threads", str(threads)]


def show_addresses(port: int) -> None:
    base = f"http://{HOST}:{port}"
    rows = (
        ("shop", "/", ""),
        ("admin", "/admin/", f"admin / {PASSWORD}"),
        ("customer", "/account/login/", f"reader / {PASSWORD}"),
        ("health", "/-/live", ""),
    )
    addresses = [f"{paint(f'{what:>12}', '1')}  {paint(f'{base}{path}', '36')}  {more}" for what, path, more in rows]
    say("", *(line.rstrip() for line in addresses))


def become_server(python: Path, port: int, threads: int) -> None:
    """Replace this process by the server, so that Ctrl-C and signals reach it. Does not return."""
    arguments = command(python, port, threads)
    sys.stdout.flush()
    os.execv(arguments[0], arguments)


def check(python: Path, port: int, threads: int) -> None:
    """Start the server, read every page of PAGES, stop the server. Raises Stop for what is wrong."""
    base = f"http://{HOST}:{port}"
    began = time.monotonic()
    step("server", "starting")
    with LOG.open("wb") as log:
        server = subprocess.Popen(
            command(python, port, threads), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_live(server, base)
        done("server", base, began)
        for path, word in PAGES:
            status, text = fetch(base + path)
            if status != 200 or word not in text:
                raise Stop(f"{base}{path} answered {status}, and should answer 200 with {word!r} in it.")
            done("page", path)
    finally:
        server.terminate()
        try:
            code = server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            code = server.wait()
    if code:
        raise Stop(f"The server ended with exit code {code} when asked to stop. {_last_words()}")
    done("stop", "the server ended as asked")


def _wait_until_live(server: subprocess.Popen[bytes], base: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise Stop(f"The server did not start. {_last_words()}")
        try:
            if fetch(f"{base}/-/live")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise Stop(f"The server did not answer within {START_S:.0f} seconds. {_last_words()}")


def _last_words() -> str:
    said = LOG.read_text(encoding="utf-8", errors="replace")
    return f"Its last words:\n\n{tail(said)}\n\nAll of it: {relative(LOG)}"


def fetch(url: str) -> tuple[int, str]:
    """The status and the text of a page; never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as response:
            return response.status, response.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
