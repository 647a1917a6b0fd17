"""What a file of addresses says: a sitemap, an index of sitemaps (sitemaps.org), gzipped or not, or plain lines.

Bytes in, addresses as texts out. Nothing is fetched here. What strangers may have written cannot do harm: sizes are
bounded before anything is unpacked, and a document type, which alone can declare entities, is refused.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

MAX_BYTES: Final = 50 * 1024 * 1024
"""Of one sitemap, unpacked (sitemaps.org)."""
MAX_PAGES: Final = 50_000
"""In one sitemap, and sitemaps in one index (sitemaps.org)."""
_MAX_DEPTH: Final = 32
_GZIP: Final = b"\x1f\x8b"
_ITEMS: Final = {"urlset": "url", "sitemapindex": "sitemap"}


class SitemapError(ValueError):
    """It cannot be read as addresses; the text says why."""


@dataclass(slots=True)
class Listing:
    """The addresses of pages, and of further sitemaps, as they were written."""

    pages: list[str] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)
    is_cut: bool = False
    """There were more than MAX_PAGES."""


def read(data: bytes) -> Listing:
    """What the file lists. Raises SitemapError."""
    if data.startswith(_GZIP):
        data = _unpack(data)
    if len(data) > MAX_BYTES:
        raise SitemapError(f"it is larger than {MAX_BYTES // 1024 // 1024} MiB, the most a sitemap may have")
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    # UTF-16 begins with a mark, and is XML here: lists are UTF-8.
    if start.startswith(b"<") or data[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return _read_xml(data.lstrip(b" \t\r\n"))
    return _read_lines(data)


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(31)
    try:
        unpacked = unpacker.decompress(data, MAX_BYTES + 1)
        complete = unpacker.eof or len(unpacked) > MAX_BYTES
    except zlib.error as error:
        raise SitemapError(f"it begins like gzip, but is damaged: {error}") from None
    if not complete:
        raise SitemapError("it is gzipped, and its end is missing")
    return unpacked


def _read_lines(data: bytes) -> Listing:
    """One address a line; empty lines and those that begin with `#` are left out."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SitemapError(f"it is neither a sitemap nor lines of text in UTF-8: {error.reason}") from None
    stripped = (line.strip() for line in lines)
    return Listing(pages=[line for line in stripped if line and not line.startswith("#")])


class _Reader:
    """Follows the elements of a sitemap and keeps what stands in `loc`, two below the root."""

    def __init__(self) -> None:
        self.listing = Listing()
        self.path: list[str] = []
        self.text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if not self.path and name not in _ITEMS:
            raise SitemapError(f"its root is <{name}>, and that of a sitemap is <urlset> or <sitemapindex>")
        if len(self.path) >= _MAX_DEPTH:
            raise SitemapError(f"its elements are nested more than {_MAX_DEPTH} deep")
        self.path.append(name)
        self.text.clear()

    def characters(self, text: str) -> None:
        if self._is_at_address():
            self.text.append(text)

    def end(self, name: str) -> None:
        address = "".join(self.text).strip() if self._is_at_address() else ""
        if address:
            found = self.listing.pages if self.path[0] == "urlset" else self.listing.sitemaps
            if len(found) < MAX_PAGES:
                found.append(address)
            else:
                self.listing.is_cut = True
        self.text.clear()
        self.path.pop()

    def _is_at_address(self) -> bool:
        return len(self.path) == 3 and self.path[2] == "loc" and self.path[1] == _ITEMS[self.path[0]]


def _read_xml(data: bytes) -> Listing:
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise SitemapError(f"it is no well-formed XML: {error}") from None
    except (LookupError, ValueError) as error:
        if isinstance(error, SitemapError):
            raise
        raise SitemapError(f"it is in an encoding that cannot be read: {error}") from None
    return reader.listing


def _refuse_document_type(*_: object) -> None:
    """No sitemap needs one, and only with one can entities be declared: bombs, and files of this machine."""
    raise SitemapError("it has a document type (<!DOCTYPE), which a sitemap does not need: it is not read")
