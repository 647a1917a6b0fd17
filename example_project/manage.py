#!/usr/bin/env python3
"""The bookshop's command line: `python example_project/manage.py serve --threads 12` and Django's commands."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshop.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            f"Django is not installed for {sys.executable}.\n"
            "Run `python3 example_project/quickstart.py`, or use the Python of its .venv."
        ) from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
