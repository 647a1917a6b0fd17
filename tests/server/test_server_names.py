"""What the environ calls the server and the client, by the kind of socket that the request came through."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import override_settings

from django_wsgiperf.server.listening import open_listeners

from .conftest import Client, Server

Start = Callable[..., Server]


def names(environ: Any, start_response: Any) -> list[bytes]:
    """What Django makes of the request's environ."""
    request = WSGIRequest(environ)
    start_response("200 OK", [("Content-Type", "application/json")])
    remote = environ["REMOTE_ADDR"]
    return [json.dumps([request.get_host(), request.build_absolute_uri("/a"), request.get_port(), remote]).encode()]


def answer(server: Server, place: Any, family: socket.AddressFamily, opening: bytes = b"") -> list[str]:
    """Of a request without a Host field, as the health checks of balancers are."""
    with socket.socket(family) as sock:
        sock.connect(place)
        with Client(0, sock) as client:
            client.send(opening + b"GET / HTTP/1.0\r\n\r\n")
            response = client.response()
    assert response.status == 200
    told: list[str] = json.loads(response.body)
    return told


@pytest.fixture(autouse=True)
def every_host() -> Any:
    with override_settings(ALLOWED_HOSTS=["*"]):
        yield


def test_ipv6_address_has_brackets(serve_app: Start) -> None:
    [listening] = open_listeners(["[::1]:0"], 16)
    server = serve_app(names, listening=listening)
    host = f"[::1]:{server.port}"
    told = answer(server, ("::1", server.port), socket.AF_INET6)
    assert told == [host, f"http://{host}/a", str(server.port), "::1"]


def test_ipv6_address_that_a_proxy_tells_has_brackets(serve_app: Start) -> None:
    server = serve_app(names, trusted_proxies=("127.0.0.1",), proxy_protocol=True)
    line = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 81\r\n"
    told = answer(server, ("127.0.0.1", server.port), socket.AF_INET, line)
    assert told == ["[2001:db8::1]:81", "http://[2001:db8::1]:81/a", "81", "2001:db8::7"]


def test_unix_socket_has_the_port_of_its_scheme(serve_app: Start, tmp_path: Path) -> None:
    [listening] = open_listeners([f"unix:{tmp_path}/site.sock"], 16)
    server = serve_app(names, listening=listening)
    told = answer(server, str(tmp_path / "site.sock"), socket.AF_UNIX)
    assert told == ["localhost", "http://localhost/a", "80", ""]


def test_ipv4_client_of_an_ipv6_socket_has_its_ipv4_address(serve_app: Start) -> None:
    [listening] = open_listeners(["[::]:0"], 16)
    server = serve_app(names, listening=listening)
    assert answer(server, ("127.0.0.1", server.port), socket.AF_INET)[3] == "127.0.0.1"
    assert answer(server, ("::1", server.port), socket.AF_INET6)[3] == "::1"
