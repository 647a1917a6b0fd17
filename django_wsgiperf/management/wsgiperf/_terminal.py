"""Text for terminals: tables, sizes and times for people, a progress bar. Knows nothing of what it shows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

Colour = Callable[[str], str]

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class Stream(Protocol):
    """What the bar writes to."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


def size(number: float) -> str:
    """Bytes with a unit: `340 B`, `9.8 KiB`, `64 MiB`."""
    step = 0
    while number >= 1024 and step < len(_UNITS) - 1:
        number /= 1024
        step += 1
    return f"{number:.0f} {_UNITS[step]}" if number >= 100 or number == int(number) else f"{number:.1f} {_UNITS[step]}"


def span(seconds: float) -> str:
    """A time with units: `0.4 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`; the sign is kept."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds % 1 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, name, below, below_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {name} {rest} {below_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


def share(part: float, whole: float) -> str:
    """A percentage, or a dash where there is nothing to divide by."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def count(number: float, name: str, plural: str = "") -> str:
    """`1 page`, `1,200 pages`."""
    return f"{number:,.0f} {name if number == 1 else plural or name + 's'}"


def width(stream: Stream) -> int | None:
    """The columns of the terminal; None where the stream is none, and lines may be as long as they are."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def cut(text: str, most: int | None) -> str:
    """The text in at most so many characters, without its middle where it is longer."""
    if most is None or len(text) <= most:
        return text
    if most < 5:
        return text[: max(0, most)]
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def printable(text: str) -> str:
    """The text without control characters, which could steer a terminal: addresses come from strangers."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    colour_head: Colour = str,
    widest: int | None = None,
) -> str:
    """Columns two blanks apart. Those of `right` are aligned to the right; the last one is cut to fit `widest`."""
    cells = [tuple(head), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    if widest is not None:
        widths[-1] = min(widths[-1], max(8, widest - 2 - sum(widths[:-1]) - 2 * (len(widths) - 1)))
    lines = []
    for number, row in enumerate(cells):
        shown = [cut(cell, widths[column]) for column, cell in enumerate(row)]
        aligned = [
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(shown)
        ]
        line = "  " + "  ".join(aligned).rstrip()
        lines.append(line if number else colour_head(line))
    return "\n".join(lines)


class Bar:
    """A line that shows how far something is, drawn anew in place; draws nothing where the stream is no terminal."""

    def __init__(self, stream: Stream, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._total = total
        self._clock = clock
        self._is_on = total > 0 and stream.isatty()
        self._began_s = clock()
        self._drawn_s = float("-inf")

    def draw(self, done: int, note: str = "") -> None:
        """Show it, at most ten times a second and always at the end."""
        now_s = self._clock()
        if not self._is_on or (now_s - self._drawn_s < 0.1 and done < self._total):
            return
        self._drawn_s = now_s
        passed_s = now_s - self._began_s
        parts = [f"{done:,}/{self._total:,}"]
        if done and passed_s > 0:
            parts.append(f"{done / passed_s:,.0f}/s")
            if done < self._total:
                parts.append(f"{span(round(passed_s / done * (self._total - done)))} left")
        if note:
            parts.append(note)
        text = "  ".join(parts)
        columns = shutil.get_terminal_size().columns
        room = max(0, min(40, columns - len(text) - 14))
        filled = room * done // self._total
        line = f"  [{'#' * filled}{'.' * (room - filled)}] {100 * done // self._total:3d} %  {text}"
        self._stream.write(f"\r\x1b[2K{cut(line, columns - 1)}")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away again."""
        if self._is_on and self._drawn_s > float("-inf"):
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
