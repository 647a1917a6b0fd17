"""Reads a PROXY protocol header from a connection's socket, and not one byte more.

What follows may be a TLS handshake, which begins on the socket itself. The grammar is in proxy_protocol.py, the
consequences are in proxy.py. Leader only.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from .proxy_protocol import LONGEST, ProxyProtocolError, parse_proxy_header

if TYPE_CHECKING:
    from .connection import Connection
    from .proxy import ProxyTrust


def take_preamble(connection: Connection, trust: ProxyTrust) -> bool:
    """Whether the header is there now; until then its beginning is kept in the connection's inbox.

    Never blocks. Raises OSError, ConnectionAbortedError when the peer has closed or sends something else."""
    sock = connection.sock
    while True:
        try:
            data = sock.recv(LONGEST, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionAbortedError("closed before its PROXY header was complete")
        held = connection.inbox
        try:
            header = parse_proxy_header(held + data, trust.versions)
        except ProxyProtocolError as error:
            trust.complain(
                "%s is to begin its connections with a PROXY protocol header, but: %s. Have it send one, or turn "
                "PROXY_PROTOCOL off.",
                connection.peer or "The proxy on the unix socket",
                error,
            )
            raise ConnectionAbortedError("no PROXY header") from error
        # What was looked at is there to be taken. All of it is the header's while that is not complete; and to leave
        # it there would have a level-triggered poller report it again and again.
        connection.inbox = held + sock.recv(len(data) if header is None else header.size - len(held))
        if header is not None:
            connection.inbox = b""
            connection.preamble = False
            trust.take_header(connection, header)
            return True
