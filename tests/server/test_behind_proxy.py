"""A running server behind proxies: what they say, and how they begin, in any number of pieces, with and without TLS."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_wsgiperf.server.proxy import ProxyTrust

from .conftest import Client, Server, early_client, eventually
from .processes import Serve, get, stats
from .test_proxy_protocol import SIGNATURE, block, tcp, vector

Start = Callable[..., Server]
TLS = Path(__file__).parent / "tls"
LOOPBACK = ["127.0.0.1"]
ELSEWHERE = ["10.0.0.0/8"]
TRUSTING: dict[str, Any] = {"trusted_proxies": LOOPBACK, "proxy_protocol": True}
LINE = b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 443\r\n"
BLOCK = tcp(("192.0.2.7", "4711"), ("203.0.113.1", "443"), vector(0x02, b"shop.example"), checksum=True)
HEADERS = pytest.mark.parametrize("header", [LINE, BLOCK], ids=["v1", "v2"])
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
FIELDS = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
NAMES = ("REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT", "HTTP_HOST", "wsgi.url_scheme")


def who(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    told = {name: value for name, value in environ.items() if name in NAMES or "FORWARDED" in name}
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def ask(client: Client, *fields: str) -> dict[str, str]:
    response = client.get("/", *fields)
    assert response.status == 200, response.body
    told: dict[str, str] = json.loads(response.body)
    return told


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    return context


class TLSClient:
    """TLS without a socket, so that a test may cut its bytes as it likes."""

    def __init__(self, sock: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)

    def run(self, act: Callable[[], Any], before: bytes = b"", piece: int = 1_000_000) -> Any:
        """Do `act`, sending what it takes `piece` bytes at a time, with `before` in front of it all."""
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                data, before = before + self.outgoing.read(), b""
                for at in range(0, len(data), piece):
                    self.sock.sendall(data[at : at + piece])
                received = self.sock.recv(65_536)
                if not received:
                    raise EOFError from None
                self.incoming.write(received)

    def ask(self, before: bytes = b"", piece: int = 1_000_000) -> dict[str, str]:
        self.run(self.tls.do_handshake, before, piece)
        self.tls.write(REQUEST)
        response = b""
        while not response.endswith(b"}"):
            response += self.run(lambda: self.tls.read(65_536), piece=piece)
        told: dict[str, str] = json.loads(response.partition(b"\r\n\r\n")[2])
        return told


class TestFields:
    def test_trusted_proxy_is_believed_for_each_request_anew(self, serve_app: Start) -> None:
        client = serve_app(who, trusted_proxies=LOOPBACK).connect()
        assert ask(client, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")["wsgi.url_scheme"] == "https"
        assert ask(client, "X-Forwarded-For: 192.0.2.8")["REMOTE_ADDR"] == "192.0.2.8"
        told = ask(client)
        assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("127.0.0.1", "http")

    def test_stranger_is_not(self, serve_app: Start) -> None:
        client = serve_app(who, trusted_proxies=ELSEWHERE).connect()
        plain = ask(client)
        assert plain["REMOTE_ADDR"] == "127.0.0.1"
        assert ask(client, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "Forwarded: for=x") == plain
        assert ask(client, "X_Forwarded_For: 192.0.2.7", "X-Forwarded-Host: evil.example") == plain

    def test_nobody_is_without_trusted_proxies_but_the_fields_stay(self, serve_app: Start) -> None:
        told = ask(serve_app(who).connect(), "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
        assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("127.0.0.1", "http")
        assert told["HTTP_X_FORWARDED_PROTO"] == "https"

    def test_malformed_field_of_a_trusted_proxy(self, serve_app: Start, caplog: pytest.LogCaptureFixture) -> None:
        server = serve_app(who, trusted_proxies=LOOPBACK)
        client = server.connect()
        client.send(REQUEST[:-2] + b"X-Forwarded-For: nonsense\r\n\r\n" + REQUEST)
        response = client.response()
        assert (response.status, response.body) == (400, b"malformed X-Forwarded-For\n")
        assert client.closed()
        assert server.reactor.statistics.bad_requests == 1
        assert caplog.messages == ["The trusted proxy 127.0.0.1 sent a malformed X-Forwarded-For: 'nonsense'"]

    def test_body_comes_after_a_forwarding_field(self, serve_app: Start) -> None:
        def read(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [environ["REMOTE_ADDR"].encode() + b" " + environ["wsgi.input"].read(3)]

        client = serve_app(read, trusted_proxies=LOOPBACK).connect()
        head = b"POST / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.7\r\nContent-Length: 3\r\n\r\n"
        for byte in head + b"abc":
            client.send(bytes([byte]))
        assert client.response().body == b"192.0.2.7 abc"

    def test_unix_socket(self, serve_app: Start, tmp_path: Path) -> None:
        path = str(tmp_path / "socket")
        for trusted, address in ((["unix"], "192.0.2.7"), (ELSEWHERE, "")):
            with contextlib.closing(unix_listener(path)) as listening:
                serve_app(who, listening=listening, trusted_proxies=trusted)
                with unix_client(path) as client:
                    assert ask(client, "X-Forwarded-For: 192.0.2.7")["REMOTE_ADDR"] == address
            Path(path).unlink()


def unix_listener(path: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen()
    return listening


def unix_client(path: str) -> Client:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.connect(path)
    return Client(0, sock)


class TestProxyProtocol:
    @pytest.fixture
    def server(self, serve_app: Start) -> Server:
        return serve_app(who, trusted_proxies=LOOPBACK, proxy_protocol=True)

    @HEADERS
    def test_requests_of_the_connection_are_its_clients(self, server: Server, header: bytes) -> None:
        client = server.connect()
        client.send(header + REQUEST)
        first = json.loads(client.response().body)
        assert first == {
            "REMOTE_ADDR": "192.0.2.7",
            "REMOTE_PORT": "4711",
            "SERVER_NAME": "203.0.113.1",
            "SERVER_PORT": "443",
            "HTTP_HOST": "test",
            "wsgi.url_scheme": "http",
        }
        assert ask(client) == ask(client, "X-Forwarded-For: 6.6.6.6") == first

    @HEADERS
    def test_in_single_bytes(self, server: Server, header: bytes) -> None:
        client = server.connect()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header + REQUEST:
            client.send(bytes([byte]))
        assert json.loads(client.response().body)["REMOTE_ADDR"] == "192.0.2.7"

    @HEADERS
    def test_each_piece_read_before_the_next_comes(self, server: Server, header: bytes) -> None:
        client = server.connect()
        for size in range(1, len(header)):
            client.send(header[size - 1 : size])
            eventually(lambda size=size: held(server) == size, f"{size} bytes were read")
        client.send(header[-1:] + REQUEST + REQUEST)
        assert [json.loads(client.response().body)["REMOTE_ADDR"] for _ in range(2)] == ["192.0.2.7"] * 2

    @HEADERS
    def test_second_header_is_a_malformed_request(self, server: Server, header: bytes) -> None:
        for between in (b"", REQUEST):
            client = server.connect()
            client.send(LINE + between + header + REQUEST)
            if between:
                assert client.response().status == 200
            assert client.response().status == 400
            assert client.closed()

    @pytest.mark.parametrize("sent", [REQUEST, b"P", b"\x16\x03\x01", b"PROXY TCP4 x\r\n", SIGNATURE + b"\x11"])
    def test_trusted_proxy_without_a_header_is_cut_off_and_told_about(
        self, server: Server, sent: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        if sent == b"P":
            sent = b"POST / HTTP/1.1\r\n\r\n"
        for _ in range(3):
            client = server.connect()
            client.send(sent)
            with contextlib.suppress(ConnectionResetError):
                assert client.rest() == b""
        told = [message for message in caplog.messages if "127.0.0.1 is to begin its connections" in message]
        assert len(told) == 1, "complaints are bounded"

    @HEADERS
    def test_proxy_that_leaves_in_mid_header(self, server: Server, header: bytes) -> None:
        for size in (0, 1, len(header) // 2, len(header) - 1):
            with Client(server.port) as client:
                client.send(header[:size])
                client.sock.shutdown(socket.SHUT_WR)
                assert client.closed()
        eventually(lambda: not server.reactor.connections, "all connections are gone")

    @pytest.mark.parametrize(
        ("header", "address"),
        [(b"PROXY UNKNOWN\r\n", "127.0.0.1"), (block(0x20, 0), "127.0.0.1"), (block(0x21, 0x31, bytes(216)), "")],
    )
    def test_client_without_an_address(self, server: Server, header: bytes, address: str) -> None:
        client = server.connect()
        client.send(header)
        assert ask(client)["REMOTE_ADDR"] == address

    def test_half_a_header_and_silence_holds_no_thread(self, serve_app: Start) -> None:
        server = serve_app(who, threads=1, trusted_proxies=LOOPBACK, proxy_protocol=True)
        with contextlib.ExitStack() as stack:
            for number in range(51):
                header = (LINE, BLOCK, b"")[number % 3]
                stack.enter_context(Client(server.port)).send(header[: len(header) // 2])
            eventually(lambda: len(server.reactor.connections) == 51, "all are connected")
            assert server.pool.busy == 0
            client = server.connect()
            client.send(LINE)
            assert [ask(client)["REMOTE_ADDR"] for _ in range(5)] == ["192.0.2.7"] * 5

    @pytest.mark.parametrize("sent", [b"", LINE[:-1], BLOCK[:20]], ids=["nothing", "v1", "v2"])
    def test_header_that_does_not_come_in_time_closes_the_connection(self, serve_app: Start, sent: bytes) -> None:
        with early_client(sent) as (client, listening):
            server = serve_app(who, listening=listening, **TRUSTING, header_timeout_s=0.1)
            assert client.rest() == b"", "nothing is said to who has not begun to speak HTTP"
        assert server.reactor.statistics.timeouts["handshake"] == 1
        eventually(lambda: not server.reactor.connections, "it is forgotten")

    def test_time_for_the_head_includes_the_header(self, serve_app: Start) -> None:
        with early_client(LINE + REQUEST[:5]) as (client, listening):
            server = serve_app(who, listening=listening, **TRUSTING, header_timeout_s=0.1)
            assert client.response().status == 408
        assert server.reactor.statistics.timeouts["header"] == 1

    def test_stranger_is_served_without_one(self, serve_app: Start) -> None:
        server = serve_app(who, trusted_proxies=ELSEWHERE, proxy_protocol=True)
        client = server.connect()
        assert ask(client, "X-Forwarded-For: 6.6.6.6")["REMOTE_ADDR"] == "127.0.0.1"

    @HEADERS
    def test_stranger_with_one_is_refused(self, serve_app: Start, header: bytes) -> None:
        server = serve_app(who, trusted_proxies=ELSEWHERE, proxy_protocol=True)
        client = server.connect()
        client.send(header + REQUEST)
        assert client.response().status == 400
        assert client.closed()

    @HEADERS
    def test_nobody_may_send_one_where_it_is_off(self, serve_app: Start, header: bytes) -> None:
        client = serve_app(who, trusted_proxies=LOOPBACK).connect()
        client.send(header + REQUEST)
        assert client.response().status == 400

    def test_unix_socket(self, serve_app: Start, tmp_path: Path) -> None:
        path = str(tmp_path / "socket")
        serve_app(who, listening=unix_listener(path), trusted_proxies=["unix"], proxy_protocol=True)
        with unix_client(path) as client:
            for byte in BLOCK:
                client.send(bytes([byte]))
            assert ask(client)["REMOTE_ADDR"] == "192.0.2.7"
        with unix_client(path) as client:
            client.send(REQUEST)
            with contextlib.suppress(ConnectionResetError):
                assert client.rest() == b""

    def test_only_the_version_that_was_chosen(self, serve_app: Start) -> None:
        server = serve_app(who, trusted_proxies=LOOPBACK)
        server.reactor.proxies = ProxyTrust([], opening=LOOPBACK, versions=(2,))
        client = server.connect()
        client.send(BLOCK)
        assert ask(client)["REMOTE_ADDR"] == "192.0.2.7"
        client = server.connect()
        client.send(LINE)
        with contextlib.suppress(ConnectionResetError):
            assert client.rest() == b""


def held(server: Server) -> int:
    """How many bytes of a PROXY header the only connection has read."""
    return sum(len(connection.inbox) for connection in list(server.reactor.connections.values()))


class TestTLS:
    @pytest.fixture
    def server(self, serve_app: Start, tls: ssl.SSLContext) -> Server:
        return serve_app(who, tls=tls, trusted_proxies=LOOPBACK, proxy_protocol=True)

    @HEADERS
    def test_header_comes_before_the_handshake(self, server: Server, header: bytes) -> None:
        client = server.connect()
        client.send(header)
        told = TLSClient(client.sock).ask()
        assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("192.0.2.7", "https")

    @HEADERS
    @pytest.mark.parametrize("piece", [1, 7, 1_000_000])
    def test_header_and_handshake_in_any_pieces(self, server: Server, header: bytes, piece: int) -> None:
        client = server.connect()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert TLSClient(client.sock).ask(header, piece)["REMOTE_ADDR"] == "192.0.2.7"

    def test_handshake_without_a_header_is_cut_off(self, server: Server) -> None:
        with pytest.raises((EOFError, ConnectionResetError)):
            TLSClient(server.connect().sock).ask()

    def test_header_within_tls_is_a_malformed_request(self, server: Server) -> None:
        client = server.connect()
        client.send(LINE)
        secure = TLSClient(client.sock)
        secure.run(secure.tls.do_handshake)
        secure.tls.write(LINE + REQUEST)
        assert secure.run(lambda: secure.tls.read(65_536)).startswith(b"HTTP/1.1 400")

    def test_handshake_that_does_not_come_in_time(self, serve_app: Start, tls: ssl.SSLContext) -> None:
        with early_client(LINE) as (client, listening):
            server = serve_app(who, listening=listening, tls=tls, **TRUSTING, header_timeout_s=0.1)
            assert client.rest() == b""
        assert server.reactor.statistics.timeouts["handshake"] == 1

    def test_stranger_begins_with_the_handshake(self, serve_app: Start, tls: ssl.SSLContext) -> None:
        server = serve_app(who, tls=tls, trusted_proxies=ELSEWHERE, proxy_protocol=True)
        assert TLSClient(server.connect().sock).ask()["REMOTE_ADDR"] == "127.0.0.1"

    def test_stranger_that_leaves_before_its_handshake_harms_nobody(
        self, serve_app: Start, tls: ssl.SSLContext
    ) -> None:
        server = serve_app(who, tls=tls)
        for _ in range(20):
            with Client(server.port) as client:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.send(b"\x16\x03")
        assert TLSClient(server.connect().sock).ask()["REMOTE_ADDR"] == "127.0.0.1"

    def test_client_that_leaves_before_its_handshake_harms_nobody(self, serve_app: Start, tls: ssl.SSLContext) -> None:
        server = serve_app(who, tls=tls, trusted_proxies=LOOPBACK, proxy_protocol=True)
        for sent in (b"", LINE, LINE + b"\x16\x03"):
            for _ in range(20):
                with Client(server.port) as client:
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.send(sent)
        client = server.connect()
        client.send(LINE)
        assert TLSClient(client.sock).ask()["REMOTE_ADDR"] == "192.0.2.7"


class TestServe:
    """The whole command: statistics and the access log go by the client."""

    def test_statistics_open_to_the_client_and_not_to_its_proxy(self, serve: Callable[..., Serve]) -> None:
        server = serve(WSGIPERF_TRUSTED_PROXIES="127.0.0.1", WSGIPERF_STATS_ALLOW="127.0.0.1,192.0.2.7")
        port = server.wait_until_it_serves()
        assert stats(port)["threads"], "nobody else is named, so it is the proxy that asks"
        for address, status in {
            "192.0.2.7": 200,
            "6.6.6.6, 192.0.2.7": 200,
            "192.0.2.8": 404,
            "192.0.2.7, 192.0.2.8": 404,
            "127.0.0.1, 192.0.2.8": 404,
            "127.0.0.1": 404,
            "unknown": 404,
        }.items():
            assert get(port, "/-/stats", **{"X-Forwarded-For": address})[0] == status, address
        assert get(port, "/-/stats", Forwarded="for=192.0.2.7")[0] == 404
        assert get(port, "/-/live", **{"X-Forwarded-For": "192.0.2.8"}) == (200, "alive\n")

    def test_statistics_do_not_open_through_a_proxy_that_nobody_lists(self, serve: Callable[..., Serve]) -> None:
        port = serve(WSGIPERF_STATS_ALLOW="127.0.0.1").wait_until_it_serves()
        assert stats(port)["threads"]
        for field in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"):
            assert get(port, "/-/stats", **{field: "127.0.0.1"})[0] == 404

    def test_access_log_shows_the_client(self, serve: Callable[..., Serve]) -> None:
        server = serve("--access-log", "combined", "--trusted-proxies", "127.0.0.1")
        port = server.wait_until_it_serves()
        assert get(port, "/?first", **{"X-Forwarded-For": "6.6.6.6, 192.0.2.7"})[0] == 200
        assert get(port, "/?second", **{"X-Forwarded-For": "unknown"})[0] == 200
        for line in ("192.0.2.7 - - [", '"GET /?first', "- - - [", '"GET /?second'):
            server.says(line)
        assert "6.6.6.6" not in server.text

    def test_django_knows_the_scheme_and_host(self, project: Path, serve: Callable[..., Serve]) -> None:
        (project / "site_urls.py").write_text(
            "from django.http import HttpResponse\nfrom django.urls import path\n"
            "def tell(request):\n"
            "    return HttpResponse(f'{request.build_absolute_uri()} {request.is_secure()} {request.get_port()}')\n"
            "urlpatterns = [path('tell', tell)]\n"
        )
        server = serve("--trusted-proxies", "127.0.0.1", "--proxy-headers", "forwarded")
        port = server.wait_until_it_serves()
        field = "for=192.0.2.7;proto=https;host=shop.example"
        assert get(port, "/tell", Forwarded=field) == (200, "https://shop.example/tell True 443")


class TestGunicorn:
    @pytest.fixture
    def gunicorn(self, project: Path, serve: Callable[..., Serve]) -> Callable[..., int]:
        (project / "site_wsgi.py").write_text(
            "def application(environ, start_response):\n"
            "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
            "    return [f\"{environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']}\".encode()]\n"
        )

        def start(*arguments: str, **environ: str) -> int:
            worker = ["-k", "django_wsgiperf.server.worker.PooledWorker", "-b", "127.0.0.1:0", "--no-control-socket"]
            command = [sys.executable, "-m", "gunicorn", *worker, *arguments, "site_wsgi"]
            server = serve(command=command, DJANGO_SETTINGS_MODULE="site_settings", **environ)
            port: int = server.wait_until_it_serves(r"Listening at: http://127\.0\.0\.1:(\d+)")
            return port

        return start

    def test_forwarded_allow_ips(self, gunicorn: Callable[..., int]) -> None:
        believed, other = (200, "192.0.2.7 https"), (200, "127.0.0.1 http")
        assert get(gunicorn("--forwarded-allow-ips", "127.0.0.1"), **FIELDS) == believed
        assert get(gunicorn("--forwarded-allow-ips=10.0.0.1"), **FIELDS) == other
        assert get(gunicorn(FORWARDED_ALLOW_IPS="*"), **FIELDS) == believed
        assert get(gunicorn(), **FIELDS) == other, "gunicorn's default trusts this machine, which is not asked for"

    @pytest.mark.parametrize(
        ("mode", "good", "bad"), [("v1", LINE, BLOCK), ("v2", BLOCK, LINE), ("auto", LINE, REQUEST)]
    )
    def test_proxy_protocol(self, gunicorn: Callable[..., int], mode: str, good: bytes, bad: bytes) -> None:
        port = gunicorn("--proxy-protocol", mode)
        with Client(port) as client:
            client.send(good)
            assert client.get("/", "X-Forwarded-Proto: https").body == b"192.0.2.7 http"
        with Client(port) as client:
            client.send(bad + REQUEST)
            with contextlib.suppress(ConnectionResetError):
                assert client.rest() == b""

    def test_proxy_allow_from_and_forwarded_allow_ips_may_differ(self, gunicorn: Callable[..., int]) -> None:
        port = gunicorn("--proxy-protocol", "--proxy-allow-from", "10.0.0.1", "--forwarded-allow-ips", "127.0.0.1")
        assert get(port, **FIELDS) == (200, "192.0.2.7 https"), "no PROXY header is expected from this one"
        port = gunicorn("--proxy-protocol", "--proxy-allow-from", "127.0.0.1", "--forwarded-allow-ips", "192.0.2.7")
        with Client(port) as client:
            client.send(LINE)
            assert client.get("/", "X-Forwarded-For: 192.0.2.9").body == b"192.0.2.9 http"
