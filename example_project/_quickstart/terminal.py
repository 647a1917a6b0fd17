"""How the quickstart speaks: one line for each thing that is done, and one for the thing that is being done."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

ON_TERMINAL = sys.stdout.isatty()
COLOUR = ON_TERMINAL and "NO_COLOR" not in os.environ


class Stop(Exception):
    """The end of the quickstart: what went wrong, and what to do about it."""


def paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def step(what: str, text: str) -> None:
    """What is going on now: on a terminal, a line that `done` replaces."""
    if ON_TERMINAL:
        print(f"\r\033[K{what:>12}  {text} ...", end="", flush=True)


def done(what: str, text: str, began: float | None = None) -> None:
    took = f"  ({time.monotonic() - began:.1f} s)" if began is not None else ""
    start = "\r\033[K" if ON_TERMINAL else ""
    say(f"{start}{paint(f'{what:>12}', '32')}  {text}{took}")


def relative(path: Path) -> str:
    """The path as seen from where the user stands, when it is below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def tail(text: str, lines: int = 15) -> str:
    """The last lines of an output, set in."""
    return "\n".join(f"    {line.rstrip()}" for line in text.splitlines()[-lines:])
