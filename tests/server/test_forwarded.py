"""X-Forwarded-* and Forwarded: read from the end, no further than those who wrote them are trusted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_wsgiperf.server.addresses import AddressList
from django_wsgiperf.server.forwarded import (
    Client,
    Forwarded,
    Malformed,
    from_forwarded,
    from_x_forwarded,
    parse_forwarded,
    parse_node,
)

PROXIES = AddressList(["10.0.0.0/8", "unix"])
UNKNOWN = ("", "")

# What may stand in a header field, as the head's parser lets it through.
field_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60)
addresses = st.ip_addresses().map(str).filter(lambda address: not address.startswith(("10.", "::ffff")))


def x_forwarded(hops: int = 1, **fields: str) -> tuple[Forwarded, dict[str, Any]]:
    environ: dict[str, Any] = {f"HTTP_X_FORWARDED_{name}": value for name, value in fields.items()}
    said = from_x_forwarded(environ, PROXIES, hops)
    return said, {name.removeprefix("HTTP_X_FORWARDED_"): value for name, value in environ.items()}


def forwarded(field: str, hops: int = 1) -> tuple[Forwarded, str]:
    environ: dict[str, Any] = {"HTTP_FORWARDED": field}
    return from_forwarded(environ, PROXIES, hops), environ["HTTP_FORWARDED"]


class TestXForwarded:
    @pytest.mark.parametrize(
        ("field", "hops", "client", "believed"),
        [
            ("192.0.2.7", 1, ("192.0.2.7", ""), "192.0.2.7"),
            # One hop: the entry before it was the client's own to write.
            ("6.6.6.6, 192.0.2.7", 1, ("192.0.2.7", ""), "192.0.2.7"),
            ("6.6.6.6,192.0.2.7,10.0.0.2", 1, ("10.0.0.2", ""), "10.0.0.2"),
            # Two: the entry of the inner proxy is the outer one's address, which must be trusted, too.
            ("6.6.6.6, 192.0.2.7, 10.0.0.2", 2, ("192.0.2.7", ""), "192.0.2.7, 10.0.0.2"),
            ("6.6.6.6, 192.0.2.7", 2, ("192.0.2.7", ""), "192.0.2.7"),
            ("6.6.6.6, 10.0.0.3, 10.0.0.2", 2, ("10.0.0.3", ""), "10.0.0.3, 10.0.0.2"),
            ("6.6.6.6, 10.0.0.3, 10.0.0.2", 3, ("6.6.6.6", ""), "6.6.6.6, 10.0.0.3, 10.0.0.2"),
            ("192.0.2.7, 10.0.0.2", 9, ("192.0.2.7", ""), "192.0.2.7, 10.0.0.2"),
            ("10.0.0.2", 9, ("10.0.0.2", ""), "10.0.0.2"),
            # Nobody trusted stands behind one that is not known.
            ("6.6.6.6, unknown", 2, UNKNOWN, "unknown"),
            ("6.6.6.6, _hidden", 2, UNKNOWN, "_hidden"),
            ("192.0.2.7, unix:", 2, ("192.0.2.7", ""), "192.0.2.7, unix:"),
            ("192.0.2.7, unix:", 1, UNKNOWN, "unix:"),
            # With a port, as Azure's gateway adds it.
            ("192.0.2.7:4711", 1, ("192.0.2.7", "4711"), "192.0.2.7:4711"),
            ("2001:DB8::7", 1, ("2001:db8::7", ""), "2001:DB8::7"),
            ("[2001:db8::7]", 1, ("2001:db8::7", ""), "[2001:db8::7]"),
            ("[2001:db8::7]:4711", 1, ("2001:db8::7", "4711"), "[2001:db8::7]:4711"),
            ("::ffff:192.0.2.7", 1, ("192.0.2.7", ""), "::ffff:192.0.2.7"),
            ('"[2001:db8::7]:4711"', 1, ("2001:db8::7", "4711"), "[2001:db8::7]:4711"),
            # Empty members are no members.
            (" , 192.0.2.7 ,, ", 1, ("192.0.2.7", ""), "192.0.2.7"),
            # What is not looked at need not be right.
            ("nonsense, <script>, 192.0.2.7", 1, ("192.0.2.7", ""), "192.0.2.7"),
        ],
    )
    def test_client(self, field: str, hops: int, client: Client, believed: str) -> None:
        said, kept = x_forwarded(hops, FOR=field)
        assert said == Forwarded(client)
        assert kept == {"FOR": believed}

    @pytest.mark.parametrize("field", ["", ",", " , "])
    def test_nobody_is_named(self, field: str) -> None:
        assert x_forwarded(FOR=field)[0] == Forwarded(None)

    @pytest.mark.parametrize(
        "entry",
        [
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.07",
            "192.0.2.7:",
            "192.0.2.7:65536",
            "192.0.2.7:http",
            "192.0.2.7 6.6.6.6",
            "[192.0.2.7]",
            "[2001:db8::7",
            "2001:db8::7]",
            "2001:db8:7",
            "fe80::1%eth0",
            "unix:/run/x",
            "_",
            "\xb2",
            '"192.0.2.7',
        ],
    )
    def test_entry_that_nobody_can_read(self, entry: str) -> None:
        with pytest.raises(Malformed) as caught:
            x_forwarded(FOR=f"6.6.6.6, {entry}")
        assert (caught.value.field, caught.value.value) == ("X-Forwarded-For", entry)

    def test_scheme_host_and_port_are_those_that_the_clients_proxy_was_asked_for(self) -> None:
        said, kept = x_forwarded(2, FOR="192.0.2.7, 10.0.0.2", PROTO="HTTPS, http", HOST="a.example, b", PORT="443, 80")
        assert said == Forwarded(("192.0.2.7", ""), "https", "a.example", "443")
        assert kept == {"FOR": "192.0.2.7, 10.0.0.2", "PROTO": "https", "HOST": "a.example", "PORT": "443"}

    def test_what_the_client_wrote_before_them_does_not_count(self) -> None:
        said, _ = x_forwarded(1, FOR="6.6.6.6, 192.0.2.7", PROTO="https,http", HOST="evil.example, a", PORT="1,80")
        assert said == Forwarded(("192.0.2.7", ""), "http", "a", "80")

    def test_proxy_that_is_not_trusted_is_not_asked(self) -> None:
        said, _ = x_forwarded(2, FOR="192.0.2.7, 192.0.2.9", PROTO="https, http")
        assert said == Forwarded(("192.0.2.9", ""), "http")

    def test_single_value_of_a_proxy_that_overwrites(self) -> None:
        said, _ = x_forwarded(2, FOR="192.0.2.7, 10.0.0.2", PROTO="https")
        assert said.scheme == "https"

    def test_scheme_without_a_client(self) -> None:
        assert x_forwarded(2, PROTO="http, https")[0] == Forwarded(None, "https")

    @pytest.mark.parametrize(("told", "scheme"), [("ws", "http"), ("wss", "https"), ("Http", "http")])
    def test_schemes(self, told: str, scheme: str) -> None:
        said, kept = x_forwarded(PROTO=told)
        assert said.scheme == kept["PROTO"] == scheme

    @pytest.mark.parametrize(
        ("name", "value", "field"),
        [
            ("PROTO", "ftp", "X-Forwarded-Proto"),
            ("PROTO", "https;", "X-Forwarded-Proto"),
            ("HOST", "a b", "X-Forwarded-Host"),
            ("HOST", "a/b", "X-Forwarded-Host"),
            ("HOST", "user@a", "X-Forwarded-Host"),
            ("HOST", "a:70000", "X-Forwarded-Host"),
            ("HOST", "[::g]", "X-Forwarded-Host"),
            ("PORT", "65536", "X-Forwarded-Port"),
            ("PORT", "-1", "X-Forwarded-Port"),
            ("PORT", "\xb2", "X-Forwarded-Port"),
        ],
    )
    def test_value_that_nobody_can_read(self, name: str, value: str, field: str) -> None:
        with pytest.raises(Malformed) as caught:
            x_forwarded(FOR="192.0.2.7", **{name: value})
        assert caught.value.field == field

    @given(field_text, addresses, st.integers(1, 4))
    @example('"', "192.0.2.7", 1)
    def test_no_prefix_of_the_clients_changes_who_it_is(self, prefix: str, client: str, hops: int) -> None:
        chain = ", ".join([client, *[f"10.0.0.{n}" for n in range(hops - 1)]])
        said, _ = x_forwarded(hops, FOR=f"{prefix}, {chain}")
        assert said.client == (client, "")

    @given(field_text, field_text, field_text, field_text, st.integers(1, 32))
    def test_no_other_error_is_raised(self, for_: str, proto: str, host: str, port: str, hops: int) -> None:
        try:
            said, _ = x_forwarded(hops, FOR=for_, PROTO=proto, HOST=host, PORT=port)
        except Malformed:
            return
        assert said.scheme in ("", "http", "https")
        assert said.client is None or said.client[0] == "" or parse_node(said.client[0], bare_ipv6=True)


class TestForwarded:
    @pytest.mark.parametrize(
        ("field", "hops", "said", "believed"),
        [
            # The examples of RFC 7239 section 4 and 7.
            ('for="_gazonk"', 1, Forwarded(UNKNOWN), None),
            ('For="[2001:db8:cafe::17]:4711"', 1, Forwarded(("2001:db8:cafe::17", "4711")), None),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", 1, Forwarded(("192.0.2.60", ""), "http"), None),
            ("for=192.0.2.43, for=198.51.100.17", 1, Forwarded(("198.51.100.17", "")), "for=198.51.100.17"),
            (
                "for=192.0.2.43,for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com",
                1,
                Forwarded(("198.51.100.17", ""), "http", "example.com"),
                "for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com",
            ),
            ("for=_hidden, for=_SEVKISEK", 1, Forwarded(UNKNOWN), "for=_SEVKISEK"),
            # Hops.
            (
                "for=6.6.6.6, for=192.0.2.7, for=10.0.0.2",
                2,
                Forwarded(("192.0.2.7", "")),
                "for=192.0.2.7, for=10.0.0.2",
            ),
            ("for=6.6.6.6, for=192.0.2.7", 2, Forwarded(("192.0.2.7", "")), "for=192.0.2.7"),
            ("for=6.6.6.6, for=unknown", 2, Forwarded(UNKNOWN), "for=unknown"),
            # The proxy closest to the client knows best what it was asked for; what it does not say, the next may.
            (
                "for=192.0.2.7;proto=https;host=a.example, for=10.0.0.2;proto=http;host=b",
                2,
                Forwarded(("192.0.2.7", ""), "https", "a.example"),
                None,
            ),
            ("for=192.0.2.7;host=a, for=10.0.0.2;proto=https", 2, Forwarded(("192.0.2.7", ""), "https", "a"), None),
            ("proto=https;host=evil, for=192.0.2.7", 9, Forwarded(("192.0.2.7", "")), "for=192.0.2.7"),
            # Who does not say who his peer was ends the way.
            ("for=6.6.6.6, proto=https", 2, Forwarded(None, "https"), "proto=https"),
            (
                "for=6.6.6.6, proto=https, for=10.0.0.2",
                3,
                Forwarded(("10.0.0.2", ""), "https"),
                "proto=https, for=10.0.0.2",
            ),
            # Grammar.
            (r'for="192.0.2.\7";host="a\.example:8\0"', 1, Forwarded(("192.0.2.7", ""), "", "a.example:80"), None),
            ('for=192.0.2.7;secret="a, for=6.6.6.6; b=\\""', 1, Forwarded(("192.0.2.7", "")), None),
            ("FOR=192.0.2.7; Proto=HTTPS ;; by=x;", 1, Forwarded(("192.0.2.7", ""), "https"), None),
            (" ,, for=192.0.2.7 , ;, ", 1, Forwarded(("192.0.2.7", "")), "for=192.0.2.7 , ;,"),
            ('for="192.0.2.7:_port"', 1, Forwarded(("192.0.2.7", "")), None),
            ('for="unknown:80"', 1, Forwarded(UNKNOWN), None),
            ("", 1, Forwarded(), None),
            (" , ;; ", 1, Forwarded(), " , ;; "),
        ],
    )
    def test_client_scheme_and_host(self, field: str, hops: int, said: Forwarded, believed: str | None) -> None:
        assert forwarded(field, hops) == (said, field if believed is None else believed)

    @pytest.mark.parametrize(
        "field",
        [
            "for",
            "for=",
            "for =192.0.2.7",
            "for= 192.0.2.7",
            "for=192.0.2.7:80",  # A colon has to be quoted,
            "for=[2001:db8::7]",  # and so have brackets.
            'for="192.0.2.7',
            'for=192.0.2.7"',
            'for="192.0.2.7"x',
            "for=192.0.2.7 for=6.6.6.6",
            "for=192.0.2.7;for=6.6.6.6",
            "for=192.0.2.7;For=6.6.6.6",
            'for="2001:db8::7"',
            'for="[192.0.2.7]"',
            'for=""',
            "for=_",
            'for="_hid den"',
            "for=example.com",
            "for=192.0.2.7;proto=ftp",
            'for=192.0.2.7;host="a b"',
            'for=192.0.2.7;host=""',
            "=192.0.2.7",
            "for=192.0.2.7;b\xe4d=1",
            # Quotes of a client's that swallow what the proxy adds.
            'for="6.6.6.6, for=192.0.2.7',
            'for=6.6.6.6;x=", for="[2001:db8::7]"',
        ],
    )
    def test_field_that_nobody_can_read(self, field: str) -> None:
        with pytest.raises(Malformed) as caught:
            forwarded(field)
        assert caught.value.field == "Forwarded"

    @given(field_text, addresses, st.booleans())
    @example('for=6.6.6.6;x="', "2001:db8::7", True)
    def test_no_prefix_of_the_clients_changes_who_it_is(self, prefix: str, client: str, quoted: bool) -> None:
        node = f'"[{client}]"' if ":" in client else f'"{client}"' if quoted else client
        try:
            said, _ = forwarded(f"{prefix}, for={node};proto=https")
        except Malformed:
            return  # The client has spoilt nobody's request but its own.
        assert said == Forwarded((client, ""), "https")

    names = st.text(st.sampled_from("abcXYZ09!#$%&'*+.^_`|~-"), min_size=1, max_size=8).map(str.lower)

    @given(st.lists(st.dictionaries(names, field_text, min_size=1, max_size=4), min_size=1, max_size=5))
    def test_round_trip(self, elements: list[dict[str, str]]) -> None:
        def quote(text: str) -> str:
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

        field = ", ".join(";".join(f"{name}={quote(value)}" for name, value in pairs.items()) for pairs in elements)
        parsed = parse_forwarded(field)
        assert [pairs for _, pairs in parsed] == elements
        # From each element's beginning on, the field says what it said there.
        for index, (begin, _) in enumerate(parsed):
            assert [pairs for _, pairs in parse_forwarded(field[begin:])] == elements[index:]

    @given(field_text | st.text(st.sampled_from('for=,;" \\12.:[]_aunkownprthsp'), max_size=60), st.integers(1, 32))
    def test_no_other_error_is_raised(self, field: str, hops: int) -> None:
        try:
            said, _ = forwarded(field, hops)
        except Malformed:
            return
        assert said.scheme in ("", "http", "https")

    def test_time_is_in_proportion_to_the_length(self) -> None:
        # Exponential or square time would not come to its end within the test's time.
        for field in ('for="' + "\\a" * 500_000, "a=b," * 250_000, "a" * 1_000_000, ";" * 1_000_000, " " * 1_000_000):
            try:
                parse_forwarded(field)
            except Malformed:
                continue


class TestNode:
    @pytest.mark.parametrize(
        ("node", "client"),
        [
            ("192.0.2.7", ("192.0.2.7", "")),
            ("192.0.2.7:80", ("192.0.2.7", "80")),
            ("192.0.2.7:_a.B-1", ("192.0.2.7", "")),
            ("[2001:DB8::7]:65535", ("2001:db8::7", "65535")),
            ("[::ffff:192.0.2.7]", ("192.0.2.7", "")),
            ("unknown", UNKNOWN),
            ("UNKNOWN:80", UNKNOWN),
            ("_a", UNKNOWN),
            ("_a.b-c_D:80", UNKNOWN),
        ],
    )
    def test_every_kind(self, node: str, client: Client) -> None:
        assert parse_node(node) == client

    @given(st.ip_addresses(), st.none() | st.integers(0, 65_535))
    def test_round_trip(self, address: Any, port: int | None) -> None:
        text = f"[{address}]" if address.version == 6 else str(address)
        expected = str(getattr(address, "ipv4_mapped", None) or address)
        assert parse_node(text if port is None else f"{text}:{port}") == (expected, "" if port is None else str(port))
