"""Sites on 127.0.0.1 that do as a test says: whole ones, and ones that misbehave on the wire."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django_wsgiperf.cache.warming.address import Page, Place

Script = Callable[[socket.socket], object]


def reply(body: bytes = b"page", *lines: str, status: str = "200 OK") -> bytes:
    """A whole response."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines])
    return f"{head}\r\n\r\n".encode() + body


def read_request(connection: socket.socket) -> bytes:
    """The head of the next request; empty when there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        data += piece
    return data


@dataclass(slots=True)
class Scripted:
    """A listener that runs one script for each connection."""

    place: Place
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def page(self, target: str = "/") -> Page:
        return Page("http", "shop.example", target)


@contextlib.contextmanager
def scripted(*scripts: Callable[[socket.socket, Scripted], object], file: str = "") -> Iterator[Scripted]:
    """Run the first script for the first connection, and so on; the last for all that come after."""
    listening = socket.socket(socket.AF_UNIX if file else socket.AF_INET)
    listening.bind(file or ("127.0.0.1", 0))
    listening.listen(64)
    listening.settimeout(0.05)
    site = Scripted(Place("http", "", 0, file) if file else Place("http", "127.0.0.1", listening.getsockname()[1]))
    stop = threading.Event()

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            script = scripts[min(site.connections, len(scripts) - 1)]
            site.connections += 1
            connection.settimeout(30)
            threading.Thread(target=run, args=(script, connection), daemon=True).start()

    def run(script: Callable[[socket.socket, Scripted], object], connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            script(connection, site)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield site
    finally:
        stop.set()
        thread.join()
        listening.close()


def answering(*responses: bytes) -> Callable[[socket.socket, Scripted], None]:
    """A script that answers so many requests, one after the other, and then closes."""

    def script(connection: socket.socket, site: Scripted) -> None:
        for response in responses:
            request = read_request(connection)
            if not request:
                return
            site.requests.append(request)
            connection.sendall(response)

    return script


@dataclass(slots=True)
class Site:
    """An HTTP site whose pages are a dictionary: path -> status, fields and body."""

    origin: str
    pages: dict[str, tuple[int, dict[str, str], bytes]]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextlib.contextmanager
def site(pages: dict[str, tuple[int, dict[str, str], bytes]] | None = None) -> Iterator[Site]:
    """A well-behaved site."""
    served = Site("", {} if pages is None else pages)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            status, fields, body = served.pages.get(self.path, (404, {}, b"none"))
            self.send_response(status)
            for name, value in {**fields, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.origin = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
