"""The PROXY protocol, versions 1 and 2: the first bytes of a connection to what they say of the client.

No sockets. The grammar is that of HAProxy's doc/proxy-protocol.txt; section numbers below are its own. Who may send
such a header, and what follows from it for a request, is in proxy.py.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from .addresses import parse_address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE = 107
"""Bytes of a version 1 header with its CR LF (section 2.1)."""
LONGEST_BLOCK = 16_384
"""Bytes behind the fixed part of a version 2 header: addresses take 216 at most, a certificate some thousands."""
LONGEST = len(SIGNATURE) + 4 + LONGEST_BLOCK

_V1 = b"PROXY "
_FIXED = len(SIGNATURE) + 4
_LOCAL, _PROXY = 0x20, 0x21
_PORT = re.compile(r"(?:0|[1-9][0-9]{0,4})\Z")
_ADDRESS_BYTES = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""Family and transport to the length of the addresses. UDP counts: the client may have come by QUIC."""
_AUTHORITY, _CRC32C, _SSL = 0x02, 0x03, 0x20
_CLIENT_SSL = 0x01

Endpoint = tuple[str, str]
"""An address and a port, both empty for a unix socket."""


class ProxyProtocolError(Exception):
    """The bytes do not begin with a PROXY protocol header: the connection is to be dropped."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says. `size` is its length in bytes; what follows belongs to TLS or HTTP."""

    size: int
    local: bool = False
    """LOCAL: the proxy speaks for itself, as when it checks whether the server lives."""
    source: Endpoint | None = None
    """The client; None when the proxy is it, or could not say."""
    destination: Endpoint | None = None
    """Where the client connected to."""
    tls: bool = False
    """The client came by TLS, which the proxy has taken off (PP2_CLIENT_SSL)."""
    authority: str = ""
    """The host name that the client passed: with TLS, its SNI (PP2_TYPE_AUTHORITY)."""


def parse_proxy_header(data: bytes, versions: tuple[int, ...] = (1, 2)) -> ProxyHeader | None:
    """The header at the start of `data`; None while it is not all there.

    Raises ProxyProtocolError at the first byte that no header of these versions can have in its place, as far as that
    is known before the end (section 2: there is no guessing whether a header came)."""
    if 1 in versions and _V1.startswith(data[: len(_V1)]):
        return _parse_line(data)
    if 2 in versions and SIGNATURE.startswith(data[: len(SIGNATURE)]):
        return _parse_block(data)
    raise ProxyProtocolError(f"{data[:24]!r} is no PROXY protocol header")


def _parse_line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise ProxyProtocolError(f"no line end within {LONGEST_LINE} bytes")
        return None
    size = end + 2
    try:
        protocol, *rest = data[len(_V1) : end].decode("ascii", "surrogateescape").split(" ")
        if protocol == "UNKNOWN":
            return ProxyHeader(size)  # Whatever follows is to be ignored.
        source, destination, source_port, destination_port = rest
        # Canonical text only: these classes take no leading zeros, and no zone is let through.
        kind = {"TCP4": IPv4Address, "TCP6": IPv6Address}[protocol]
        if "%" in source + destination:
            raise ValueError("a zone")
        return ProxyHeader(
            size,
            source=(str(parse_address(str(kind(source)))), _port(source_port)),
            destination=(str(parse_address(str(kind(destination)))), _port(destination_port)),
        )
    except (AddressValueError, KeyError, ValueError):
        raise ProxyProtocolError(f"malformed line {data[:end]!r}") from None


def _port(text: str) -> str:
    if not _PORT.match(text) or int(text) > 65_535:
        raise ValueError(text)
    return text


def _parse_block(data: bytes) -> ProxyHeader | None:
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"version and command are {data[12]:#04x}")
    if len(data) > 13 and data[12] == _PROXY and (data[13] >> 4 > 3 or data[13] & 15 > 2):
        raise ProxyProtocolError(f"family and transport are {data[13]:#04x}")
    if len(data) < _FIXED:
        return None
    size = _FIXED + int.from_bytes(data[14:16], "big")
    if size > LONGEST:
        raise ProxyProtocolError(f"a header of {size} bytes, more than {LONGEST}")
    address_bytes = _ADDRESS_BYTES.get(data[13], 0)
    if data[12] == _PROXY and size < _FIXED + address_bytes:
        raise ProxyProtocolError(f"{size - _FIXED} bytes where the addresses take {address_bytes}")
    if len(data) < size:
        return None
    if data[12] == _LOCAL:
        return ProxyHeader(size, local=True)  # With whatever block, which is to be discarded.
    if not address_bytes:
        return ProxyHeader(size)  # Unspecified.
    block = data[_FIXED : _FIXED + address_bytes]
    tls, authority = _read_extensions(data[:size], _FIXED + address_bytes)
    return ProxyHeader(size, False, *_endpoints(data[13] >> 4, block), tls, authority)


def _endpoints(family: int, block: bytes) -> tuple[Endpoint, Endpoint]:
    if family == 3:
        return ("", ""), ("", "")
    width = 4 if family == 1 else 16
    kind = IPv4Address if family == 1 else IPv6Address
    source, destination = (str(parse_address(str(kind(part)))) for part in (block[:width], block[width : 2 * width]))
    ports = block[2 * width :]
    return (
        (source, str(int.from_bytes(ports[:2], "big"))),
        (destination, str(int.from_bytes(ports[2:], "big"))),
    )


def _read_extensions(header: bytes, at: int) -> tuple[bool, str]:
    """Whether the client came by TLS, and its authority, from the vectors behind the addresses (section 2.2)."""
    tls, authority = False, ""
    while at < len(header):
        value_at = at + 3
        end = value_at + int.from_bytes(header[at + 1 : value_at], "big")
        if end > len(header) or value_at > len(header):
            raise ProxyProtocolError("an extension reaches beyond the header")
        kind, value = header[at], header[value_at:end]
        if kind == _CRC32C:
            if len(value) != 4 or crc32c(header[:value_at] + bytes(4) + header[end:]) != int.from_bytes(value, "big"):
                raise ProxyProtocolError("the checksum is wrong")
        elif kind == _SSL:
            tls = len(value) >= 5 and bool(value[0] & _CLIENT_SSL)
        elif kind == _AUTHORITY:
            authority = value.decode(errors="replace")
            if not authority.isprintable() or "\ufffd" in authority:
                raise ProxyProtocolError(f"the authority is {value[:100]!r}")
        at = end
    return tls, authority


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum of RFC 9260 (once RFC 4960), appendix A."""
    table = _crc_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
