"""Who is meant by a list of addresses in the settings: TRUSTED_PROXIES and STATS_ALLOW.

Addresses come in as text, from sockets and from what proxies say; no sockets here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

UNIX = "unix"
"""Stands for whoever connects through a unix socket, in the settings and wherever an address is expected."""

_KNOWN_MAX = 4096


def parse_address(text: str) -> IPAddress:
    """The address in `text`, without its zone; an IPv4 client of an IPv6 socket is an IPv4 address. Raises ValueError.

    So each client has one spelling, however it came here."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def server_name(address: str) -> str:
    """A listening address as SERVER_NAME, which becomes a part of URLs: IPv6 in brackets (RFC 3875 section 4.1.14)."""
    return f"[{address.partition('%')[0]}]" if ":" in address else address


class AddressList:
    """Networks, and perhaps "unix". `text in addresses` is one dictionary lookup for those asked before."""

    __slots__ = ("_known", "_networks", "_unix")

    def __init__(self, texts: Iterable[str]) -> None:
        texts = tuple(texts)
        self._networks = tuple(ipaddress.ip_network(text) for text in texts if text != UNIX)
        self._unix = UNIX in texts
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def __contains__(self, text: str) -> bool:
        """What is no address is in no list; nor is the empty text, which stands for nobody known."""
        known = self._known.get(text)
        if known is None:
            known = self._look_up(text)
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()  # Clients come in any number: start again rather than be full of them.
            self._known[text] = known
        return known

    def _look_up(self, text: str) -> bool:
        if text == UNIX:
            return self._unix
        try:
            address = parse_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
