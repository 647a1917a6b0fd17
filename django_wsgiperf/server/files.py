"""`wsgi.file_wrapper`, and which of the files given to it the kernel may send by itself.

Knows nothing of connections; gateway.py decides what is sent how.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

_PLAIN_FILES = (io.FileIO, io.BufferedReader, io.BufferedRandom)
_WRAPPERS_MAX = 4
"""Django's UploadedFile around its File around tempfile's wrapper around the file, for example."""


class FileWrapper:
    """`wsgi.file_wrapper`: a regular file is sent by the kernel, anything else is read in blocks (PEP 3333)."""

    def __init__(self, filelike: Any, block_size: int = 65_536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        close = getattr(filelike, "close", None)
        if close is not None:
            self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.block_size), b"")


def plain_file(filelike: Any) -> io.FileIO | io.BufferedReader | io.BufferedRandom | None:
    """The binary file that `filelike` is, or whose read() it passes on; None for what makes other bytes of a file's.

    gzip.open() and the like have a fileno(), too: of the file that they read from."""
    for _ in range(_WRAPPERS_MAX):
        if type(filelike) in _PLAIN_FILES and type(getattr(filelike, "raw", filelike)) is io.FileIO:
            return filelike  # type: ignore[no-any-return]
        inner = getattr(filelike, "file", None)
        read, inner_read = getattr(filelike, "read", None), getattr(inner, "read", None)
        if inner_read is None or inner_read not in (read, getattr(read, "__wrapped__", None)):
            return None
        filelike = inner
    return None
