"""How `wsgiperf stats` shows a number, a share, a duration and a series: with colours and bars, or in plain ASCII."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ._terminal import cut, span

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_LEVELS: Final = "_.,-=+*#"
_SLOW_S, _VERY_SLOW_S = 0.5, 2.0
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Look:
    """What it is to look like."""

    style: Any
    columns: int
    is_plain: bool = False
    """ASCII only."""

    def fit(self, line: str) -> str:
        """The line, with its colours, in no more columns than there are."""
        width = len(_ESCAPES.sub("", line))
        return line if width <= self.columns else self.ascii(cut(_ESCAPES.sub("", line), self.columns))

    def wrap(self, name: str, parts: Iterable[str]) -> Iterator[str]:
        """A name and its figures, in as many lines as they need: a figure without its middle would be another."""
        line, is_begun = f"{name:<11}", False
        for part in parts:
            if is_begun and len(_ESCAPES.sub("", f"{line}{part}")) + 4 > self.columns:
                yield line
                line, is_begun = " " * 11, False
            line, is_begun = f"{line}{'  ' if is_begun else ' '}{part}", True
        yield line.rstrip()

    def ascii(self, text: str) -> str:
        """The text, without what the terminal cannot show."""
        return text.encode("ascii", "replace").decode() if self.is_plain else text

    def bar(self, share: float, width: int) -> str:
        """A part of `width` columns."""
        filled = round(max(0.0, min(1.0, share)) * width)
        return ("#" if self.is_plain else "█") * filled + ("." if self.is_plain else "·") * (width - filled)

    def graph(self, values: Sequence[float | None], width: int) -> str:
        """The values as columns of eight heights, the last ones if there are too many; blank where there is none."""
        levels = _PLAIN_LEVELS if self.is_plain else _LEVELS
        values = merged(values, width)
        top = max((value for value in values if value), default=0.0)
        if not top:
            return ""
        return "".join(
            " " if value is None else levels[0 if value <= 0 else min(7, int(value / top * 7.999))] for value in values
        )


def merged(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values: the largest of each group of neighbours."""
    step = max(1, -(-len(values) // max(1, width)))
    groups = [[value for value in values[at : at + step] if value is not None] for at in range(0, len(values), step)]
    return [max(group) if group else None for group in groups]


def number(value: float) -> str:
    """Three digits or so: 0.042, 3.4, 57, 12,345."""
    if value == 0:
        return "0"
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def duration(seconds: float | None) -> str:
    """`0.4 ms`, `12 ms`, `1.2 s`, `3 min 20 s`; a dash where it is not known."""
    if seconds is None:
        return "-"
    if seconds >= 100:
        return span(round(seconds))
    if seconds >= 1:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    ms = seconds * 1000
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def paint(look: Look, seconds: float | None) -> str:
    """A duration in the colour of its slowness."""
    if seconds is None or seconds < _SLOW_S:
        return duration(seconds)
    style = look.style.ERROR if seconds >= _VERY_SLOW_S else look.style.WARNING
    return str(style(duration(seconds)))


def share(part: float, whole: float) -> str:
    """`0.1 %`, `34 %`; a dash where there is nothing to divide by."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"
