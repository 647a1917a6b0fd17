"""The quickstart's options, and its steps in order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import serving
from .environment import make_environment
from .shop import MANAGE, make_shop
from .terminal import Stop, paint, relative, say


def run(arguments: Sequence[str]) -> int:
    """Do everything; the exit code."""
    options = parse(arguments)
    try:
        # Before the long part: a port that is taken is better known now.
        port = options.port if options.port is not None else 0 if options.check else 8000
        if not options.no_serve:
            port = serving.free_port(port)
        python = make_environment()
        make_shop(python, options.books)
        if options.check:
            serving.check(python, port, options.threads)
        elif options.no_serve:
            say("", f"Ready. To serve it: {relative(python)} {relative(MANAGE)} serve")
        else:
            serving.show_addresses(port)
            serving.become_server(python, port, options.threads)
    except Stop as problem:
        sys.stdout.flush()
        print(f"\n{paint('Stopped.', '31;1')} {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="quickstart.py",
        description="Make a virtual environment, install the package, fill the bookshop, and serve it.",
    )
    parser.add_argument("--port", type=int, help="port to serve on, 0 for any (default: 8000; with --check any)")
    parser.add_argument("--threads", type=int, default=12, help="threads of the server (default: 12)")
    parser.add_argument("--books", type=int, default=5000, help="books for a shop that is empty (default: 5000)")
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--no-serve", action="store_true", help="prepare everything, and end there")
    ending.add_argument("--check", action="store_true", help="serve, read some pages, stop; exit code 0 if all is well")
    options = parser.parse_args(arguments)
    for name, lowest, highest in (("port", 0, 65535), ("threads", 1, 1024), ("books", 1, 200_000)):
        value = getattr(options, name)
        if value is not None and not lowest <= value <= highest:
            parser.error(f"--{name} {value} is out of range. Write a number from {lowest} to {highest}.")
    return options
