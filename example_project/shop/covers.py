"""Draws a book's cover as SVG from its title and author: the same book always looks the same.

Pure functions from text to markup. No styles, scripts or identifiers are in it, so any number of covers can stand
in one page under a strict Content-Security-Policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from random import Random
from typing import NamedTuple

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

WIDTH, HEIGHT = 200, 300
# The mean width of a capital or small letter of a bold serif, in parts of its size: of a wide one, as Linux has it.
LETTER = 0.64


class Palette(NamedTuple):
    paper: str
    ink: str
    first: str
    second: str
    third: str


PALETTES = (
    Palette("#f3e9d8", "#2b2118", "#c8553d", "#e3a857", "#588b8b"),
    Palette("#16324f", "#f7efe0", "#e0a458", "#2a628f", "#c3423f"),
    Palette("#e9ece5", "#1f3a2d", "#3f7d58", "#a3c4a0", "#e2c044"),
    Palette("#3d1f35", "#f8e7e1", "#d1495b", "#8d3b72", "#edae49"),
    Palette("#f6d8c6", "#3a1d2b", "#a63a50", "#e88873", "#5d737e"),
    Palette("#1d2b2a", "#e8efe2", "#6a994e", "#386641", "#f2c14e"),
    Palette("#dfe7ee", "#1b2a41", "#3d6b9b", "#9db8d2", "#d9704a"),
    Palette("#f2c14e", "#2d2a32", "#d1603d", "#f6e3b4", "#3b6064"),
    Palette("#8c2f39", "#fbeee0", "#c9655b", "#5b1a22", "#e8b04a"),
    Palette("#ece4f0", "#2e1f47", "#6b4f9b", "#b8a1d9", "#e07a5f"),
    Palette("#0f4c4a", "#f2ede1", "#2a9d8f", "#e9c46a", "#17706b"),
    Palette("#f7f2ea", "#26211c", "#26211c", "#b7a88f", "#c1502e"),
)


def _sun(random: Random, p: Palette) -> Iterator[str]:
    x, y, radius = random.randint(40, 160), random.randint(150, 190), random.randint(42, 68)
    yield f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{p.second}"/>'
    for fill, top in ((p.first, 205), (p.third, 235), (p.ink, 268)):
        left, mid, right = (top + random.randint(-22, 18) for _ in range(3))
        yield f'<path d="M0 {left}Q50 {mid} 100 {top}T200 {right}V300H0Z" fill="{fill}"/>'


def _stripes(random: Random, p: Palette) -> Iterator[str]:
    step = random.choice((14, 18, 24))
    slope = random.choice((-90, -60, 60, 90))
    colours = (p.first, p.second, p.third)
    for index, x in enumerate(range(-120, 320, step)):
        fill = colours[index % 3]
        yield f'<path d="M{x} 300L{x + slope} 140h{step // 2}L{x + step // 2} 300Z" fill="{fill}"/>'


def _arcs(random: Random, p: Palette) -> Iterator[str]:
    x = random.choice((0, 100, 200))
    colours = (p.first, p.second, p.third, p.ink)
    first = random.randrange(4)
    for index, radius in enumerate(range(150, 15, -22)):
        yield f'<circle cx="{x}" cy="300" r="{radius}" fill="{colours[(first + index) % 4]}"/>'


def _tiles(random: Random, p: Palette) -> Iterator[str]:
    colours = (p.first, p.second, p.third)
    for y in range(140, 300, 40):
        for x in range(0, 200, 40):
            fill = random.choice(colours)
            turn = random.randrange(5)
            if turn < 4:
                corner_x, corner_y = x + 40 * (turn % 2), y + 40 * (turn // 2)
                far_x, far_y = 2 * x + 40 - corner_x, 2 * y + 40 - corner_y
                sweep = 1 if turn in (0, 3) else 0
                yield (
                    f'<path d="M{corner_x} {corner_y}L{far_x} {corner_y}'
                    f'A40 40 0 0 {sweep} {corner_x} {far_y}Z" fill="{fill}"/>'
                )
            else:
                yield f'<circle cx="{x + 20}" cy="{y + 20}" r="13" fill="{fill}"/>'


def _moon(random: Random, p: Palette) -> Iterator[str]:
    x, y = random.randint(60, 140), random.randint(195, 230)
    shift = random.choice((-26, 26))
    for _ in range(26):
        star_x, star_y = random.randint(6, 194), random.randint(145, 290)
        yield f'<circle cx="{star_x}" cy="{star_y}" r="{random.choice((1, 1.5, 2))}" fill="{p.second}"/>'
    yield f'<circle cx="{x}" cy="{y}" r="56" fill="{p.third}"/>'
    yield f'<circle cx="{x + shift}" cy="{y - 10}" r="48" fill="{p.paper}"/>'


def _leaves(random: Random, p: Palette) -> Iterator[str]:
    x = random.randint(80, 120)
    yield f'<path d="M{x} 300V150" stroke="{p.ink}" stroke-width="3"/>'
    for index, y in enumerate(range(285, 150, -24)):
        reach = random.randint(46, 72)
        fill = (p.first, p.second, p.third)[random.randrange(3)]
        side = reach if index % 2 else -reach
        middle, tip = x + side // 2, x + side
        yield (f'<path d="M{x} {y}Q{middle} {y - 46} {tip} {y - 34}Q{middle} {y + 6} {x} {y}Z" fill="{fill}"/>')


def _houses(random: Random, p: Palette) -> Iterator[str]:
    x = 0
    while x < 200:
        width, height = random.choice((28, 36, 44)), random.randint(60, 135)
        top = 300 - height
        fill = random.choice((p.first, p.second, p.third))
        yield f'<path d="M{x} 300V{top}l{width // 2} -18l{width // 2} 18V300Z" fill="{fill}"/>'
        for y in range(top + 12, 286, 24):
            yield f'<path d="M{x + width // 2 - 5} {y}h10v11h-10Z" fill="{p.paper}" opacity=".75"/>'
        x += width


def _waves(random: Random, p: Palette) -> Iterator[str]:
    colours = (p.first, p.third, p.second, p.ink)
    start = random.randrange(4)
    for index, y in enumerate(range(165, 300, 22)):
        x = -random.randint(0, 40)
        waves = "q20 -22 40 0t40 0t40 0t40 0t40 0t40 0"
        yield f'<path d="M{x} {y}{waves}V300H{x}Z" fill="{colours[(start + index) % 4]}"/>'


PATTERNS = (_sun, _stripes, _arcs, _tiles, _moon, _leaves, _houses, _waves)


def wrap(text: str, size: float, width: float) -> list[str]:
    """Break a title into lines that are at most `width` wide at that letter size."""
    letters = max(1, int(width / (size * LETTER)))
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= letters:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _fit(title: str) -> tuple[int, list[str]]:
    """The largest letters in which the title fits above the picture."""
    for size in (30, 27, 24, 21, 18, 16):
        lines = wrap(title, size, 168)
        if len(lines) * size * 1.15 <= 92 and all(len(line) * size * LETTER <= 172 for line in lines):
            return size, lines
    return 14, [line[:22] for line in wrap(title, 14, 168)[:6]]


@lru_cache(maxsize=512)
def cover(title: str, author: str) -> SafeString:
    """The inside of the cover's <svg>, in a box of WIDTH x HEIGHT."""
    seed = hashlib.blake2b(f"{title}\n{author}".encode(), digest_size=8).digest()
    random = Random(int.from_bytes(seed))
    palette = random.choice(PALETTES)
    pattern = random.choice(PATTERNS)
    size, lines = _fit(title)
    text = "".join(
        f'<text x="16" y="{42 + (index + 1) * size * 1.1:.0f}">{escape(line)}</text>'
        for index, line in enumerate(lines)
    )
    return mark_safe(  # The two texts are escaped; the rest is drawn here.
        f'<path d="M0 0H200V300H0Z" fill="{palette.paper}"/>'
        f"{''.join(pattern(random, palette))}"
        f'<path d="M0 0H7V300H0Z" fill="#000" opacity=".14"/><path d="M7 0H9V300H7Z" fill="#fff" opacity=".22"/>'
        f'<text x="16" y="30" font-family="Helvetica,Arial,sans-serif" font-size="10.5" letter-spacing="1" '
        f'fill="{palette.ink}">{escape(author.upper()[:26])}</text>'
        f'<path d="M16 38h36" stroke="{palette.first}" stroke-width="2.5"/>'
        f'<g font-family="Georgia,Palatino,serif" font-weight="700" font-size="{size}" fill="{palette.ink}">{text}</g>'
    )


def cover_file(title: str, author: str) -> str:
    """The cover as a file of its own."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{escape(title)}, {escape(author)}</title>{cover(title, author)}</svg>"
    )
