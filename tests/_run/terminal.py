"""What the user sees: verdict lines, a live line on a terminal, tables. Plain text when it is not one.

Takes words and numbers, prints them. Knows nothing of steps, processes or tests.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
#: How each verdict is painted.
VERDICTS = {"ok": "green", "FAILED": "red", "missing": "yellow", "skipped": "yellow", "unsteady": "yellow"}


class Terminal:
    """Prints to one stream; `live` lines are overwritten by whatever comes next."""

    def __init__(self, stream: TextIO | None = None, *, colour: bool | None = None) -> None:
        self.stream = stream or sys.stdout
        self.is_tty = self.stream.isatty()
        self.colour = self.is_tty if colour is None else colour
        self._live = False
        self._last_live_s = 0.0

    def paint(self, text: str, *styles: str) -> str:
        """The text in the styles, when this is a terminal that shows them."""
        if not self.colour or not styles:
            return text
        return "".join(f"\x1b[{STYLES[style]}m" for style in styles) + text + "\x1b[0m"

    def line(self, text: str = "", *styles: str) -> None:
        """One whole line."""
        self._clear()
        # A name that the terminal's encoding lacks must not stop a run.
        encoding = self.stream.encoding or "ascii"
        text = text.encode(encoding, "replace").decode(encoding)
        self.stream.write(self.paint(text, *styles) + "\n")
        self.stream.flush()

    def heading(self, text: str) -> None:
        """The title of the lines that follow."""
        self.line()
        self.line(text, "bold")

    def verdict(self, verdict: str, name: str, seconds: float | None, note: str = "") -> None:
        """`  ok      name            1.2 s  note`"""
        took = "" if seconds is None else f"{seconds:7.1f} s"
        head = self.paint(f"{verdict:<8}", VERDICTS.get(verdict, "bold"))
        self.line(f"  {head}{name:<24}{took:>9}  {note}".rstrip())

    def live(self, name: str, seconds: float, note: str) -> None:
        """What goes on now: shown on a terminal only, a few times a second."""
        now = time.monotonic()
        if not self.is_tty or now - self._last_live_s < 0.2:
            return
        self._last_live_s = now
        width = shutil.get_terminal_size().columns - 1
        text = f"  ...     {name:<24}{seconds:7.0f} s  {note}"
        self._clear()
        self.stream.write(self.paint("".join(c for c in text if c.isprintable())[:width], "dim"))
        self.stream.flush()
        self._live = True

    def raw(self, text: str) -> None:
        """Output of a running step, as it comes."""
        self._clear()
        self.stream.write(text)
        self.stream.flush()

    def excerpt(self, title: str, lines: Iterable[str]) -> None:
        """The end of a log, set off from our own lines."""
        self.line(f"    --- {title}", "dim")
        for text in lines:
            self.line(f"    | {text}")
        self.line()

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as their widest cell; the first row is the title row, numbers are set to the right."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for index, row in enumerate(rows):
            cells = (
                cell.rjust(width) if cell[:1].isdigit() or cell == "-" else cell.ljust(width)
                for cell, width in zip(row, widths, strict=True)
            )
            text = "  " + "  ".join(cells).rstrip()
            failed = "FAILED" in row
            self.line(text, *(["bold"] if index == 0 else ["red"] if failed else []))

    def _clear(self) -> None:
        if self._live:
            self.stream.write("\r\x1b[2K")
            self._live = False
