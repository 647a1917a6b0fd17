"""The PROXY protocol's bytes: all of the grammar, nothing beside it, and never an error but the one declared."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.server.proxy_protocol import (
    LONGEST,
    LONGEST_BLOCK,
    LONGEST_LINE,
    SIGNATURE,
    Endpoint,
    ProxyHeader,
    ProxyProtocolError,
    crc32c,
    parse_proxy_header,
)

LOCAL, PROXY = 0x20, 0x21
NOOP, SSL, CRC32C, AUTHORITY = 0x04, 0x20, 0x03, 0x02


def block(command: int, family: int, payload: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload) if length is None else length) + payload


def vector(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def tcp(source: Endpoint, destination: Endpoint, extensions: bytes = b"", *, checksum: bool = False) -> bytes:
    """A version 2 header for TCP; `checksum` puts the right one at its end."""
    addresses = [ipaddress.ip_address(address).packed for address, _ in (source, destination)]
    ports = struct.pack("!HH", int(source[1]), int(destination[1]))
    family = 0x11 if len(addresses[0]) == 4 else 0x21
    payload = b"".join(addresses) + ports + extensions
    if not checksum:
        return block(PROXY, family, payload)
    header = block(PROXY, family, payload + vector(CRC32C, bytes(4)))
    return header[:-4] + struct.pack("!I", crc32c(header))


FOUR = tcp(("192.0.2.7", "4711"), ("198.51.100.1", "443"))
SIX = tcp(("2001:db8::7", "4711"), ("2001:db8::1", "443"))

ports = st.integers(0, 65_535).map(str)
ipv4 = st.tuples(st.ip_addresses(v=4).map(str), ports)
# An IPv4 address in IPv6 clothes is shown without them, and so makes no round trip.
ipv6 = st.tuples(st.ip_addresses(v=6).filter(lambda address: not address.ipv4_mapped).map(str), ports)  # type: ignore[union-attr]
pairs = st.tuples(ipv4, ipv4) | st.tuples(ipv6, ipv6)


class TestLine:
    @pytest.mark.parametrize(
        ("line", "source", "destination"),
        [
            (
                b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
                ("192.0.2.7", "4711"),
                ("198.51.100.1", "443"),
            ),
            (
                b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                ("255.255.255.255", "65535"),
                ("255.255.255.255", "65535"),
            ),
            (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ("0.0.0.0", "0"), ("0.0.0.0", "0")),
            (b"PROXY TCP6 2001:DB8::7 ::1 4711 443\r\n", ("2001:db8::7", "4711"), ("::1", "443")),
            # As inet_ntop() writes it, and as the same client is known over IPv4.
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", ("192.0.2.7", "1"), ("::1", "2")),
            (b"PROXY UNKNOWN\r\n", None, None),
            (b"PROXY UNKNOWN \r\n", None, None),
            (b"PROXY UNKNOWN ffff:f:ffff ffff:f:ffff 65535 65535\r\n", None, None),
            (b"PROXY UNKNOWN \0\xff\r \n anything\r\n", None, None),
        ],
    )
    def test_good_lines(self, line: bytes, source: Endpoint | None, destination: Endpoint | None) -> None:
        for rest in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", line):
            assert parse_proxy_header(line + rest) == ProxyHeader(len(line), False, source, destination)

    @pytest.mark.parametrize(
        "line",
        [
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY  TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
            b"PROXY TCP4  192.0.2.7 198.51.100.1 4711 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 \r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 1\r\n",
            b"PROXY TCP4\t192.0.2.7\t198.51.100.1\t4711\t443\r\n",
            b"PROXY TCP4 192.0.2.07 198.51.100.1 4711 443\r\n",
            b"PROXY TCP4 192.0.2 198.51.100.1 4711 443\r\n",
            b"PROXY TCP4 192.0.2.256 198.51.100.1 4711 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 04711 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4_7 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1  443\r\n",
            b"PROXY TCP4 ::1 ::1 4711 443\r\n",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 4711 443\r\n",
            b"PROXY TCP6 1:2:3 ::1 4711 443\r\n",
            b"PROXY TCP6 1::2::3 ::1 4711 443\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n",
            b"PROXY TCP6 [::1] ::1 4711 443\r\n",
            b"PROXY tcp4 192.0.2.7 198.51.100.1 4711 443\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY unknown\r\n",
            b"PROXY TCP4 192.0.2.\xb2 198.51.100.1 4711 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\nGET / HTTP/1.1\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\rX\r\n",
        ],
    )
    def test_bad_lines(self, line: bytes) -> None:
        with pytest.raises(ProxyProtocolError):
            parse_proxy_header(line)

    def test_line_of_107_bytes_is_the_longest(self) -> None:
        line = b"PROXY UNKNOWN".ljust(LONGEST_LINE - 2) + b"\r\n"
        assert parse_proxy_header(line) == ProxyHeader(LONGEST_LINE)
        for longer in (line[:-2] + b" \r\n", line[:-2] + b" \r", b"PROXY ".ljust(LONGEST_LINE)):
            with pytest.raises(ProxyProtocolError, match="no line end within 107 bytes"):
                parse_proxy_header(longer)

    @given(pairs)
    def test_round_trip(self, ends: tuple[Endpoint, Endpoint]) -> None:
        (source, source_port), (destination, destination_port) = ends
        kind = "TCP6" if ":" in source else "TCP4"
        line = f"PROXY {kind} {source} {destination} {source_port} {destination_port}\r\n".encode()
        assert parse_proxy_header(line + b"GET") == ProxyHeader(len(line), False, *ends)
        assert all(parse_proxy_header(line[:size]) is None for size in range(len(line)))


class TestBlock:
    @given(pairs, st.booleans(), st.binary(max_size=40))
    def test_round_trip(self, ends: tuple[Endpoint, Endpoint], checksum: bool, padding: bytes) -> None:
        header = tcp(*ends, vector(NOOP, padding), checksum=checksum)
        assert parse_proxy_header(header + b"\x16\x03\x01") == ProxyHeader(len(header), False, *ends)
        assert all(parse_proxy_header(header[:size]) is None for size in range(len(header)))

    @pytest.mark.parametrize("family", [0x12, 0x22])
    def test_client_that_came_by_quic_has_an_address_too(self, family: int) -> None:
        good = FOUR if family == 0x12 else SIX
        header = parse_proxy_header(good[:13] + bytes([family]) + good[14:])
        assert header == parse_proxy_header(good)

    @pytest.mark.parametrize("family", [0x31, 0x32])
    def test_client_on_a_unix_socket_has_none(self, family: int) -> None:
        header = block(PROXY, family, b"/run/client".ljust(108, b"\0") + b"/run/proxy".ljust(108, b"\0"))
        assert parse_proxy_header(header) == ProxyHeader(len(header), False, ("", ""), ("", ""))

    @pytest.mark.parametrize("family", [0x00, 0x01, 0x02, 0x10, 0x20, 0x30])
    def test_unspecified_client(self, family: int) -> None:
        header = block(PROXY, family, b"whatever")
        assert parse_proxy_header(header + b"GET") == ProxyHeader(len(header))

    @pytest.mark.parametrize("family", [0x00, 0x11, 0x21, 0x31, 0xFF])
    @pytest.mark.parametrize("payload", [b"", b"x", FOUR])
    def test_local_connection_is_the_proxys_own_whatever_the_block_says(self, family: int, payload: bytes) -> None:
        header = block(LOCAL, family, payload)
        assert parse_proxy_header(header + b"GET") == ProxyHeader(len(header), local=True)

    @pytest.mark.parametrize("command", [0x00, 0x11, 0x22, 0x2F, 0x31, 0xFF])
    def test_other_versions_and_commands(self, command: int) -> None:
        with pytest.raises(ProxyProtocolError, match="version and command"):
            parse_proxy_header(SIGNATURE + bytes([command]))

    @pytest.mark.parametrize("family", [0x13, 0x1F, 0x41, 0x40, 0xF1, 0xFF])
    def test_other_families_and_transports(self, family: int) -> None:
        with pytest.raises(ProxyProtocolError, match="family and transport"):
            parse_proxy_header(SIGNATURE + bytes([PROXY, family]))

    @pytest.mark.parametrize(("family", "needed"), [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216)])
    def test_block_shorter_than_its_addresses(self, family: int, needed: int) -> None:
        assert parse_proxy_header(block(PROXY, family, bytes(needed))) is not None
        with pytest.raises(ProxyProtocolError, match=f"{needed - 1} bytes where the addresses take {needed}"):
            parse_proxy_header(block(PROXY, family, length=needed - 1))

    def test_length_is_bounded_before_its_bytes_have_come(self) -> None:
        assert parse_proxy_header(block(LOCAL, 0, bytes(LONGEST_BLOCK))) == ProxyHeader(LONGEST, local=True)
        for length in (LONGEST_BLOCK + 1, 65_535):
            with pytest.raises(ProxyProtocolError, match=f"a header of {length + 16} bytes"):
                parse_proxy_header(block(LOCAL, 0, length=length))

    @pytest.mark.parametrize(
        "extensions", [b"\x04", b"\x04\0", b"\x04\0\x01", vector(NOOP, b"abc")[:-1], b"\x04\xff\xff"]
    )
    def test_extension_that_reaches_beyond_the_header(self, extensions: bytes) -> None:
        with pytest.raises(ProxyProtocolError, match="beyond the header"):
            parse_proxy_header(block(PROXY, 0x11, FOUR[16:] + extensions))

    def test_client_came_by_tls(self) -> None:
        def tls(value: bytes) -> bool:
            header = parse_proxy_header(block(PROXY, 0x11, FOUR[16:] + vector(SSL, value)))
            assert header is not None
            return header.tls

        assert tls(b"\x01" + bytes(4) + vector(0x21, b"TLSv1.3"))
        assert tls(b"\x07" + bytes(4))
        assert not tls(b"\x06" + bytes(4))
        assert not tls(b"\x01")

    def test_authority(self) -> None:
        header = parse_proxy_header(block(PROXY, 0x11, FOUR[16:] + vector(AUTHORITY, "bücher.example".encode())))
        assert header is not None
        assert header.authority == "bücher.example"
        for bad in (b"\xff", b"a\r\nb", b"a\0"):
            with pytest.raises(ProxyProtocolError, match="the authority is"):
                parse_proxy_header(block(PROXY, 0x11, FOUR[16:] + vector(AUTHORITY, bad)))


class TestChecksum:
    def test_known_value(self) -> None:
        assert crc32c(b"") == 0
        assert crc32c(b"123456789") == 0xE3069283
        assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4

    @given(pairs, st.data())
    def test_no_bit_of_an_address_changes_unnoticed(self, ends: tuple[Endpoint, Endpoint], data: st.DataObject) -> None:
        header = bytearray(tcp(*ends, vector(NOOP, b"padding"), checksum=True))
        at = data.draw(st.integers(16, 16 + (36 if header[13] == 0x21 else 12) - 1))
        header[at] ^= 1 << data.draw(st.integers(0, 7))
        with pytest.raises(ProxyProtocolError, match="checksum"):
            parse_proxy_header(bytes(header))

    def test_checksum_of_the_wrong_size(self) -> None:
        with pytest.raises(ProxyProtocolError, match="checksum"):
            parse_proxy_header(block(PROXY, 0x11, FOUR[16:] + vector(CRC32C, bytes(3))))


class TestAnythingElse:
    @pytest.mark.parametrize(
        "data",
        [
            b"G",
            b"P ",
            b"PROXZ",
            b"PROXY\r",
            b"p",
            b"\r\n\r\n\r",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\x16",
            b" ",
        ],
    )
    def test_is_refused_at_its_first_wrong_byte(self, data: bytes) -> None:
        assert parse_proxy_header(data[:-1]) is None
        with pytest.raises(ProxyProtocolError, match="is no PROXY protocol header"):
            parse_proxy_header(data)

    def test_only_the_versions_asked_for(self) -> None:
        line = b"PROXY UNKNOWN\r\n"
        assert parse_proxy_header(line, (1,)) == parse_proxy_header(line, (1, 2)) is not None
        assert parse_proxy_header(FOUR, (2,)) == parse_proxy_header(FOUR, (1, 2)) is not None
        for data, versions in ((line, (2,)), (FOUR, (1,))):
            with pytest.raises(ProxyProtocolError):
                parse_proxy_header(data[:1], versions)

    @given(
        st.binary(max_size=150)
        | st.binary(max_size=150).map(lambda tail: b"PROXY " + tail)
        | st.binary(max_size=150).map(lambda tail: SIGNATURE + tail)
        | st.binary(max_size=60).map(lambda tail: FOUR[:14] + struct.pack("!H", len(tail)) + tail),
        st.binary(max_size=20),
    )
    def test_answer_is_final_and_no_other_error_is_raised(self, data: bytes, more: bytes) -> None:
        def outcome(data: bytes) -> ProxyHeader | str | None:
            try:
                return parse_proxy_header(data)
            except ProxyProtocolError:
                return "refused"

        first = outcome(data)
        if first is None:
            assert len(data) < LONGEST
        else:
            assert outcome(data + more) == first
        if isinstance(first, ProxyHeader):
            assert first.size <= len(data)
