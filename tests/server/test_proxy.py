"""What becomes of a request's environ, and who may see the statistics: by what trusted proxies say, and nobody else."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.conf import ServerSettings
from django_wsgiperf.server.addresses import AddressList
from django_wsgiperf.server.http1 import HeadParser, HTTPError
from django_wsgiperf.server.proxy import Complaints, ProxyTrust, address_for_access
from django_wsgiperf.server.proxy_protocol import ProxyHeader

ALL = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")

PROXY, CLIENT, OTHER = "10.0.0.1", "192.0.2.7", "198.51.100.9"
BASE = {"wsgi.url_scheme": "http", "SERVER_NAME": "0.0.0.0", "SERVER_PORT": "8000"}


def peer(address: str = PROXY, port: str = "4000", *, unix: bool = False) -> Any:
    """A connection from `address`."""
    listener = SimpleNamespace(unix=unix)
    return SimpleNamespace(peer="" if unix else address, peer_port="" if unix else port, told=None, listener=listener)


def request(trust: ProxyTrust | None, connection: Any, *fields: str, host: str = "inner:8000") -> dict[str, Any]:
    """The environ of a request, made as the reactor makes it."""
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", f"Host: {host}", *fields))
    environ = HeadParser().parse(f"{head}\r\n".encode("latin-1"), BASE).environ
    environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = connection.peer, connection.peer_port
    if trust is not None:
        trust.apply(connection, environ)
    return environ


def forwarding(environ: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if "FORWARDED" in name}


@pytest.fixture
def trust() -> ProxyTrust:
    return ProxyTrust(["10.0.0.0/8"], headers=ALL)


class TestTrusted:
    def test_client_scheme_host_and_port(self, trust: ProxyTrust) -> None:
        environ = request(
            trust,
            peer(),
            f"X-Forwarded-For: 6.6.6.6, {CLIENT}:4711",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: shop.example",
            "X-Forwarded-Port: 8443",
        )
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (CLIENT, "4711")
        assert environ["wsgi.url_scheme"] == "https"
        assert environ["HTTP_HOST"] == "shop.example:8443"
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("shop.example", "8443")
        assert environ["wsgiperf.proxy"] == PROXY
        assert forwarding(environ) == {
            "HTTP_X_FORWARDED_FOR": f"{CLIENT}:4711",
            "HTTP_X_FORWARDED_PROTO": "https",
            "HTTP_X_FORWARDED_HOST": "shop.example",
            "HTTP_X_FORWARDED_PORT": "8443",
        }

    def test_forwarded_field(self) -> None:
        trust = ProxyTrust(["10.0.0.0/8"], headers=["forwarded"])
        element = 'for="[2001:db8::7]:4711";proto=https;host="shop.example:8443"'
        environ = request(trust, peer(), "Forwarded: for=6.6.6.6", f"Forwarded: {element}")
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("2001:db8::7", "4711")
        assert environ["wsgi.url_scheme"] == "https"
        assert (environ["HTTP_HOST"], environ["SERVER_PORT"]) == ("shop.example:8443", "8443")
        assert forwarding(environ) == {"HTTP_FORWARDED": element}

    @pytest.mark.parametrize(
        ("fields", "host", "name", "port"),
        [
            # The proxy hands the host on as it came.
            (["X-Forwarded-Proto: https"], "inner", "0.0.0.0", "443"),
            (["X-Forwarded-Proto: https"], "inner:8000", "0.0.0.0", "8000"),
            (["X-Forwarded-Proto: http"], "inner", "0.0.0.0", "80"),
            (["X-Forwarded-Proto: https", "X-Forwarded-Port: 444"], "inner:8000", "0.0.0.0", "444"),
            # Or says what it was.
            (["X-Forwarded-Host: a"], "a", "a", "80"),
            (["X-Forwarded-Host: a", "X-Forwarded-Proto: https"], "a", "a", "443"),
            (["X-Forwarded-Host: a:81", "X-Forwarded-Proto: https"], "a:81", "a", "81"),
            (["X-Forwarded-Host: a:81", "X-Forwarded-Port: 82"], "a:81", "a", "81"),
            (["X-Forwarded-Host: a", "X-Forwarded-Port: 82"], "a:82", "a", "82"),
            (["X-Forwarded-Host: a", "X-Forwarded-Port: 80"], "a", "a", "80"),
            (["X-Forwarded-Host: a", "X-Forwarded-Port: 443", "X-Forwarded-Proto: https"], "a", "a", "443"),
            (["X-Forwarded-Host: a", "X-Forwarded-Port: 80", "X-Forwarded-Proto: https"], "a:80", "a", "80"),
            (["X-Forwarded-Host: [::1]", "X-Forwarded-Port: 82"], "[::1]:82", "[::1]", "82"),
            (["X-Forwarded-Host: [::1]:81"], "[::1]:81", "[::1]", "81"),
        ],
    )
    def test_host_and_port(self, trust: ProxyTrust, fields: list[str], host: str, name: str, port: str) -> None:
        environ = request(trust, peer(), *fields, host="inner:8000" if host == "inner:8000" else "inner")
        assert (environ["HTTP_HOST"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == (host, name, port)

    def test_request_of_the_proxy_itself(self, trust: ProxyTrust) -> None:
        environ = request(trust, peer())
        assert environ == request(None, peer())
        assert environ["REMOTE_ADDR"] == PROXY

    def test_unknown_client_has_no_address_and_never_the_proxys(self, trust: ProxyTrust) -> None:
        environ = request(trust, peer(), "X-Forwarded-For: 6.6.6.6, unknown")
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("", "")

    def test_field_that_the_proxy_does_not_set_is_removed(self) -> None:
        fields = (
            f"X-Forwarded-For: {CLIENT}",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: shop.example",
            "X-Forwarded-Port: 8443",
            f"Forwarded: for={CLIENT};proto=https",
        )
        for headers in (ALL[:2], ALL[:1], ALL[1:], ("forwarded",)):
            environ = request(ProxyTrust([PROXY], headers=headers), peer(), *fields)
            assert set(forwarding(environ)) == {f"HTTP_{name.upper().replace('-', '_')}" for name in headers}
            assert environ["REMOTE_ADDR"] == (PROXY if headers == ALL[1:] else CLIENT)
            assert environ["wsgi.url_scheme"] == ("http" if headers == ALL[:1] else "https")
            assert environ["HTTP_HOST"] == ("shop.example:8443" if headers == ALL[1:] else "inner:8000")

    def test_host_is_not_believed_unless_it_is_asked_for(self) -> None:
        # Most proxies hand on a client's X-Forwarded-Host.
        trust = ProxyTrust.from_settings(ServerSettings(trusted_proxies=(PROXY,)))
        environ = request(trust, peer(), f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Host: evil.example")
        assert (environ["HTTP_HOST"], forwarding(environ)) == ("inner:8000", {"HTTP_X_FORWARDED_FOR": CLIENT})

    @pytest.mark.parametrize("headers", [ALL, ("forwarded",)])
    def test_field_that_is_not_understood_stays_a_trusted_proxys(self, headers: tuple[str, ...]) -> None:
        trust = ProxyTrust([PROXY], headers=headers)
        assert forwarding(request(trust, peer(), "X-Forwarded-Ssl: on")) == {"HTTP_X_FORWARDED_SSL": "on"}

    @pytest.mark.parametrize(
        ("headers", "field"),
        [
            (ALL, "X-Forwarded-For: nonsense"),
            (ALL, "X-Forwarded-Proto: gopher"),
            (ALL, "X-Forwarded-Host: a/b"),
            (("forwarded",), 'Forwarded: for="'),
        ],
    )
    def test_malformed_field_is_refused_and_told(
        self, headers: tuple[str, ...], field: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        trust = ProxyTrust([PROXY], headers=headers)
        with pytest.raises(HTTPError) as caught:
            request(trust, peer(), field)
        name, _, value = field.partition(": ")
        assert (caught.value.status, caught.value.detail) == (400, f"malformed {name}")
        assert caplog.messages == [f"The trusted proxy {PROXY} sent a malformed {name}: {value!r}"]

    @pytest.mark.parametrize("name", ["X_Forwarded_For", "X-Forwarded_For", "x_forwarded-for", "X_FORWARDED_FOR"])
    def test_name_with_an_underscore_is_nobodys(self, trust: ProxyTrust, name: str) -> None:
        environ = request(trust, peer(), f"{name}: 6.6.6.6")
        assert (environ["REMOTE_ADDR"], forwarding(environ)) == (PROXY, {})
        environ = request(trust, peer(), f"X-Forwarded-For: {CLIENT}", f"{name}: 6.6.6.6")
        assert (environ["REMOTE_ADDR"], forwarding(environ)) == (CLIENT, {"HTTP_X_FORWARDED_FOR": CLIENT})

    def test_unix_socket(self) -> None:
        trust = ProxyTrust(["unix"])
        environ = request(trust, peer(unix=True), f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https")
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "https")
        assert environ["wsgiperf.proxy"] == "unix"
        assert request(trust, peer(), f"X-Forwarded-For: {CLIENT}")["REMOTE_ADDR"] == PROXY

    @pytest.mark.parametrize("address", ["::ffff:10.0.0.1", "10.0.0.1"])
    def test_ipv4_proxy_on_an_ipv6_socket(self, trust: ProxyTrust, address: str) -> None:
        assert request(trust, peer(address), f"X-Forwarded-For: {CLIENT}")["REMOTE_ADDR"] == CLIENT


class TestUntrusted:
    FIELDS = (
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Ssl: on",
        "X-Forwarded-By: 6.6.6.6",
        "X-Forwarded-Anything: else",
        "Forwarded: for=6.6.6.6;proto=https",
    )

    @pytest.mark.parametrize("headers", [ALL, ("forwarded",)])
    @pytest.mark.parametrize("connection", [peer(OTHER), peer("11.0.0.1"), peer("::1"), peer(unix=True)])
    def test_every_forwarding_field_is_removed(self, headers: tuple[str, ...], connection: Any) -> None:
        trust = ProxyTrust(["10.0.0.0/8"], headers=headers)
        environ = request(trust, connection, *self.FIELDS)
        assert environ.pop("wsgiperf.proxy") == ""
        assert environ == request(None, connection)

    def test_malformed_ones_too(self, trust: ProxyTrust) -> None:
        assert forwarding(request(trust, peer(OTHER), "X-Forwarded-For: nonsense", 'Forwarded: for="')) == {}

    def test_without_trusted_proxies_they_are_left_to_django(self) -> None:
        assert ProxyTrust.from_settings(ServerSettings()) is None
        assert len(forwarding(request(None, peer(OTHER), *self.FIELDS))) == len(self.FIELDS)


class TestProxyHeader:
    HEADER = ProxyHeader(0, False, (CLIENT, "4711"), ("203.0.113.1", "443"))

    def test_requests_are_those_of_the_client_it_names(self, trust: ProxyTrust) -> None:
        connection = peer()
        trust.take_header(connection, self.HEADER)
        for _ in range(2):
            environ = request(trust, connection)
            assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (CLIENT, "4711")
            assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("203.0.113.1", "443")
            assert (environ["wsgi.url_scheme"], environ["wsgiperf.proxy"]) == ("http", PROXY)

    def test_client_that_came_by_tls(self, trust: ProxyTrust) -> None:
        connection = peer()
        trust.take_header(connection, ProxyHeader(0, False, (CLIENT, "1"), (OTHER, "2"), True, "shop.example"))
        environ = request(trust, connection)
        assert (environ["wsgi.url_scheme"], environ["wsgiperf.proxy_authority"]) == ("https", "shop.example")
        assert environ["HTTP_HOST"] == "inner:8000"

    def test_client_may_not_name_another_in_a_field(self, trust: ProxyTrust) -> None:
        connection = peer()
        trust.take_header(connection, self.HEADER)
        environ = request(trust, connection, *TestUntrusted.FIELDS)
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], forwarding(environ)) == (CLIENT, "http", {})

    def test_client_that_is_a_trusted_proxy_may(self, trust: ProxyTrust) -> None:
        connection = peer()
        trust.take_header(connection, ProxyHeader(0, False, ("10.0.0.2", "4711"), ("203.0.113.1", "443")))
        environ = request(trust, connection, f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https")
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "https")
        assert (environ["SERVER_PORT"], environ["wsgiperf.proxy"]) == ("8000", "10.0.0.2")

    def test_connection_of_the_proxys_own(self, trust: ProxyTrust) -> None:
        connection = peer()
        trust.take_header(connection, ProxyHeader(16, local=True))
        assert request(trust, connection) == request(None, peer())
        assert request(trust, connection, f"X-Forwarded-For: {CLIENT}")["REMOTE_ADDR"] == CLIENT

    @pytest.mark.parametrize("unix", [False, True])
    def test_client_that_the_proxy_cannot_name(self, unix: bool) -> None:
        trust = ProxyTrust([PROXY, "unix"])
        connection = peer(unix=unix)
        trust.take_header(connection, ProxyHeader(15))
        environ = request(trust, connection, *TestUntrusted.FIELDS)
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (("", "") if unix else (PROXY, "4000"))
        assert (environ["wsgi.url_scheme"], forwarding(environ)) == ("http", {})

    def test_client_on_a_unix_socket(self, trust: ProxyTrust) -> None:
        connection = peer()
        trust.take_header(connection, ProxyHeader(232, False, ("", ""), ("", "")))
        environ = request(trust, connection, *TestUntrusted.FIELDS)
        assert (environ["REMOTE_ADDR"], environ["SERVER_PORT"], forwarding(environ)) == ("", "8000", {})

    def test_who_has_to_send_one(self) -> None:
        trust = ProxyTrust([OTHER], opening=["10.0.0.0/8"])
        assert trust.expects_header(peer())
        assert not trust.expects_header(peer(OTHER))
        assert not trust.expects_header(peer(unix=True))
        assert ProxyTrust([], opening=["unix"]).expects_header(peer(unix=True))
        assert not ProxyTrust([PROXY]).expects_header(peer())


class TestAccess:
    """Who is asked for by STATS_ALLOW. Spoofing must open nothing, whichever way it goes."""

    def access(self, trust: ProxyTrust | None, connection: Any, *fields: str) -> str:
        return address_for_access(connection, request(trust, connection, *fields), trust)

    def test_without_proxies_it_is_the_peer(self) -> None:
        assert self.access(None, peer(CLIENT)) == CLIENT
        assert self.access(None, peer(unix=True)) == "unix"

    @pytest.mark.parametrize("field", ["X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Forwarded-Proto: http"])
    def test_through_a_proxy_that_nobody_lists_it_is_nobody(self, trust: ProxyTrust, field: str) -> None:
        # Its address may be 127.0.0.1, and open to this machine only.
        assert self.access(None, peer("127.0.0.1"), field) == ""
        assert self.access(None, peer(unix=True), field) == ""
        assert self.access(trust, peer("127.0.0.1"), field) == ""
        assert self.access(trust, peer(unix=True), field) == ""

    def test_stranger_cannot_pretend(self, trust: ProxyTrust) -> None:
        for field in ("X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1"):
            assert self.access(trust, peer(OTHER), field) == ""
        assert self.access(trust, peer(OTHER)) == OTHER

    def test_stranger_behind_the_proxy_cannot_pretend(self, trust: ProxyTrust) -> None:
        assert self.access(trust, peer(), f"X-Forwarded-For: 127.0.0.1, {OTHER}") == OTHER
        assert self.access(trust, peer(), "X-Forwarded-For: 127.0.0.1", f"X-Forwarded-For: {OTHER}") == OTHER

    def test_stranger_behind_the_proxy_has_not_the_proxys_rights(self, trust: ProxyTrust) -> None:
        assert self.access(trust, peer(), f"X-Forwarded-For: {OTHER}") == OTHER
        for fields in (
            "X-Forwarded-For: unknown",
            f"X-Forwarded-For: {PROXY}",
            "X-Forwarded-For: 10.0.0.2",  # Another proxy, whose client is not known.
            "X-Forwarded-Proto: https",
            "Forwarded: for=6.6.6.6",
            "X-Forwarded-For: ,",
        ):
            assert self.access(trust, peer(), fields) == ""
        assert self.access(ProxyTrust(["unix"]), peer(unix=True), "X-Forwarded-For: unix:") == ""
        assert self.access(ProxyTrust(["unix"]), peer(unix=True), "X-Forwarded-Proto: http") == ""

    def test_proxy_may_ask_for_itself(self, trust: ProxyTrust) -> None:
        assert self.access(trust, peer()) == PROXY
        assert self.access(ProxyTrust(["unix"]), peer(unix=True)) == "unix"

    @pytest.mark.parametrize(
        ("header", "address"),
        [
            (TestProxyHeader.HEADER, CLIENT),
            (ProxyHeader(16, local=True), PROXY),
            (ProxyHeader(15), ""),
            (ProxyHeader(232, False, ("", ""), ("", "")), ""),
            (ProxyHeader(0, False, ("10.0.0.2", "1"), (OTHER, "1")), ""),
        ],
    )
    def test_behind_the_proxy_protocol(self, trust: ProxyTrust, header: ProxyHeader, address: str) -> None:
        connection = peer()
        trust.take_header(connection, header)
        assert self.access(trust, connection) == address

    def test_client_of_the_proxy_protocol_cannot_pretend(self, trust: ProxyTrust) -> None:
        for header, address in ((TestProxyHeader.HEADER, CLIENT), (ProxyHeader(15), "")):
            connection = peer()
            trust.take_header(connection, header)
            assert self.access(trust, connection, "X-Forwarded-For: 127.0.0.1") == address

    @given(
        st.lists(st.sampled_from(["X-Forwarded-For", "X-Forwarded-Proto", "X_Forwarded_For", "Forwarded"])), st.data()
    )
    def test_no_field_gives_a_stranger_another_address(self, names: list[str], data: st.DataObject) -> None:
        values = ["127.0.0.1", "for=127.0.0.1", "http", f"127.0.0.1, {PROXY}", '"127.0.0.1"', ""]
        fields = [f"{name}: {data.draw(st.sampled_from(values))}" for name in names]
        for trust in (None, ProxyTrust([PROXY]), ProxyTrust([PROXY], headers=["forwarded"], hops=3)):
            assert self.access(trust, peer(OTHER), *fields) in (OTHER, "")


class TestAddressList:
    def test_networks(self) -> None:
        listed = AddressList(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])
        inside = ["10.255.0.1", "::ffff:10.0.0.1", "2001:db8::1", "2001:DB8:0::1%eth0", "192.0.2.7"]
        outside = ["11.0.0.1", "::10.0.0.1", "2001:db9::1", "192.0.2.8", "unix", "", "10.0.0.1 ", "nonsense"]
        for _ in range(2):
            assert [address for address in [*inside, *outside] if address in listed] == inside
        assert "unix" in AddressList(["unix"])

    def test_what_is_remembered_has_a_bound(self) -> None:
        listed = AddressList(["10.0.0.0/8"])
        for number in range(10_000):
            assert f"10.0.{number >> 8}.{number & 255}" in listed
        assert len(listed._known) <= 4096


class TestComplaints:
    def test_one_in_a_while_however_many_there_are(self, caplog: pytest.LogCaptureFixture) -> None:
        now = [100.0]
        complain = Complaints(every_s=10, clock=lambda: now[0])
        with caplog.at_level(logging.WARNING):
            for number in range(50):
                complain("bad %d", number)
            now[0] += 10
            complain("bad %d", 50)
        assert caplog.messages == ["bad 0", "bad 50 (and 49 more such complaints before it)"]
