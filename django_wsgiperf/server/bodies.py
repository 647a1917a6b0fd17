"""Request bodies: framed bytes in, a file for `wsgi.input` out.

No sockets. A body is whole before the application sees it; small ones stay in memory, larger ones are spooled to a
temporary file without a name. Chunked bodies are decoded strictly; their trailers are checked and dropped.
All work is proportional to the bytes fed, however they are cut into pieces, and nothing unbounded is kept.
"""

from __future__ import annotations

import contextlib
import re
import sys
from io import SEEK_END, BytesIO
from tempfile import TemporaryFile
from typing import IO

from .http1 import CHUNKED, HTTPError

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
# RFC 9112 section 7.1, each with its line end. Possessive throughout: no byte is looked at twice.
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15}+)"
    rb"((?:[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+)*+)\r\n"
)
_TRAILER_LINE = re.compile(rb"(?:" + _TOKEN + rb":[\t -~\x80-\xff]*+)?+\r\n")

_LINE_MAX = 8192
_TRAILERS_MAX = 8192
_EXTENSION_ALLOWANCE = 16_384
"""Bytes of chunk extensions that a body may have beyond the number of its own bytes."""


class Body:
    """A body of known length (or CHUNKED), filled by feed() until it is `complete`.

    `max_bytes` bounds the decoded size: HTTPError 413 as soon as more is announced. Above `memory_bytes` the content
    moves to a file. `received` counts decoded bytes. After an HTTPError the body is of no use: close it."""

    __slots__ = ("_decoder", "_expected", "_file", "_memory", "_memory_bytes", "complete", "received")

    def __init__(self, length: int, max_bytes: int, memory_bytes: int) -> None:
        if length > max_bytes:
            raise _too_long(max_bytes)
        self._expected = length
        self._memory_bytes = memory_bytes
        self._decoder = ChunkedDecoder(max_bytes) if length == CHUNKED else None
        self._memory: BytesIO | None = None
        self._file: IO[bytes] | None = None
        self.received = 0
        self.complete = length == 0

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body and give back the rest, which begins the next request.

        Raises HTTPError 400 for broken chunks, 413 past the bound, 503 when the file cannot be written."""
        if self.complete:
            return data
        if self._decoder is not None:
            pieces, rest = self._decoder.feed(data)
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            complete = self._decoder.complete
        else:
            missing = self._expected - self.received
            if len(data) > missing:
                data, rest = data[:missing], data[missing:]
            else:
                rest = b""
            complete = len(data) == missing
        self.received += len(data)
        if self.received > self._memory_bytes:
            self._spool(data, complete)
        elif data:
            if self._memory is None:
                self._memory = BytesIO(data)  # shares these bytes until there are more
                self._memory.seek(0, SEEK_END)
            else:
                self._memory.write(data)
        self.complete = complete
        return rest

    def _spool(self, data: bytes, complete: bool) -> None:
        """Append to the file, which begins with what was in memory. A complete body is sure to be stored."""
        try:
            if self._file is None:
                self._file = TemporaryFile()  # noqa: SIM115 - closed by close()
                if self._memory is not None:
                    self._file.write(self._memory.getbuffer())
                    self._memory = None
            self._file.write(data)
            if complete:
                self._file.flush()
        except OSError as error:
            self.close()
            raise HTTPError(503, "there is no room to store the request body") from error

    @property
    def is_plain(self) -> bool:
        """Its bytes are taken as they come, with no work for each."""
        return self._decoder is None

    def open(self) -> IO[bytes]:
        """The whole body as a file at its beginning. It is closed by close(), not by the application (PEP 3333)."""
        file = self._file or self._memory or BytesIO()
        file.seek(0)
        return file

    def close(self) -> None:
        """Free the memory or the file, once; closing again is no error."""
        file, self._file, self._memory = self._file, None, None
        if file is not None:
            # Closing writes what is buffered, and the disk that was full is full still.
            with contextlib.suppress(OSError):
                file.close()


class ChunkedDecoder:
    """The chunked transfer coding (RFC 9112 section 7.1), read strictly: CR LF only, everything bounded.

    `max_bytes` bounds the sum of the chunk sizes: HTTPError 413 as soon as more is announced."""

    __slots__ = (
        "_announced",
        "_extensions",
        "_gap",
        "_last",
        "_line",
        "_max_bytes",
        "_missing",
        "_trailers",
        "complete",
    )

    def __init__(self, max_bytes: int = sys.maxsize) -> None:
        self._max_bytes = max_bytes
        self._announced = 0  # bytes: the sum of the chunk sizes so far
        self._missing = 0  # bytes of the current chunk that are still to come
        self._gap = b""  # what is still to come of the CR LF after the current chunk
        self._line = bytearray()  # the beginning of a line whose end has not come
        self._last = False  # the last chunk has come, and lines are trailers
        self._extensions = 0  # bytes
        self._trailers = 0  # bytes
        self.complete = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Decoded pieces, and what follows the end of the body. Raises HTTPError 400 or 413."""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.complete:
            if self._missing:
                piece = data[at : at + self._missing]
                pieces.append(piece)
                at += len(piece)
                self._missing -= len(piece)
            elif self._gap:
                if data.startswith(self._gap, at):
                    at += len(self._gap)
                    self._gap = b""
                elif self._gap == b"\r\n" and data[at:] == b"\r":
                    at += 1
                    self._gap = b"\n"
                else:
                    raise HTTPError(400, "a chunk is longer than its size says")
            else:
                at = self._read_line(data, at)
        return pieces, data[at:]

    def _read_line(self, data: bytes, at: int) -> int:
        """Take a size line or a trailer, or what there is of it, from data[at:]; give where it ends."""
        pattern = _TRAILER_LINE if self._last else _SIZE_LINE
        match = None if self._line else pattern.match(data, at, at + _LINE_MAX)
        if match is not None:
            at = match.end()
        else:
            room = _LINE_MAX - len(self._line)
            line_end = data.find(b"\n", at, at + room) + 1
            if not line_end and len(data) - at < room:
                self._line += data[at:]
                return len(data)
            self._line += data[at:line_end]
            at = line_end
            match = pattern.fullmatch(self._line)
            if match is None:
                raise HTTPError(400, "malformed trailer" if self._last else "malformed chunk size")
            self._line = bytearray()
        if self._last:
            self._end_trailer(match)
        else:
            self._begin_chunk(match)
        return at

    def _begin_chunk(self, match: re.Match[bytes]) -> None:
        self._missing = int(match[1], 16)
        self._announced += self._missing
        self._extensions += len(match[2])
        if self._announced > self._max_bytes:
            raise _too_long(self._max_bytes)
        if self._extensions > self._announced + _EXTENSION_ALLOWANCE:
            raise HTTPError(400, "more chunk extensions than body")
        if self._missing:
            self._gap = b"\r\n"
        else:
            self._last = True

    def _end_trailer(self, match: re.Match[bytes]) -> None:
        # None is kept: a field that comes after the head was judged must not change it (RFC 9110 section 6.5.1).
        size = len(match[0])
        self._trailers += size
        self.complete = size == 2
        if self._trailers > _TRAILERS_MAX:
            raise HTTPError(400, f"the trailers are longer than {_TRAILERS_MAX} bytes")


def _too_long(max_bytes: int) -> HTTPError:
    return HTTPError(413, f"the request body is longer than {max_bytes} bytes")
