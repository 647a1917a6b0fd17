"""Which responses are worth compressing, and how: gzip always, brotli and zstd where their packages are installed.

Bytes and header fields in, bytes out. Which coding a client gets is for normalise.choose_coding and the engine, which
asks once for each entry and coding. Nothing here is shared between threads but the functions found at the first use.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from .headers.lists import split_list
from .messages import Headers

Compressor = Callable[[bytes], bytes]

#: Levels: the last ones before each further percent gets dear. `python -m tests.benchmarks.cache.codings` measures.
GZIP_LEVEL: Final = 6
BROTLI_QUALITY: Final = 6
ZSTD_LEVEL: Final = 6

_GZIP_WINDOW: Final = 31
"""Asks zlib for a gzip header, whose time it leaves at 0: the same page gives the same bytes."""

_COMPRESSIBLE: Final = frozenset(
    {
        "application/javascript",
        "application/json",
        "application/rtf",
        "application/sql",
        "application/toml",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-javascript",
        "application/x-ndjson",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/vnd.microsoft.icon",
        "image/x-icon",
    }
)
_COMPRESSIBLE_SUFFIXES: Final = ("+json", "+xml", "+yaml", "+text")
_NEVER: Final = frozenset({"text/event-stream"})
"""Text that is read as it comes."""


@lru_cache(256)
def is_compressible(content_type: str) -> bool:
    """Whether bodies of a Content-Type usually get smaller: text, data and fonts that are not compressed already."""
    media_type = content_type.partition(";")[0].strip(" \t").lower()
    if media_type.startswith("text/"):
        return media_type not in _NEVER
    return media_type in _COMPRESSIBLE or media_type.endswith(_COMPRESSIBLE_SUFFIXES)


def worthwhile(headers: Headers, body: bytes, min_bytes: int) -> bool:
    """Whether the response may be compressed, and would gain by it.

    Not below `min_bytes`, where the client waits for one packet either way; not what is encoded already, nor what is
    a part of something; not against the application's word, `no-transform` (RFC 9111, 5.2.2.6)."""
    if len(body) < max(1, min_bytes):
        return False
    content_type = ""
    for name, value in headers:
        name = name.lower()
        if name == "content-type":
            content_type = value
        elif name == "content-encoding":
            # `identity` should not be sent (RFC 9110, 12.5.3), but says what we need to know.
            if value.strip(" \t").lower() not in ("", "identity"):
                return False
        elif name == "cache-control":
            # Most values do not have the word anywhere, which is found out much sooner.
            value = value.lower()
            if "no-transform" in value and "no-transform" in split_list(value):
                return False
        elif name == "content-range":
            return False
    return is_compressible(content_type)


@lru_cache(1)
def available() -> tuple[str, ...]:
    """The codings that compress() knows here, the one that makes pages smallest first: of `br`, `zstd` and `gzip`."""
    return tuple(_compressors())


def compress(coding: str, body: bytes) -> bytes:
    """The body in a coding of available(); the same body gives the same bytes each time. Any thread may call this.

    Raises ValueError for another coding. The result can be larger than the body, where that is short or random."""
    compressor = _compressors().get(coding)
    if compressor is None:
        raise ValueError(f"bodies can be compressed with {', '.join(available())} here, not with {coding!r}")
    return compressor(body)


@lru_cache(1)
def _compressors() -> dict[str, Compressor]:
    """Coding -> what makes it, in order of preference. Two threads that come first find the same."""
    found = {"br": _brotli(), "zstd": _zstd(), "gzip": _gzip}
    return {coding: compressor for coding, compressor in found.items() if compressor is not None}


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, GZIP_LEVEL, _GZIP_WINDOW)


def _module(name: str) -> Any:
    """The module, or None where it is not installed, or its library cannot be loaded."""
    try:
        return import_module(name)
    except ImportError:
        return None


def _brotli() -> Compressor | None:
    module = _module("brotli")
    if module is None:
        return None

    def brotli(body: bytes) -> bytes:
        compressed: bytes = module.compress(body, quality=BROTLI_QUALITY)
        return compressed

    return brotli


def _zstd() -> Compressor | None:
    """Python's own (3.14 and later), else the package `zstandard`.

    At our level the window is at most 2 MiB; browsers need not read more than 8 (RFC 9659)."""
    own = _module("compression.zstd")
    if own is not None:

        def zstd(body: bytes) -> bytes:
            compressed: bytes = own.compress(body, level=ZSTD_LEVEL)
            return compressed

        return zstd
    package = _module("zstandard")
    if package is None:
        return None

    def zstandard(body: bytes) -> bytes:
        # A compressor is not for two threads at once, and takes microseconds to make.
        compressed: bytes = package.ZstdCompressor(level=ZSTD_LEVEL).compress(body)
        return compressed

    return zstandard
