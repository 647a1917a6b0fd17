"""Bytes that say which version wrote them, and notice when they are damaged. What is in them, payload.py knows.

The first byte is the version, the rest is compressed, with a checksum.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, Final

VERSION: Final = 1
"""Of what is written. Raise it when processes of this version would read what is written then as something else."""
OLDEST: Final = 1
"""Versions from this one on are read."""
_MAX_BYTES: Final = 64 << 20
"""Of anything unpacked: what claims to be more is damaged."""
NOT_READ: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    struct.error,
    zlib.error,
    RecursionError,
)
"""What reading damaged bytes may raise."""


class Unreadable(ValueError):
    """Bytes that are damaged, or of a newer version."""


class Newer(Unreadable):
    """Bytes that a newer version wrote, and will read."""


def pack(data: bytes) -> bytes:
    """Compressed, with the version in front."""
    return bytes((VERSION,)) + zlib.compress(data, 6)


def unpack(data: bytes | memoryview) -> bytes:
    """What was packed. Raises Unreadable."""
    data = bytes(data)
    if not data:
        raise Unreadable("nothing is there")
    if data[0] > VERSION:
        raise Newer(f"version {data[0]}, this is {VERSION}")
    if data[0] < OLDEST:
        raise Unreadable(f"there is no version {data[0]}")
    inflater = zlib.decompressobj()
    try:
        unpacked = inflater.decompress(data[1:], _MAX_BYTES)
    except zlib.error as error:
        raise Unreadable(str(error)) from None
    if not inflater.eof:
        raise Unreadable("the end is missing")
    return unpacked


def pack_json(value: Any) -> bytes:
    return pack(to_json(value))


def unpack_json(data: bytes | memoryview) -> Any:
    """Raises Unreadable."""
    text = unpack(data)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from None


def to_json(value: Any) -> bytes:
    """Without a space; also of text that is no Unicode."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
