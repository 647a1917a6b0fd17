#!/usr/bin/env python3
"""From a bare python3 to the bookshop in a browser: `python3 example_project/quickstart.py`.

This file only finds a Python that can read the rest, so its syntax is that of old Pythons. What happens then is in
_quickstart/, beginning with cli.py.
"""

import os
import sys

OLDEST = (3, 11)


def main():
    if sys.version_info < OLDEST:
        from _quickstart.interpreters import find_python

        newer = find_python()
        if newer is None:
            wanted = "{}.{}".format(*OLDEST)
            sys.exit(
                f"This is Python {sys.version.split()[0]} ({sys.executable}); no Python {wanted} or newer was found."
                f"\nInstall Python {wanted} or newer, then run this again with it."
            )
        os.execv(newer, [newer, *sys.argv])
    from _quickstart.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
