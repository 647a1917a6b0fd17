#!/usr/bin/env python3
"""The one command that runs every test, from a bare checkout: `python3 tests/run.py`; `--fast` is the inner loop.

This file only finds a Python that can read the rest. What happens then is in tests/_run/, beginning with cli.py.
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)


def main() -> int:
    if os.name != "posix":
        print("tests/run.py runs on Linux and macOS; this is neither.", file=sys.stderr)
        return 2
    # The tests' own folder would let tests/docs and others stand in the way of installed packages.
    sys.path[0] = str(ROOT)
    from tests._run.cli import main as run

    return run(sys.argv[1:])


def newer_python() -> str | None:
    """A Python that is new enough, for a python3 that is not."""
    for minor in ("3.13", "3.12", "3.11"):
        homes = glob.glob(os.path.expanduser("~/.pyenv/versions/" + minor + ".*/bin/python"))
        for path in [shutil.which("python" + minor), *sorted(homes)]:
            if path and os.system("'" + path + "' -c '' >/dev/null 2>&1") == 0:
                return path
    return None


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        found = newer_python()
        if found is None:
            sys.exit("tests/run.py needs Python 3.11 or newer; this is " + sys.version.split()[0] + ".")
        os.execv(found, [found, *sys.argv])
    sys.exit(main())
