"""The warming client on the wire: what it sends, what it makes of what comes back, and that it never waits for long."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest

from django_wsgiperf.cache.warming import client as client_module
from django_wsgiperf.cache.warming.address import Page, Place
from django_wsgiperf.cache.warming.client import Answer, Client, FetchError

from .sites import Scripted, answering, read_request, reply, scripted

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n"


def fetch(site: Scripted, *, timeout_s: float = 20.0) -> Answer:
    client = Client(site.place, timeout_s=timeout_s)
    try:
        return client.get(site.page(), {}, keep_body=True)
    finally:
        client.close()


@pytest.mark.parametrize(
    "response",
    [reply(), CHUNKED, b"HTTP/1.0 200 OK\r\n\r\npage", reply(b"page", "Connection: close")],
    ids=["length", "chunked", "to the end", "close"],
)
def test_an_answer_in_each_framing(response: bytes) -> None:
    with scripted(answering(response)) as site:
        answer = fetch(site)
    assert (answer.status, answer.reason, answer.body, answer.body_bytes) == (200, "OK", b"page", 4)


def test_fields_are_found_by_their_lower_name_and_joined() -> None:
    with scripted(answering(reply(b"", "Cache-Status: a; hit", "CACHE-STATUS: b; hit", "Vary: Cookie"))) as site:
        fields = fetch(site).fields
    assert fields["cache-status"] == "a; hit, b; hit"
    assert fields["vary"] == "Cookie"


def test_the_host_is_the_pages_wherever_it_is_asked() -> None:
    with scripted(answering(reply())) as site:
        client = Client(site.place)
        client.get(Page("http", "shop.example:8080", "/b%C3%BCcher?q=1"), {"Accept-Encoding": "gzip"})
        client.close()
        (request,) = site.requests
    lines = request.decode().split("\r\n")
    assert lines[0] == "GET /b%C3%BCcher?q=1 HTTP/1.1"
    assert sorted(lines[1:-2]) == ["Accept-Encoding: gzip", "Host: shop.example:8080"]


def test_a_page_of_https_asked_for_without_tls_says_so() -> None:
    """As a proxy in front would, so that it is the page that visitors get."""
    with scripted(answering(reply())) as site:
        client = Client(site.place)
        client.get(Page("https", "shop.example", "/"), {})
        client.close()
        assert b"X-Forwarded-Proto: https\r\n" in site.requests[0]


def test_a_connection_is_kept_for_the_next_page() -> None:
    with scripted(answering(reply(b"one"), CHUNKED, reply(b"three"))) as site:
        client = Client(site.place)
        bodies = [client.get(site.page(), {}, keep_body=True).body for _ in range(3)]
        client.close()
        assert bodies == [b"one", b"page", b"three"]
        assert site.connections == 1


def test_a_kept_connection_that_the_server_has_ended_is_replaced() -> None:
    with scripted(answering(reply(b"one")), answering(reply(b"two"))) as site:
        client = Client(site.place)
        assert client.get(site.page(), {}, keep_body=True).body == b"one"
        assert client.get(site.page(), {}, keep_body=True).body == b"two"
        client.close()
        assert site.connections == 2


def test_a_new_connection_that_is_ended_is_not_tried_again() -> None:
    with scripted(lambda connection, site: read_request(connection)) as site:
        with pytest.raises(FetchError, match="closed without an answer"):
            fetch(site)
        assert site.connections == 1


def test_pages_of_different_hosts_each_get_a_connection_of_their_own() -> None:
    with scripted(answering(reply(b"one"))) as one, scripted(answering(reply(b"two"))) as two:
        client = Client()
        for site, body in ((one, b"one"), (two, b"two")):
            page = Page("http", f"127.0.0.1:{site.place.port}", "/")
            assert client.get(page, {}, keep_body=True).body == body
        client.close()


def test_a_unix_socket_is_asked(tmp_path: Path) -> None:
    with scripted(answering(reply()), file=str(tmp_path / "site.sock")) as site:
        assert fetch(site).body == b"page"


def drip(connection: socket.socket, site: Scripted) -> None:
    """Never silent for long, and never done."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


def silent(connection: socket.socket, site: Scripted) -> None:
    read_request(connection)
    connection.recv(1)


def drip_head(connection: socket.socket, site: Scripted) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


@pytest.mark.parametrize("script", [drip, silent, drip_head])
def test_the_time_out_is_for_the_whole_answer(script: object) -> None:
    """A server that sends a byte now and then does not prolong it."""
    with scripted(script) as site, pytest.raises(FetchError, match=r"no whole answer within 0\.2 s"):  # type: ignore[arg-type]
        fetch(site, timeout_s=0.2)


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "ended early"),
        (b"SSH-2.0-OpenSSH\r\n", "no HTTP answer"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "no HTTP answer"),
    ],
)
def test_what_is_no_whole_answer_says_why(response: bytes, why: str) -> None:
    with scripted(answering(response)) as site, pytest.raises(FetchError, match=why):
        fetch(site)


def test_an_endless_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_BODY_BYTES", 1_048_576)

    def endless(connection: socket.socket, site: Scripted) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    with scripted(endless) as site, pytest.raises(FetchError, match="larger than 1 MiB"):
        fetch(site)


def test_after_a_failure_the_client_works_on() -> None:
    with scripted(silent, answering(reply(b"well"))) as site:
        client = Client(site.place, timeout_s=0.2)
        with pytest.raises(FetchError):
            client.get(site.page(), {})
        client._timeout_s = 20.0
        assert client.get(site.page(), {}, keep_body=True).body == b"well"
        client.close()


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError, match="refused"):
            Client(Place("http", "127.0.0.1", taken.getsockname()[1])).get(Page("http", "shop.example", "/"), {})
    with pytest.raises(FetchError, match="no such file"):
        Client(Place("http", "", 0, str(tmp_path / "none.sock"))).get(Page("http", "shop.example", "/"), {})


def test_a_certificate_of_nobody_is_not_accepted() -> None:
    folder = Path(__file__).parents[2] / "server" / "tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    def handshake(connection: socket.socket, site: Scripted) -> None:
        context.wrap_socket(connection, server_side=True).close()

    with scripted(handshake) as site:
        place = Place("https", "127.0.0.1", site.place.port)
        with pytest.raises(FetchError, match="certificate is not accepted"):
            Client(place).get(Page("https", "localhost", "/"), {})
