"""How long a question to a server may stay unacknowledged: a firewall that forgets a connection drops what it carries.

Without a limit the kernel repeats the question for a quarter of an hour, and the thread that asks waits as long.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

_PATIENCE_MS = 2000


@contextlib.contextmanager
def acknowledged_soon(fileno: int) -> Iterator[None]:
    """Have the kernel give a TCP connection up when its peer acknowledges nothing within two seconds of the block.

    A shorter limit of the connection's own is left alone, and so is what is no TCP, or has no such limit (Linux does).
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", 0)
    # A number of our own: the driver closes its one when it finds the connection dead.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, os.dup(fileno)) as connection:
        usual = None
        # The limit of a socket that has none is 0.
        with contextlib.suppress(OSError):
            usual = connection.getsockopt(socket.IPPROTO_TCP, option) if option else None
            if usual is not None and not 0 < usual <= _PATIENCE_MS:
                connection.setsockopt(socket.IPPROTO_TCP, option, _PATIENCE_MS)
        try:
            yield
        finally:
            if usual is not None:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.IPPROTO_TCP, option, usual)
