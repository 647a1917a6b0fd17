"""Messages on the control channel: a length of four bytes, then that many bytes of JSON. And who is at the other end.

Both sides are bounded in bytes; time is bounded by whoever reads. No topics here.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any, Final

REQUEST_MAX: Final = 64 * 1024
REPLY_MAX: Final = 8 * 1024 * 1024

_LENGTH = struct.Struct("!I")
_UCRED = struct.Struct("3i")
_XUCRED = struct.Struct("=II")
"""The beginning of macOS's and the BSDs' struct xucred: version and user."""
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1


class WireError(Exception):
    """What came is no message."""


def encode(message: dict[str, Any], limit: int) -> bytes:
    """The bytes of a message. Raises WireError when it is no JSON or larger than `limit`."""
    try:
        body = json.dumps(message, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"not a JSON object: {error}") from error
    if len(body) > limit:
        raise WireError(f"{len(body)} bytes are more than the {limit} that a message may have")
    return _LENGTH.pack(len(body)) + body


class Reader:
    """Puts one message together from what comes piece by piece."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> dict[str, Any] | None:
        """The message once it is whole, None before. Raises WireError."""
        self._buffer += data
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._limit:
            raise WireError(f"{length} bytes are more than the {self._limit} that a message may have")
        if len(self._buffer) < _LENGTH.size + length:
            return None
        try:
            message = json.loads(self._buffer[_LENGTH.size : _LENGTH.size + length])
        except (ValueError, RecursionError) as error:
            raise WireError("not JSON") from error
        if not isinstance(message, dict):
            raise WireError("not a JSON object")
        return message


def peer_user(sock: socket.socket) -> int | None:
    """The user at the other end of a Unix socket; None where the system does not tell."""
    if hasattr(socket, "SO_PEERCRED"):
        return int(_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1])
    if sys.platform == "darwin" or "bsd" in sys.platform:
        try:
            return int(_XUCRED.unpack_from(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 128))[1])
        except (OSError, struct.error):
            return None
    return None
