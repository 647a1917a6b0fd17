"""Compression: what is worth it, and that what comes out is what went in, in every coding, in every thread."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache import compression
from django_wsgiperf.cache.compression import available, compress, is_compressible, worthwhile

PAGE = b"<p>A page about books, and books, and more books.</p>" * 200
HTML = ("Content-Type", "text/html; charset=utf-8")

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: zlib.decompress(data, 31),
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
}
codings = pytest.mark.parametrize("coding", sorted(DECODERS))


@pytest.fixture
def anew() -> Iterator[None]:
    """Have the packages looked for again, before and after."""
    for function in (compression._compressors, compression.available):
        function.cache_clear()
    yield
    for function in (compression._compressors, compression.available):
        function.cache_clear()


def test_what_makes_pages_smallest_is_preferred() -> None:
    assert available() == ("br", "zstd", "gzip")
    sizes = [len(compress(coding, PAGE + _text())) for coding in available()]
    assert sizes == sorted(sizes)


def _text() -> bytes:
    """Text as pages have it: this file."""
    with open(__file__, "rb") as file:
        return file.read()


@codings
@given(body=st.binary(max_size=2000) | st.text(max_size=2000).map(str.encode))
def test_what_comes_out_is_what_went_in(coding: str, body: bytes) -> None:
    assert DECODERS[coding](compress(coding, body)) == body


@codings
def test_the_same_body_gives_the_same_bytes(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compress(coding, PAGE)
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    assert compress(coding, PAGE) == first


def test_gzip_tells_no_time() -> None:
    """RFC 1952, 2.3.1: MTIME = 0 means that none is given."""
    assert compress("gzip", PAGE)[:3] == b"\x1f\x8b\x08"
    assert compress("gzip", PAGE)[4:8] == bytes(4)


@codings
def test_threads_do_not_disturb_each_other(coding: str) -> None:
    bodies = [os.urandom(50) * (100 + number) for number in range(16)]
    with ThreadPoolExecutor(8) as threads:
        for body, compressed in zip(
            bodies * 8, threads.map(lambda body: compress(coding, body), bodies * 8), strict=True
        ):
            assert DECODERS[coding](compressed) == body


def test_zstd_asks_for_no_larger_window_than_browsers_have() -> None:
    """RFC 9659: 8 MB."""
    frame = compress("zstd", os.urandom(1024) * (20 * 1024))
    assert zstandard.get_frame_parameters(frame).window_size <= 8 * 1024 * 1024


def test_another_coding_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"with br, zstd, gzip here, not with 'deflate'"):
        compress("deflate", PAGE)


@pytest.mark.parametrize(
    ("absent", "left"),
    [
        (("brotli",), ("zstd", "gzip")),
        (("zstandard", "compression.zstd"), ("br", "gzip")),
        (("brotli", "zstandard", "compression.zstd"), ("gzip",)),
    ],
)
@pytest.mark.usefixtures("anew")
def test_without_their_packages_codings_are_not_on_offer(
    absent: tuple[str, ...], left: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    assert available() == left
    with pytest.raises(ValueError, match="not with"):
        compress(({"br", "zstd"} - set(left)).pop(), PAGE)


@pytest.mark.usefixtures("anew")
def test_pythons_own_zstd_goes_before_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python 3.14 has it."""
    own = ModuleType("compression.zstd")
    own.compress = lambda data, *, level: b"own %d " % level + data  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compression", ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", own)
    assert compress("zstd", b"page") == b"own %d page" % compression.ZSTD_LEVEL


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/html", True),
        ("Text/HTML; charset=utf-8", True),
        ("text/css", True),
        ("text/event-stream", False),
        ("application/json", True),
        ("application/problem+json", True),
        ("application/vnd.api+json ; charset=utf-8", True),
        ("application/javascript", True),
        ("image/svg+xml", True),
        ("application/wasm", True),
        ("font/ttf", True),
        ("font/woff2", False),
        ("image/png", False),
        ("image/jpeg", False),
        ("video/mp4", False),
        ("application/zip", False),
        ("application/pdf", False),
        ("application/octet-stream", False),
        ("", False),
        ("text", False),
        ("application/jsonish", False),
    ],
)
def test_types_that_gain_by_compression(content_type: str, expected: bool) -> None:
    assert is_compressible(content_type) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([HTML], True),
        ([("content-type", "text/html")], True),
        ([], False),
        ([("Content-Type", "image/png")], False),
        ([HTML, ("Content-Encoding", "gzip")], False),
        ([HTML, ("content-encoding", "BR")], False),
        ([HTML, ("Content-Encoding", "Identity ")], True),
        ([HTML, ("Content-Encoding", "")], True),
        ([HTML, ("Content-Range", "bytes 0-99/1000")], False),
        ([HTML, ("Cache-Control", "max-age=60, No-Transform")], False),
        ([HTML, ("Cache-Control", "max-age=60"), ("Cache-Control", "no-transform")], False),
        ([HTML, ("Cache-Control", 'max-age=60, x="no-transform"')], True),
        ([HTML, ("Cache-Control", "x-no-transform-hint")], True),
    ],
)
def test_what_may_be_compressed(headers: list[tuple[str, str]], expected: bool) -> None:
    """RFC 9110, 8.4 and 14.4; RFC 9111, 5.2.2.6."""
    assert worthwhile(headers, PAGE, 500) is expected


def test_small_bodies_are_left_alone() -> None:
    assert not worthwhile([HTML], b"x" * 499, 500)
    assert worthwhile([HTML], b"x" * 500, 500)
    assert not worthwhile([HTML], b"", 0)
    assert worthwhile([HTML], b"x", 0)
