"""What each level of each content coding costs and gains: `python -m tests.benchmarks.cache.codings`.

On files that every machine has: Django's own pages, style sheets and scripts. The levels in
django_wsgiperf/cache/compression.py were chosen by this.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import django
import zstandard

from django_wsgiperf.cache import compression
from tests.benchmarks.common.tables import number, text_table

ROOT = Path(django.__file__).parent
FILES = (
    "contrib/admin/static/admin/css/widgets.css",
    "views/templates/technical_500.html",
    "contrib/admin/static/admin/js/vendor/jquery/jquery.js",
)
MEASURE_S = 0.1


def gzip(level: int) -> Callable[[bytes], bytes]:
    return lambda body: zlib.compress(body, level, 31)


def br(level: int) -> Callable[[bytes], bytes]:
    return lambda body: brotli.compress(body, quality=level)


def zstd(level: int) -> Callable[[bytes], bytes]:
    return lambda body: zstandard.ZstdCompressor(level=level).compress(body)


CODINGS = {
    "gzip": (gzip, (1, 4, 6, 9), compression.GZIP_LEVEL),
    "br": (br, (3, 4, 5, 6, 7, 9, 11), compression.BROTLI_QUALITY),
    "zstd": (zstd, (3, 6, 9, 12, 15, 19), compression.ZSTD_LEVEL),
}


def measure(compress: Callable[[bytes], bytes], body: bytes) -> tuple[float, int]:
    """The least time of some calls, in ms, and the size that comes out."""
    best_s, until_s = float("inf"), time.perf_counter() + MEASURE_S
    while time.perf_counter() < until_s:
        began_s = time.perf_counter()
        compressed = compress(body)
        best_s = min(best_s, time.perf_counter() - began_s)
    return best_s * 1000, len(compressed)


def main() -> None:
    bodies = [(ROOT / file).read_bytes() for file in FILES]
    rows = []
    for name, (make, levels, chosen) in CODINGS.items():
        for level in levels:
            measured = [measure(make(level), body) for body in bodies]
            cells = [
                f"{number(ms)} ms {100 * size / len(body):.1f} %"
                for (ms, size), body in zip(measured, bodies, strict=True)
            ]
            rows.append([f"{name} {level}{' *' if level == chosen else ''}", *cells])
    head = [f"{Path(file).name}, {len(body):,} B" for file, body in zip(FILES, bodies, strict=True)]
    print(text_table(["coding", *head], rows))
    print("* is what the cache uses")


if __name__ == "__main__":
    main()
