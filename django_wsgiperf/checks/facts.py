"""What several checks want to know: the databases, who a network is, who can reach an address.

Reads settings only; no connection is opened.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connections

#: What a check says: the message and the hint.
Finding = tuple[str, str]
SQLITE = ("sqlite3", "spatialite")


def databases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each database's alias and settings, defaults filled in."""
    yield from connections.settings.items()


def everyone(networks: Iterable[str]) -> Iterator[str]:
    """Those of the networks that are the whole internet."""
    for network in networks:
        if network != "unix" and ipaddress.ip_network(network).prefixlen == 0:
            yield network


def is_local(address: str) -> bool:
    """Whether only this machine can connect to a listening address. An open file number may be anything."""
    if address.startswith(("unix:", "fd:")):
        return address.startswith("unix:")
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
